"""The report after a run that asks for it, and `slideloom report`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from slideloom import Command, ConfigError, NamedSlide, Reporter, RunReport, SlidePlace, hookimpl


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
    text = "output folder of a run, or a folder of TFRecords; several, or their parent, are reported on as one"
    parser.add_argument("folders", type=Path, nargs="+", metavar="DIR", help=text)
    text = "the PDF to write (DIR/tile_extraction_report-TIME.pdf); of several folders, the folder to write to"
    parser.add_argument("--out", type=Path, metavar="PATH", help=text)
    parser.add_argument("--label", metavar="LABEL", help="tile size such as 299px_302um, if a folder has several")
    parser.add_argument(
        "--slides", nargs="+", default=[], metavar="SLIDES", help="where slides are now: files, folders or patterns"
    )
    parser.add_argument("--mixed", action="store_true", help="report as one also on runs with different settings")
    parser.add_argument("--samples", type=int, metavar="N", help="sample tiles per slide (16, or 8 if there are many)")


def _run(chosen: Namespace) -> int:
    from slideloom_report.pace import shown_pace
    from slideloom_report.sources import output_folders
    from slideloom_report.stored import merged_report, stored_reports

    options = {"slides": chosen.slides, "label": chosen.label, "samples": chosen.samples}
    folders = [path for folder in chosen.folders for path in output_folders(folder)]
    if len(folders) > 1 and chosen.out is None:
        raise ConfigError(f"{len(folders)} output folders are reported on as one: name a folder for it with --out")
    with shown_pace() as progress:
        if len(folders) == 1:
            paths = list(stored_reports(folders[0], out=chosen.out, progress=progress, **options))
        else:
            paths = merged_report(folders, chosen.out, mixed=chosen.mixed, progress=progress, **options)
    for path in paths:
        print(path)  # noqa: T201
    return 0
