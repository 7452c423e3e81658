"""The report after a run that asks for it, and `slideloom report`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from slideloom import Command, NamedSlide, Reporter, RunReport, SlidePlace, hookimpl


@hookimpl
def slideloom_run_done(report: RunReport, out: Path) -> None:
    """Write the PDF and its tables if `run.report` is on; otherwise do nothing."""
    if not report.pipeline.get("run", {}).get("report"):
        return
    from slideloom_report.stored import report_run  # reportlab and Pillow, so only when asked for

    report_run(report, out)


@hookimpl
def slideloom_commands() -> Sequence[Command]:
    """`slideloom report`."""
    return [
        Command("report", "write a PDF report of an output folder, or of any folder of TFRecords", _configure, _run)
    ]


@hookimpl
def slideloom_reporters() -> Sequence[Reporter]:
    """The PDF."""
    return [Reporter("pdf", ".pdf", _write)]


def _write(folder: Path, out: Path, slides: Sequence[SlidePlace | NamedSlide]) -> Path:
    from slideloom_report.stored import write_stored_report

    return write_stored_report(folder, out, slides)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, metavar="DIR", help="output folder of a run, or a folder of TFRecords")
    parser.add_argument(
        "--out", type=Path, metavar="PDF", help="the file to write (DIR/tile_extraction_report-TIME.pdf)"
    )
    parser.add_argument("--label", metavar="LABEL", help="tile size such as 299px_302um, if a folder has several")
    parser.add_argument(
        "--slides", nargs="+", default=[], metavar="SLIDES", help="where slides are now: files, folders or patterns"
    )
    parser.add_argument("--samples", type=int, metavar="N", help="sample tiles per slide (16, or 8 if there are many)")


def _run(chosen: Namespace) -> int:
    from slideloom_report.stored import stored_reports

    for path in stored_reports(
        chosen.folder, out=chosen.out, slides=chosen.slides, label=chosen.label, samples=chosen.samples
    ):
        print(path)  # noqa: T201
    return 0
