"""One slide from file to report: a plain function that runs in this process, in a pool, or on another machine."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import attrs
import numpy as np
from attrs import field, frozen

from slideloom.base.errors import OutputError, SlideloomError
from slideloom.base.geometry import IntArray
from slideloom.base.storing import storing_in, write_json, write_whole
from slideloom.extraction.account import slide_report, tile_table_csv
from slideloom.extraction.engine import BlockResult, Line, TileEngine, stage_of
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.overview import plan_picture
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.mask_files import npz_bytes, save_mask
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import (
    SlidePlan,
    all_qc,
    apply_regions,
    assess_slide,
    discard_mask,
    plan_slide,
    slide_digest,
)
from slideloom.plugins.blaming import blaming
from slideloom.plugins.versions import step_versions
from slideloom.slides.slide import slide_name
from slideloom.steps.normalizer import Normalizer
from slideloom.steps.reports import SlideReport
from slideloom.steps.sink import Writer

log = logging.getLogger(__name__)

StepT = TypeVar("StepT")
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
    except Exception as error:  # one slide's error must not stop the others
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
        plan = plan_slide(slide, pipeline, threads=task.threads)
        digest = slide_digest(plan, pipeline)
        if not task.dry_run and not pipeline.run.redo:
            finished = finished_report(folder, slide.info.name, digest)
            if finished is not None:
                return attrs.evolve(finished, status="skipped")
        with plan.timed("qc"):
            apply_regions(plan)
            assess_slide(plan, pipeline)
        fallback = 0
        outputs: list[Path] = []
        if not task.dry_run:
            fallback, outputs = _Extraction(task, plan, folder).run()
        report = slide_report(
            plan,
            path=task.path,
            digest=digest,
            fallback=fallback,
            outputs=[folder.relative(path) for path in outputs],
            dry_run=task.dry_run,
        )
        report = attrs.evolve(report, versions=step_versions(pipeline.steps, reader=report.reader))
        if not task.dry_run:
            report = _store(task, plan, folder, report)
        return report


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


class _Extraction:
    """Tiles of one slide through the engine into every sink."""

    def __init__(self, task: SlideTask, plan: SlidePlan, folder: OutputFolder) -> None:
        self._task = task
        self._plan = plan
        self._folder = folder
        self._fallback: list[int] = []
        self._errors: list[str] = []

    def run(self) -> tuple[int, list[Path]]:
        """Number of tiles with fallback, and the files made."""
        plan = self._plan
        line = self._line()
        writers: list[Writer] = []
        info = plan.slide.info
        with storing_in(self._folder.root):
            self._folder.root.mkdir(parents=True, exist_ok=True)
        try:
            for stage in line.sinks:
                with blaming(stage.settings, "sink", info.name):
                    writers.append(_of_type(Writer, stage.step.open(info, plan.scene, self._folder.root)))
            with plan.timed("tiles"):
                self._extract(line, writers)
            with plan.timed("commit"):
                outputs: list[Path] = []
                for writer, stage in zip(writers, line.sinks, strict=True):
                    with blaming(stage.settings, "sink", info.name):
                        made = writer.commit()
                        outputs.extend(path for path in made if self._folder.relative(path))
        except BaseException:
            for writer in writers:
                _abort(writer)
            raise
        if self._errors:
            more = f" and {len(self._errors) - 1} more" if len(self._errors) > 1 else ""
            plan.warnings.append(f"unreadable tiles: {self._errors[0]}{more}")
        return len(self._fallback), outputs

    def _line(self) -> Line:
        plan, pipeline = self._plan, self._task.pipeline
        name = plan.slide.info.name
        filters = []
        for settings in pipeline.filters:
            with blaming(settings, "filter", name):
                filters.append(stage_of(settings, "filter", settings.build()))
        sinks = []
        for settings in pipeline.sinks:
            with blaming(settings, "sink", name):
                sinks.append(stage_of(settings, "sink", settings.build()))
        normalizer = None
        if pipeline.normalizer is not None and len(plan.ledger.candidates()):
            with blaming(pipeline.normalizer, "normalizer", name), plan.timed("normalizer"):
                step: Normalizer = pipeline.normalizer.build()
                step = _of_type(Normalizer, step.for_slide(plan.slide, plan.scene, discard_mask(plan)))
            normalizer = stage_of(pipeline.normalizer, "normalizer", step)
        return Line(tuple(filters), normalizer, tuple(sinks))

    def _extract(self, line: Line, writers: Sequence[Writer]) -> None:
        ledger = self._plan.ledger
        run = self._task.pipeline.run
        engine = TileEngine(self._plan, line, threads=self._task.threads, batch_tiles=run.batch_tiles)
        limit = self._task.pipeline.tiles.max_tiles
        waiting = ledger.candidates()
        total = len(waiting)
        if limit is not None:
            waiting = self._drawn(waiting)
        done = 0
        # With a limit, as many tiles are tried at a time as are still missing: none is ever written too many.
        while len(waiting) and (limit is None or ledger.written < limit):
            count = len(waiting) if limit is None else limit - ledger.written
            now, waiting = waiting[:count], waiting[count:]
            for result in engine.run(ledger.tiles.take(now)):
                settled = self._settle(line, writers, result)
                done += settled
                if self._task.progress is not None:
                    self._task.progress(self._plan.slide.info.name, done, total)
        if limit is not None and len(waiting):
            ledger.reject(waiting, "max-tiles")
        if self._task.progress is not None:
            self._task.progress(self._plan.slide.info.name, total, total)

    def _drawn(self, candidates: IntArray) -> IntArray:
        """The candidates in an order drawn from the seed and the slide's name."""
        seed = f"{self._task.pipeline.tiles.seed}/{self._plan.slide.info.name}"
        order = candidates.tolist()
        random.Random(seed).shuffle(order)
        return np.array(order, np.int64)

    def _settle(self, line: Line, writers: Sequence[Writer], result: BlockResult) -> int:
        ledger = self._plan.ledger
        settled = len(result.unreadable)
        ledger.mark_unreadable(np.array(result.unreadable, np.int64))
        self._errors.extend(result.first_error)
        for reason, which in result.rejected:
            ledger.reject(which, reason)
            settled += len(which)
        for step, which, values in result.scores:
            ledger.score(step, which, values)
        for tiles, encoded in zip(result.kept, result.encoded, strict=True):
            for stage, writer, stored in zip(line.sinks, writers, encoded, strict=True):
                with blaming(stage.settings, "sink", self._plan.slide.info.name):
                    writer.write(tiles, stored)
            ledger.mark_written(tiles.index)
            settled += len(tiles)
        self._fallback.extend(result.fallback)
        return settled


def _of_type(wanted: type[Any], got: StepT) -> StepT:
    if not isinstance(got, wanted):
        raise TypeError(f"wanted a {wanted.__name__}, got {type(got).__name__}")
    return got


def _abort(writer: Writer) -> None:
    try:
        writer.abort()
    except Exception:  # the error that led here is the one to report
        log.exception("a sink's writer failed to clean up")


def _store(task: SlideTask, plan: SlidePlan, folder: OutputFolder, report: SlideReport) -> SlideReport:
    """The slide's own files; the report comes last, and by it a later run knows that the slide is finished."""
    table = folder.tile_table(report.slide)
    with storing_in(folder.root):
        write_whole(table, tile_table_csv(plan).encode())
    if task.pipeline.run.save_masks:
        for label, (_, result) in zip(plan.qc_labels, plan.qc, strict=True):
            save_mask(result, folder.mask(report.slide, label), slide=plan.slide.info)
    if task.pipeline.run.report and plan.qc:
        save_mask(all_qc(plan), folder.discard(report.slide), slide=plan.slide.info, encode=npz_bytes)
    if task.pipeline.run.overview:
        with storing_in(folder.root):
            write_whole(folder.overview(report.slide), plan_picture(plan).png())
    report = attrs.evolve(report, tile_table=folder.relative(table))
    write_json(folder.report(report.slide), report.as_table())
    return report
