"""What the hook and the command do: choose the cohort and the names of files."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from slideloom import ConfigError, RunReport, find_slides

from slideloom_report.cohort import cohort_of, cohorts_in
from slideloom_report.document import write_report
from slideloom_report.tables import write_tables


def report_run(report: RunReport, out: Path) -> None:
    """Write the PDF of a run into its output folder, and the tables beside the tiles."""
    cohort = cohort_of(report)
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    write_report(cohort, out / f"tile_extraction_report-{stamp}.pdf")
    if cohort.kind == "run":
        write_tables(cohort, stamp=stamp)


def write_stored_report(folder: Path, out: Path, slides: Sequence[Path] = ()) -> Path:
    """Write the PDF of a folder of stored tiles of one size.

    Raises:
        ConfigError: the folder holds tiles of several sizes, or none.
    """
    cohorts = cohorts_in(folder)
    if len(cohorts) > 1:
        raise ConfigError(f"{folder}: holds {', '.join(cohort.label for cohort in cohorts)}; choose one of them")
    return write_report(cohorts[0].at(list(slides)), out)


def run_report(chosen: Namespace) -> int:
    """`slideloom report`."""
    cohorts = cohorts_in(chosen.folder)
    if chosen.label is not None:
        known = ", ".join(cohort.label for cohort in cohorts)
        cohorts = [cohort for cohort in cohorts if cohort.label == chosen.label]
        if not cohorts:
            raise ConfigError(f"{chosen.folder}: holds no tiles of {chosen.label}; it holds {known}")
    if chosen.out is not None and len(cohorts) > 1:
        raise ConfigError(
            f"{chosen.folder}: holds {', '.join(cohort.label for cohort in cohorts)}; choose one with --label"
        )
    slides = find_slides(chosen.slides) if chosen.slides else []
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    for cohort in cohorts:
        size = f"-{cohort.label}" if len(cohorts) > 1 else ""
        path = chosen.out or chosen.folder / f"tile_extraction_report-{stamp}{size}.pdf"
        print(write_report(cohort.at(slides), path, samples=chosen.samples))
    return 0
