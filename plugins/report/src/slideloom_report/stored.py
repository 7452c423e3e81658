"""Writes reports of runs and of stored tiles, for programs and for `slideloom report`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from slideloom import ConfigError, NamedSlide, OutputError, RunReport, SlidePlace, named_slides, option_name

from slideloom_report.cohort import cohort_of, cohorts_in
from slideloom_report.document import write_report
from slideloom_report.files import put_beside, unused
from slideloom_report.sources import cohorts_of, merged, write_manifests
from slideloom_report.tables import record_folders, write_tables, write_whole_table


def write_stored_report(folder: Path, out: Path, slides: Sequence[SlidePlace | NamedSlide] = ()) -> Path:
    """Write the PDF of an output folder, or of any folder of TFRecords.

    Args:
        folder: has tiles of one size.
        out: the PDF to write.
        slides: where slides are now: files, folders or patterns.

    Returns:
        `out`.

    Raises:
        ConfigError: the folder has nothing to report or several tile sizes, or `slides` match nothing.
        OutputError: the file cannot be written, or another file has its name.
    """
    (path,) = stored_reports(folder, out=out, slides=slides)
    return path


def stored_reports(
    folder: Path,
    *,
    out: Path | None = None,
    slides: Sequence[SlidePlace | NamedSlide] = (),
    label: str | None = None,
    samples: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Iterator[Path]:
    """Write a PDF for each tile size in a folder, and yield its path; otherwise like `write_stored_report`.

    Args:
        out: the PDF, for one tile size; by default in the folder, named after the time.
        label: only this tile size, such as "299px_302um".
        samples: sample tiles per slide, from 0 to 16; by default 16, or 8 if there are many slides.
        progress: called with the number of slides that are in the report, and their total number.
    """
    known = [slide for slide in slides if isinstance(slide, NamedSlide)]
    places = [slide for slide in slides if not isinstance(slide, NamedSlide)]
    cohorts = cohorts_in(folder)
    files = [*named_slides(places, recursive=any(cohort.has_folders for cohort in cohorts)), *known]
    labels = ", ".join(cohort.label for cohort in cohorts)
    chosen = [cohort for cohort in cohorts if label in (None, cohort.label)]
    if not chosen:
        raise ConfigError(f"{folder}: holds no tiles of {label}; it holds {labels}")
    if out is not None and len(chosen) > 1:
        raise ConfigError(f"{folder}: holds {labels}; choose one as the label")
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    for cohort in chosen:
        size = f"-{cohort.label}" if len(chosen) > 1 else ""
        path = out or unused(folder / f"tile_extraction_report-{stamp}{size}.pdf")
        yield write_report(cohort.at(files), path, html=path.with_suffix(".html"), samples=samples, progress=progress)


def merged_report(
    folders: Sequence[Path],
    out: Path,
    *,
    slides: Sequence[SlidePlace] = (),
    label: str | None = None,
    samples: int | None = None,
    mixed: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[Path]:
    """Write one report on the slides of several output folders, with one table, manifest and list of errors.

    A slide that is in several folders counts once: as in the first that finished it, else as in the first.

    Args:
        folders: output folders of runs, folders of TFRecords, or folders that hold several output folders.
        out: a folder of its own for the report.
        slides: where slides are now: files, folders or patterns.
        label: only tiles of this size, such as "299px_302um".
        samples: sample tiles per slide, from 0 to 16; by default 16, or 8 if there are many slides.
        mixed: also runs with different settings.
        progress: called with the number of slides that are in the report, and their total number.

    Returns:
        The files written, the PDF first.

    Raises:
        ConfigError: settings differ, slides of one name are different files, the folders hold several tile sizes or
            nothing to report, or `slides` match nothing.
        OutputError: a file cannot be written, `out` is an output folder itself, or other files have these names.
    """
    found = cohorts_of(folders)
    files = named_slides(slides, recursive=any(cohort.has_folders for cohorts in found for cohort in cohorts))
    labels = ", ".join(cohorts[0].label for cohorts in found)
    chosen = [cohorts for cohorts in found if label in (None, cohorts[0].label)]
    if not chosen:
        raise ConfigError(f"the folders hold no tiles of {label}; they hold {labels}")
    if len(chosen) > 1:
        raise ConfigError(f"the folders hold {labels}; choose one with {option_name('report', 'label')}")
    if any(out.resolve() == cohort.out for cohort in chosen[0]) or any(out.glob("slideloom/*/slides")):
        raise OutputError(f"{out}: is the output folder of a run; write the report on several to a folder of its own")
    cohort = merged(chosen[0], out, mixed=mixed).at(files)
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    path = unused(out / f"tile_extraction_report-{stamp}.pdf")
    written = [write_whole_table(cohort), *write_manifests(cohort)]
    page = path.with_suffix(".html")
    return [write_report(cohort, path, html=page, samples=samples, progress=progress), page, *written]


def report_run(report: RunReport, out: Path) -> None:
    """Write the tables of a run beside its tiles, and the PDF there, too, and into its output folder."""
    cohort = cohort_of(report)
    stamp = f"{datetime.now():%Y%m%d-%H%M%S}"
    if cohort.kind == "run":  # first, because they need only the numbers
        write_tables(cohort, stamp=stamp)
    path = unused(out / f"tile_extraction_report-{stamp}.pdf")
    write_report(cohort, path, html=path.with_suffix(".html"))
    if cohort.kind == "run":
        for folder in record_folders(cohort):
            put_beside(path, folder)
