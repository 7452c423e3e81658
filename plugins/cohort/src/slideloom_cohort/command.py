"""`slideloom project`: make a project, cut its slides into tiles, and show what it holds."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import attrs
from slideloom.base.errors import ConfigError
from slideloom.base.storing import storing_in, utf8, write_whole
from slideloom.pipeline.flags import add_flags, given_flags
from slideloom.pipeline.fronts import FLAGS
from slideloom.pipeline.words import named, words
from slideloom.viewing.frames import frame_csv
from slideloom_cli.options import STEP, add_run_options

from slideloom_cohort.dataset import Dataset
from slideloom_cohort.extraction import Extraction, step_words
from slideloom_cohort.params import tiling_of
from slideloom_cohort.project import Project
from slideloom_cohort.work import ANY_SIZE, do_work, work_of

NO_FLAG = {
    "report": "it is written by default; --no-report",
    "recursive": "a source says so: recursive = true in project.toml",
}
"""Options that `project extract` does not take, and why."""

_SIZE = ("tile_px", "tile_um")
_FRONT = attrs.evolve(FLAGS, kinds={"filter": "tile-filter"}, nothing={})


def configure_project(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom project`."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    create = actions.add_parser("create", help="make a project")
    create.add_argument("root", type=Path, metavar="DIR", help="the project's folder")
    create.add_argument("--slides", nargs="+", default=[], metavar="SLIDES", help="folder, files or patterns")
    create.add_argument("--annotations", type=Path, metavar="CSV", help="columns patient, slide and any others")
    create.add_argument("--roi", type=Path, metavar="DIR", help="folder of ROI files")
    create.add_argument(
        "--recursive", action="store_true", help="also the slides in subfolders; their names then tell their folders"
    )
    create.add_argument("--name", help="name of the project (that of the folder)")
    extract = actions.add_parser("extract", help="cut the project's slides into tiles")
    _add_extract_options(extract)
    summary = actions.add_parser("summary", help="count slides, patients and tiles")
    _add_dataset_options(summary, required=True)
    thumbnails = actions.add_parser("thumbnails", help="write a small PNG of each slide")
    _add_dataset_options(thumbnails, required=False)
    thumbnails.add_argument("--out", type=Path, metavar="DIR", help="folder (DIR/thumbnails)")
    thumbnails.add_argument("--max-px", type=int, default=512, metavar="PX", help="width and height at most (512)")
    tiles = actions.add_parser("tiles", help="list the tiles of all slides as CSV")
    _add_dataset_options(tiles, required=True)
    tiles.add_argument("--every", action="store_true", help="also list dropped tiles, with what dropped them")
    tiles.add_argument("--planned", action="store_true", help="list the grid's tiles that regions keep; needs no run")
    tiles.add_argument("--out", type=Path, metavar="FILE.csv", help="file to write (standard output)")


def _add_dataset_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    _add_choice_options(parser)
    add_flags(parser, named(*_SIZE), required=_SIZE if required else ())


def _add_choice_options(parser: argparse.ArgumentParser) -> None:
    """Options that choose a project and slides of it."""
    parser.add_argument("root", type=Path, metavar="DIR", help="the project's folder")
    parser.add_argument(
        "--filter", action="append", default=[], metavar="COLUMN=VALUE", help="only slides with this annotation"
    )
    parser.add_argument("--source", action="append", metavar="NAME", help="only these sources")


def _add_extract_options(parser: argparse.ArgumentParser) -> None:
    _add_choice_options(parser)
    parser.add_argument(
        "--params", metavar="FILE", help="params.json of a model, or its folder: refuse tiles unlike its training tiles"
    )
    tiles = parser.add_argument_group("tiles")
    add_flags(tiles, words("tiles"))
    tiles.add_argument("--placement", metavar="STEP", help="where tiles are, if not on a grid")
    add_flags(parser.add_argument_group("slides"), words("slides", without=NO_FLAG))
    masks = parser.add_argument_group(f"regions and slide QC, {STEP}")
    add_flags(masks, words("roi"))
    masks.add_argument("--qc", action="append", metavar="STEP", help="slide QC such as otsu or gaussian-v2")
    add_flags(masks, words("qc"))
    images = parser.add_argument_group(f"tile images, {STEP}")
    images.add_argument("--tile-filter", action="append", default=[], metavar="STEP", help="more tile filters")
    images.add_argument("--normalizer", metavar="STEP", help="stain normalizer such as macenko")
    images.add_argument(
        "--normalizer-source", metavar="X", help="target of the normalizer: a preset, an image or a fit file"
    )
    images.add_argument(
        "--context-normalize", action="store_true", help="take its statistics from the slide, not from each tile"
    )
    images.add_argument("--sink", action="append", default=[], metavar="STEP", help="more sinks for tiles")
    images.add_argument("--save-tiles", action="store_true", help="also store tiles as image files")
    images.add_argument("--no-tfrecords", action="store_true", help="store no TFRecords")
    add_flags(images, step_words())
    add_flags(parser.add_argument_group("masks of tiles"), words("mask"))
    add_run_options(parser, without=NO_FLAG)
    parser.add_argument("--no-report", action="store_true", help="write no PDF report")


def run_project(chosen: argparse.Namespace) -> int:
    """Run the action."""
    if chosen.action == "create":
        made = Project.create(
            chosen.root,
            slides=chosen.slides,
            annotations=chosen.annotations,
            roi=chosen.roi,
            recursive=chosen.recursive,
            name=chosen.name,
        )
        print(f"made {made.root / 'project.toml'}", file=sys.stderr)
        return 0
    project = Project(chosen.root)
    actions = {"extract": _extract, "summary": _summary, "thumbnails": _thumbnails, "tiles": _tiles}
    return actions[chosen.action](project, chosen)


def _extract(project: Project, chosen: argparse.Namespace) -> int:
    from slideloom_cli.extract import exit_code, kept_when_interrupted
    from slideloom_cli.output import print_json
    from slideloom_cli.summary import print_summary
    from slideloom_cli.watching import watched

    wanted = Extraction(
        options={"report": not chosen.no_report, **given_flags(chosen, (*words(), *step_words()))},
        qc=chosen.qc,
        filters=chosen.tile_filter,
        sinks=chosen.sink,
        normalizer=chosen.normalizer,
        placement=chosen.placement,
        normalizer_source=chosen.normalizer_source,
        context_normalize=chosen.context_normalize,
        save_tiles=chosen.save_tiles,
        save_tfrecords=not chosen.no_tfrecords,
        front=_FRONT,
    )
    dataset = project.dataset_of(ANY_SIZE, filters=_filters(chosen.filter), sources=chosen.source)
    work = work_of(dataset, wanted, params=chosen.params)
    chosen.interrupted = kept_when_interrupted(redo=chosen.redo, dry_run=chosen.dry_run or chosen.plan_only)
    slides = sum(len(part.slides) for part in work)
    with watched(chosen, slides=slides, out=project.root) as watch:
        report = do_work(
            work,
            project.root,
            dry_run=chosen.dry_run,
            plan_only=chosen.plan_only,
            progress=watch.tiles,
            on_slide=watch.slide,
            on_share=watch.leave_out,
        )
        watch.run(report)
    print_summary(report)
    if chosen.json:
        print_json(report.as_table())
    return exit_code(report, watch)


def _summary(project: Project, chosen: argparse.Namespace) -> int:
    print(_dataset(project, chosen).summary())
    return 0


def _thumbnails(project: Project, chosen: argparse.Namespace) -> int:
    folder = chosen.out or project.root / "thumbnails"
    done = _dataset(project, chosen).thumbnails(folder, max_px=chosen.max_px)
    failed = {name: error for name, error in done.items() if not isinstance(error, Path)}
    for name, error in failed.items():
        print(f"failed {name}: {error}", file=sys.stderr)
    print(f"{len(done) - len(failed)} thumbnails in {folder}", file=sys.stderr)
    return 1 if failed else 0


def _tiles(project: Project, chosen: argparse.Namespace) -> int:
    frame = _dataset(project, chosen).tile_dataframe(every=chosen.every, planned=chosen.planned)
    text = frame_csv(frame)
    if chosen.out is None:
        sys.stdout.write(text)
    else:
        with storing_in(chosen.out.parent):
            write_whole(chosen.out, utf8(text))
    return 0


def _dataset(project: Project, chosen: argparse.Namespace) -> Dataset:
    given = given_flags(chosen, named(*_SIZE))
    tiling = tiling_of(given["tile_px"], given["tile_um"], front=FLAGS) if len(given) == len(_SIZE) else ANY_SIZE
    return project.dataset_of(tiling, filters=_filters(chosen.filter), sources=chosen.source)


def _filters(entries: list[str]) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = {}
    for entry in entries:
        column, equals, value = entry.partition("=")
        if not equals:
            raise ConfigError(f"--filter {entry!r}: write COLUMN=VALUE")
        filters.setdefault(column.strip(), []).append(value.strip())
    return filters
