"""`slideloom demo`: the whole job on a slide made on the spot, or on a slide of the user's."""

from __future__ import annotations

import argparse
from pathlib import Path

from slideloom.base.storing import storing_in
from slideloom.base.temporary import partial_path
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.plugins.discovery import registry
from slideloom.running.run import run_pipeline

from slideloom_cli.display import RunDisplay, console, print_summary
from slideloom_cli.extract import exit_code, print_report_path

# Ink before tissue, so that tiles under a pen mark are counted as such; a fifth of ink is too much to train on.
_QC = ({"use": "pen", "filter_threshold": 0.2}, {"use": "tissue"}, {"use": "gaussian-v2"})


def configure_demo(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom demo`."""
    parser.add_argument("slide", nargs="?", type=Path, metavar="SLIDE", help="a slide of yours; by default one is made")
    parser.add_argument(
        "--out", type=Path, default=Path("slideloom-demo"), metavar="DIR", help="output folder (slideloom-demo)"
    )
    parser.add_argument("--mpp", type=float, help="microns per pixel, for a slide that records none")


def run_demo(chosen: argparse.Namespace) -> int:
    """Make the demo slide if needed, run the whole pipeline on it, and say where everything is."""
    out: Path = chosen.out
    with storing_in(out):
        out.mkdir(parents=True, exist_ok=True)
    slide = chosen.slide or _made_slide(out)
    pipeline = _pipeline(chosen.mpp)
    display = RunDisplay(1, quiet=False)
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


def _pipeline(mpp: float | None) -> Pipeline:
    """The main job with what is installed: QC by tissue, pen and focus, Macenko normalization, TFRecords and PNGs."""
    plugins = registry()
    table = {
        "slideloom": 1,
        "slides": {} if mpp is None else {"mpp": mpp},
        "tiles": {"size_px": 256, "size_um": 128},
        "qc": [step for step in _QC if step["use"] in plugins.names("qc")],
        "sink": [{"use": name} for name in ("tfrecord", "images") if name in plugins.names("sink")],
        "run": {"overview": True, "save_masks": True, "report": plugins.reporter() is not None},
    }
    if "macenko" in plugins.names("normalizer"):
        table["normalizer"] = {"use": "macenko", "unfit": "keep-original"}
    return pipeline_from_table(table, where="demo")
