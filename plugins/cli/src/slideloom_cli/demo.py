"""`slideloom demo`: the whole pipeline on a generated slide, or on a slide of the user's."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slideloom.base.storing import storing_in
from slideloom.base.temporary import partial_path
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.flags import add_flags, given_flags
from slideloom.pipeline.from_words import pipeline_from_words
from slideloom.pipeline.fronts import FLAGS
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.words import named
from slideloom.plugins.discovery import registry
from slideloom.running.run import run_pipeline

from slideloom_cli.display import console
from slideloom_cli.extract import exit_code, print_report_path
from slideloom_cli.parsing import slide_place
from slideloom_cli.summary import print_summary
from slideloom_cli.watching import RunDisplay

# Pen before tissue, so that tiles under a pen mark are counted as such. One fifth of ink is too much to train on.
_QC = ({"use": "pen", "filter_threshold": 0.2}, {"use": "tissue"}, {"use": "gaussian-v2"})


def configure_demo(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom demo`."""
    text = "your slide (by default one is generated)"
    parser.add_argument("slide", nargs="?", type=slide_place, metavar="SLIDE", help=text)
    parser.add_argument(
        "--out", type=Path, default=Path("slideloom-demo"), metavar="DIR", help="output folder (slideloom-demo)"
    )
    add_flags(parser, named("mpp"))


def run_demo(chosen: argparse.Namespace) -> int:
    """Make the demo slide if needed, run the whole pipeline on it, and say where everything is."""
    out: Path = chosen.out
    with storing_in(out):
        out.mkdir(parents=True, exist_ok=True)
    slide = chosen.slide or _made_slide(out)
    pipeline = _pipeline(given_flags(chosen, named("mpp")))
    display = RunDisplay(1)
    with display.shown():
        report = run_pipeline(pipeline, [slide], out, progress=display.tiles, on_slide=display.slide)
    print_summary(report)
    folder = OutputFolder(out, pipeline.tiles.label)
    say = console()
    for result in report.slides:
        if result.status == "failed":
            continue
        say.print(f"overview {folder.overview(result.slide)}", soft_wrap=True)
        say.print(f"tiles    {', '.join(str(out / output) for output in result.outputs)}", soft_wrap=True)
        say.print(f"table    {out / result.tile_table}  (every planned tile and what became of it)", soft_wrap=True)
    print_report_path(pipeline, out)
    return exit_code(report)


def _made_slide(out: Path) -> Path:
    from slideloom_testing import save_truth, write_demo_slide

    path = out / "slides" / "demo.svs"
    if not path.exists():
        console().print("making a demo slide (tissue, glass, a pen mark, an out-of-focus patch) ...")
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = partial_path(path)
        truth = write_demo_slide(unfinished)
        save_truth(truth, path.with_suffix(".truth"))
        unfinished.replace(path)
    return path


def _pipeline(given: Mapping[str, Any]) -> Pipeline:
    """QC by tissue, pen and focus, Macenko normalization, TFRecords and PNGs, as far as these are installed."""
    plugins = registry()
    macenko = {"use": "macenko", "unfit": "keep-original"}
    report = plugins.reporter() is not None
    return pipeline_from_words(
        {"tile_px": 256, "tile_um": 128, "overview": True, "save_masks": True, "report": report, **given},
        qc=[step for step in _QC if step["use"] in plugins.names("qc")],
        normalizer=macenko if "macenko" in plugins.names("normalizer") else None,
        sinks=[name for name in ("tfrecord", "images") if name in plugins.names("sink")],
        front=FLAGS,
    )
