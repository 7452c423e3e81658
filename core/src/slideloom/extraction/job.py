"""One slide from file to report: a plain function that runs in this process, in a pool, or on another machine."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

import attrs
from attrs import field, frozen

from slideloom.base.errors import OutputError, SlideloomError
from slideloom.base.storing import storing_in, write_json, write_whole
from slideloom.extraction.account import slide_report, tile_table_csv
from slideloom.extraction.extract import Extracted, Extraction
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.overview import plan_picture
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.mask_files import npz_bytes, save_mask
from slideloom.planning.masks import union_mask
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import plan_slide, slide_digest
from slideloom.planning.prepared import PreparedSlide
from slideloom.slides.info import slide_name
from slideloom.steps.reports import SlideReport
from slideloom.steps.slide_qc import QcResult

log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]  # slide, tiles done, tiles in all


@frozen
class SlideTask:
    """One slide to process; can be pickled.

    Attributes:
        pipeline: what to do.
        path: the slide's file; `read_path` is a copy on a faster disk, or None.
        out: the output folder.
        threads: within the slide.
        dry_run: decide everything that needs no tile pixels, write nothing.
        progress: called from the thread that runs the task.
    """

    pipeline: Pipeline
    path: Path
    out: Path
    read_path: Path | None = None
    threads: int = 1
    dry_run: bool = False
    progress: Progress | None = field(default=None, eq=False)


def process_slide(task: SlideTask) -> SlideReport:
    """The report of one slide. Every error becomes a report with status "failed"; nothing half-written stays."""
    name = slide_name(task.path)
    blank = SlideReport(slide=name, path=str(task.path), status="failed", label=task.pipeline.tiles.label)
    try:
        report = _process(task)
    except SlideloomError as error:
        return _failed(task, attrs.evolve(blank, error=str(error)))
    except MemoryError:
        return _failed(task, attrs.evolve(blank, error=f"{name}: out of memory; use fewer jobs or threads"))
    except (Exception, SystemExit) as error:  # one slide's error must not stop the others
        log.exception("slide %s failed", name)
        return _failed(task, attrs.evolve(blank, error=f"{name}: {type(error).__name__}: {error}"))
    return report


def _failed(task: SlideTask, report: SlideReport) -> SlideReport:
    if not task.dry_run:
        folder = OutputFolder(task.out, report.label)
        stale = _outputs_left(folder, report.slide)
        if stale:
            left = (
                f"; what an earlier run made of it, with other settings or of another file, is still there: {stale[0]}"
            )
            report = attrs.evolve(report, error=report.error + left, outputs=stale)
        try:
            write_json(folder.report(report.slide), report.as_table())
        except OutputError as error:  # the disk may be what failed; the report still reaches the caller
            log.warning("%s", error)
    return report


def _process(task: SlideTask) -> SlideReport:
    pipeline = task.pipeline
    folder = OutputFolder(task.out, pipeline.tiles.label)
    with open_slide(task.read_path or task.path, slides=pipeline.slides) as slide:
        slide.info = attrs.evolve(slide.info, path=task.path, name=slide_name(task.path))
        prepared = PreparedSlide(plan_slide(slide, pipeline, threads=task.threads))
        digest = slide_digest(prepared.plan)
        if not task.dry_run and not pipeline.run.redo:
            finished = finished_report(folder, slide.info.name, digest)
            if finished is not None:
                return attrs.evolve(finished, status="skipped")
        prepared.decide()
        made = Extracted()
        if not task.dry_run:
            progress = partial(task.progress, slide.info.name) if task.progress is not None else None
            made = Extraction(prepared, folder, threads=task.threads, progress=progress).run()
        report = slide_report(
            prepared.plan,
            prepared.record,
            path=task.path,
            digest=digest,
            fallback=made.fallback,
            outputs=[folder.relative(path) for path in made.outputs],
            dry_run=task.dry_run,
        )
        if not report.is_accounted:
            raise SlideloomError(f"{report.slide}: {_account(report)}")
        return report if task.dry_run else _store(prepared, folder, report)


def _account(report: SlideReport) -> str:
    rejected = ", ".join(f"{count} by {step}" for step, count in report.rejected.items()) or "0"
    return (
        f"{report.planned} tiles were planned, but {report.written} written, {report.unreadable} unreadable and "
        f"rejected: {rejected}; no slide may lose tiles unnoticed, so please report this"
    )


def _outputs_left(folder: OutputFolder, slide: str) -> tuple[str, ...]:
    """Files that an earlier run made of a slide and that are still there."""
    try:
        outputs = SlideReport.load(folder.report(slide)).outputs
    except (OSError, ValueError, TypeError, OutputError):  # no earlier report, or none that can be read: nothing known
        return ()
    return tuple(output for output in outputs if (folder.root / output).exists())


def finished_report(folder: OutputFolder, slide: str, digest: str) -> SlideReport | None:
    """The report of an earlier run that finished this slide with the same digest and whose files are there."""
    path = folder.report(slide)
    try:
        report = SlideReport.load(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        log.warning("%s: the report of an earlier run cannot be read (%s); the slide is run again", path, error)
        return None
    if report.status == "failed" or report.digest != digest:
        return None
    if any(not (folder.root / output).exists() for output in report.outputs):
        return None
    return report


def _store(prepared: PreparedSlide, folder: OutputFolder, report: SlideReport) -> SlideReport:
    """The slide's own files; the report comes last, and by it a later run knows that the slide is finished."""
    plan, record, run = prepared.plan, prepared.record, prepared.plan.pipeline.run
    table, slide = folder.tile_table(report.slide), plan.slide.info
    with storing_in(folder.root):
        write_whole(table, tile_table_csv(plan, record).encode())
    if run.save_masks:
        for finding in record.qc:
            save_mask(finding.result, folder.mask(report.slide, finding.label), slide=slide)
    if run.report and record.qc:
        discarded = union_mask([finding.result for finding in record.qc], slide.size)
        save_mask(QcResult(discarded, "artifact"), folder.discard(report.slide), slide=slide, encode=npz_bytes)
    if run.overview:
        with storing_in(folder.root):
            write_whole(folder.overview(report.slide), plan_picture(plan, record).png())
    report = attrs.evolve(report, tile_table=folder.relative(table))
    write_json(folder.report(report.slide), report.as_table())
    return report
