"""`extraction_report.csv` and `warn_report-<time>.txt`, in the layout of existing data sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from slideloom import (
    OutputError,
    SlideReport,
    csv_text,
    open_table,
    storing_in,
    unguarded,
    utf8,
    write_whole,
)

from slideloom_report.cohort import Cohort
from slideloom_report.files import unused

COLUMNS = (
    "slide", "num_tiles", "tile_px", "tile_um", "rois", "stride", "qc", "gs_fraction", "gs_threshold", "ws_fraction",
    "ws_threshold", "normalizer", "img_format", "date", "backend", "slideflow_version",
)  # fmt: skip


def write_tables(cohort: Cohort, *, stamp: str) -> list[Path]:
    """Write both tables next to the slides' TFRecords, or in the output folder if there are none.

    In `extraction_report.csv` the rows of this run come first, then earlier rows of other slides, those that another
    program wrote included; their columns that are not ours come after ours. A file without a column `slide` is no such
    table and is moved aside. The last column
    keeps its name for programs that expect it and holds `slideloom <version>`.

    Args:
        cohort: a run.
        stamp: time stamp, as in the PDF's name.

    Returns:
        The files written.

    Raises:
        OutputError: they cannot be written.
    """
    paths = []
    for folder, slides in _by_folder(cohort).items():
        table = folder / "extraction_report.csv"
        with storing_in(folder):
            rows = [_row(cohort, slide) for slide in slides]
            write_whole(table, _text(rows, _earlier(table, {row["slide"] for row in rows})))
            paths.append(table)
            high = [slide for slide in slides if slide in cohort.blurred]
            if high:
                warnings = unused(folder / f"warn_report-{stamp}.txt")
                write_whole(warnings, utf8("".join(f"{s.path},{s.blur_burden}\n" for s in high)))
                paths.append(warnings)
    return paths


def write_whole_table(cohort: Cohort) -> Path:
    """Write `extraction_report.csv` with a row for each finished slide into the cohort's own folder.

    Raises:
        OutputError: it cannot be written, or a different table has its name.
    """
    table = cohort.out / "extraction_report.csv"
    with storing_in(cohort.out):
        _earlier(table, set())
        write_whole(table, _text([_row(cohort, slide) for slide in cohort.finished], ()))
    return table


def record_folders(cohort: Cohort) -> list[Path]:
    """The folders of the run's TFRecords, where existing programs look for reports."""
    return sorted(
        {
            cohort.out / slide.home_of(output)
            for slide in cohort.finished
            for output in slide.outputs
            if output.endswith(".tfrecords")
        }
    )


def _by_folder(cohort: Cohort) -> dict[Path, list[SlideReport]]:
    records = {
        slide.slide: cohort.out / slide.home_of(output)
        for slide in cohort.slides
        for output in slide.outputs
        if output.endswith(".tfrecords")
    }
    # A slide without a single tile has no file; its row belongs with the others.
    usual = next(iter(records.values()), cohort.out)
    folders: dict[Path, list[SlideReport]] = {}
    for slide in cohort.finished:
        folders.setdefault(records.get(slide.slide, usual), []).append(slide)
    return folders


def _row(cohort: Cohort, slide: SlideReport) -> dict[str, Any]:
    table = cohort.table
    filters = {step["use"]: step for step in table.get("filter", [])}
    gray, white = filters.get("grayspace", {}), filters.get("whitespace", {})
    sinks = table.get("sink", [])
    return {
        "slide": slide.slide,
        "num_tiles": slide.written,
        "tile_px": slide.tile_px,
        "tile_um": f"{slide.tile_um:g}",
        "rois": ", ".join(use.get("method", "auto") for use in table.get("roi", [])) or "ignore",
        "stride": table.get("tiles", {}).get("stride_div", 1),
        "qc": ", ".join(step["use"] for step in table.get("qc", [])),
        "gs_fraction": gray.get("fraction", ""),
        "gs_threshold": gray.get("threshold", ""),
        "ws_fraction": white.get("fraction", ""),
        "ws_threshold": white.get("threshold", ""),
        "normalizer": table.get("normalizer", {}).get("use", ""),
        "img_format": next((sink["format"] for sink in sinks if "format" in sink), ""),
        "date": cohort.started or datetime.now().astimezone().isoformat(timespec="seconds"),
        "backend": slide.reader,
        "slideflow_version": f"slideloom {cohort.versions.get('slideloom-core', '')}".strip(),
    }


def _earlier(path: Path, replaced: set[str]) -> list[dict[str, str]]:
    """Rows of other slides; a spreadsheet program may have saved the file in the meantime.

    Raises:
        OutputError: there is a different table with this name.
    """
    if not path.is_file() or not path.stat().st_size:
        return []
    with open_table(path, fits=lambda header: "slide" in header, error=OutputError) as table:
        if "slide" not in table.header:
            raise table.mistake("is not an earlier table of this kind; move it away, or write to another folder")
        found = [dict(zip(table.header, map(unguarded, cells), strict=True)) for _, cells in table.rows()]
    return [row for row in found if row["slide"] not in replaced]


def _text(rows: Iterable[Mapping[str, Any]], earlier: Iterable[Mapping[str, str]]) -> bytes:
    before = list(earlier)
    columns = list(dict.fromkeys([*COLUMNS, *(name for row in before for name in row if name)]))
    return utf8(csv_text(columns, ([row.get(name, "") for name in columns] for row in (*rows, *before))))
