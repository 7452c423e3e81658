"""`slideloom extract`, `slideloom run`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from slideloom.base.addresses import Address, SlidePlace
from slideloom.base.storing import storing_in
from slideloom.pipeline.file import load_pipeline
from slideloom.pipeline.flags import given_flags
from slideloom.pipeline.fronts import FLAGS, FileFront
from slideloom.pipeline.pipeline import Pipeline, RunOptions
from slideloom.pipeline.words import tables_of, words
from slideloom.settings.tables import made_from_table
from slideloom.steps.reports import RunReport

from slideloom_cli.options import add_extract_options, add_run_options, pipeline_of
from slideloom_cli.parsing import slide_place

if TYPE_CHECKING:
    from slideloom_cli.watching import RunDisplay


def configure_extract(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom extract`."""
    parser.add_argument("slides", nargs="+", metavar="SLIDES", help="files, folders or patterns")
    parser.add_argument(
        "--out",
        type=slide_place,
        required=True,
        metavar="PLACE",
        help="output folder, or an address such as s3://bucket/out",
    )
    _add_staging(parser)
    _add_params(parser)
    add_extract_options(parser)
    add_run_options(parser)


def _add_staging(parser: argparse.ArgumentParser) -> None:
    text = "where --out is an address, the local folder to work in, which is kept (below slideloom-staging)"
    parser.add_argument("--staging", type=Path, metavar="DIR", help=text)


def _add_params(parser: argparse.ArgumentParser) -> None:
    text = "params.json of a model, or its folder: refuse tiles unlike its training tiles"
    parser.add_argument("--params", type=Path, metavar="FILE", help=text)


def run_extract(chosen: argparse.Namespace) -> int:
    """Cut slides into tiles."""
    filters = None if chosen.filter is None else [text for text in chosen.filter if text != "none"]
    pipeline = pipeline_of(chosen, include=chosen.slides, filters=filters, sinks=chosen.sink)
    return _run(pipeline, base=None, out=chosen.out, chosen=chosen)


def configure_run(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom run`."""
    parser.add_argument("pipeline", type=Path, metavar="PIPELINE.toml")
    text = "output folder or address (run.out, else the file's own folder)"
    parser.add_argument("--out", type=slide_place, metavar="PLACE", help=text)
    _add_staging(parser)
    _add_params(parser)
    add_run_options(parser)


def run_run(chosen: argparse.Namespace) -> int:
    """Cut slides into tiles with a pipeline file."""
    pipeline = load_pipeline(chosen.pipeline)
    table = tables_of(given_flags(chosen, words("run")))["run"]
    given = made_from_table(RunOptions, table, where=FLAGS.table("run"), base=Path())
    changes = {name: getattr(given, name) for name in table}
    front = FileFront(str(chosen.pipeline), flagged=("run",))
    pipeline = attrs.evolve(pipeline, run=attrs.evolve(pipeline.run, **changes), front=front)
    base = chosen.pipeline.parent
    return _run(pipeline, base=base, out=chosen.out or pipeline.run.out or base, chosen=chosen)


def _run(pipeline: Pipeline, *, base: Path | None, out: SlidePlace, chosen: argparse.Namespace) -> int:
    from slideloom.running.find_slides import require_slides, slides_of
    from slideloom.running.run import run_pipeline
    from slideloom.running.staging import staging_of

    from slideloom_cli.collecting import begin_collecting
    from slideloom_cli.output import print_json
    from slideloom_cli.summary import print_summary
    from slideloom_cli.watching import watched

    if chosen.params is not None:
        from slideloom import load_params  # of the cohort distribution

        load_params(chosen.params).check(pipeline)
    if chosen.staging is not None:
        pipeline = attrs.evolve(pipeline, run=attrs.evolve(pipeline.run, staging=chosen.staging))
    folder = staging_of(pipeline, out)
    slides = slides_of(pipeline, base)
    require_slides(slides)
    is_trial = chosen.dry_run or chosen.plan_only
    if pipeline.run.report or not is_trial:
        with storing_in(folder):
            folder.mkdir(parents=True, exist_ok=True)
    if isinstance(out, Address) and not is_trial and not chosen.quiet:
        print(f"staging {folder}: the run works here, and puts at {out} what is finished", file=sys.stderr)
    chosen.interrupted = kept_when_interrupted(redo=pipeline.run.redo, dry_run=is_trial)
    begin_collecting()  # again: plugins have been loaded
    with watched(chosen, slides=len(slides), out=folder) as watch:
        report = run_pipeline(
            pipeline,
            slides,
            out,
            dry_run=chosen.dry_run,
            plan_only=chosen.plan_only,
            progress=watch.tiles,
            on_slide=watch.slide,
            on_share=watch.leave_out,
        )
        watch.run(report)
    print_summary(report)
    print_report_path(pipeline, folder)
    if chosen.json:
        print_json(report.as_table())
    return exit_code(report, watch)


def kept_when_interrupted(*, redo: bool, dry_run: bool) -> str:
    """What is kept of a run that Ctrl-C stops, and how to continue."""
    if dry_run:
        return "nothing was written"
    return f"finished slides are kept, run again {'without --redo ' if redo else ''}to go on"


def print_report_path(pipeline: Pipeline, out: Path) -> None:
    """Print where the report is, as PDF and as page, if the run was asked for one."""
    if pipeline.run.report:
        from slideloom_cli.display import console

        for kind in ("pdf", "html"):
            # Their names contain the time, so the last one is this run's.
            for path in sorted(out.glob(f"tile_extraction_report-*.{kind}"))[-1:]:
                console().print(f"report   {path}", soft_wrap=True, markup=False)


def exit_code(report: RunReport, watch: RunDisplay | None = None) -> int:
    """0 only if every slide and all else in the run succeeded, and the log file, if there is one, is complete."""
    return 0 if report.is_good and (watch is None or watch.is_logged) else 1
