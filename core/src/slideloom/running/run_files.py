"""Files that a run writes besides its tiles: failed slides, the run's report, and slides that are out of focus."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs

from slideloom.base.csv_tables import csv_text
from slideloom.base.parsing import parse_json
from slideloom.base.storing import json_text, make_room, storing_in, utf8, write_whole
from slideloom.planning.deciding import BLUR_BURDEN_WARNING
from slideloom.steps.reports import RunReport, SlideReport

_ERRORS = ("slide", "path", "error")
_SLIDES = '\n  "slides": '  # how a run's report goes on after its first letter


def write_errors(path: Path, run: RunReport) -> None:
    """Write the failed slides and their reasons; if nothing failed, remove an earlier list."""
    with storing_in(path.parent):
        make_room(path, lambda content: content.startswith(utf8(csv_text(_ERRORS, ()))))
        if not run.failed:
            path.unlink(missing_ok=True)
            return
        write_whole(path, utf8(csv_text(_ERRORS, ((r.slide, r.path, r.error) for r in run.failed))))


def write_run_report(path: Path, run: RunReport) -> None:
    """Write the report of the whole run, slide by slide: as one table, that of 20,000 slides takes 300 MB of memory."""
    with storing_in(path.parent):
        make_room(path, _is_run_report)
        write_whole(path, _run_report(run))


def _run_report(run: RunReport) -> Iterator[bytes]:
    """The parts of the JSON text of `run.as_table()`."""
    before, empty, after = json_text(attrs.evolve(run, slides=()).as_table()).partition(_SLIDES + "[]")
    yield utf8(before + empty.removesuffix("]"))
    separator = "\n    "
    for slide in run.slides:
        # Text in JSON has no line ends of its own.
        yield utf8(separator + json_text(slide.as_table()).replace("\n", "\n    "))
        separator = ",\n    "
    yield utf8(("\n  ]" if run.slides else "]") + after + "\n")


def _is_run_report(content: bytes) -> bool:
    if content.startswith(utf8("{" + _SLIDES)) and b'\n  "pipeline": ' in content:
        return True  # as we write it; to parse it takes much memory
    try:
        table = parse_json(content)
    except ValueError:  # left by a run whose disk was full
        return content.lstrip().startswith(b"{")
    return isinstance(table, dict) and {"slides", "pipeline"} <= set(table)


def write_burden(root: Path, run: RunReport) -> None:
    """Write `high_blur_burden.txt`: slide and value, next to the slides' TFRecords or else in the output folder.

    Lines of slides that are not in this run, from other runs or another program, are kept.
    """
    here = {report.slide for report in run.slides}
    by_folder: dict[Path, list[SlideReport]] = {}
    for report in run.slides:
        records = [output for output in report.outputs if output.endswith(".tfrecords")]
        for folder in {root / report.home_of(output) for output in records} or {root}:
            high = by_folder.setdefault(folder, [])
            if report.blur_burden is not None and report.blur_burden > BLUR_BURDEN_WARNING:
                high.append(report)
    for folder, reports in by_folder.items():
        path = folder / "high_blur_burden.txt"
        with storing_in(folder):
            lines = [f"{report.slide},{report.blur_burden:.4f}\n" for report in reports]
            lines += [line for line in _lines(path) if line.rpartition(",")[0] not in here]
            if lines:
                write_whole(path, utf8("".join(lines)))
            else:
                path.unlink(missing_ok=True)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines(keepends=True)
    except FileNotFoundError:
        return []
