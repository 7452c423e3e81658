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

from slideloom.base.errors import OutputError, SlideError, SlideloomError
from slideloom.base.geometry import IntArray
from slideloom.base.storing import storing_in, write_json
from slideloom.extraction.account import slide_report, tile_table_csv
from slideloom.extraction.engine import BlockResult, Line, Stage, TileEngine, stage_of
from slideloom.extraction.extras import pictures_of
from slideloom.extraction.finished import Earlier
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.publishing import ForeignOutput, Publication
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import (
    SlidePlan,
    apply_regions,
    assess_slide,
    discard_mask,
    plan_slide,
    slide_digest,
)
from slideloom.plugins.blaming import blaming
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
        return _failed(task, blank, error)
    except MemoryError:
        return _failed(task, blank, SlideError(f"{name}: out of memory; use fewer jobs or threads"))
    except Exception as error:  # one slide's error must not stop the others
        log.exception("slide %s failed", name)
        return _failed(task, blank, SlideError(f"{name}: {type(error).__name__}: {error}"))
    return report


def _failed(task: SlideTask, report: SlideReport, error: Exception) -> SlideReport:
    """The report with its error, stored; also with what earlier runs made of the slide and what is still there."""
    report = attrs.evolve(report, error=str(error))
    if task.dry_run:
        return report
    folder = OutputFolder(task.out, report.label)
    try:
        left = Earlier.of(folder, report.slide).left()
    except OutputError:  # a name that no file can have
        left = {}
    if left:
        first = next(iter(left))
        word = f"; what an earlier run made of it, with other settings or of another file, is still there: {first}"
        sizes = {name: size for name, size in left.items() if size is not None}
        report = attrs.evolve(report, error=report.error + word, outputs=tuple(left), sizes=sizes)
    if isinstance(error, ForeignOutput):
        report = attrs.evolve(report, foreign=tuple(folder.relative(path) for path in error.paths))
    try:
        write_json(folder.report(report.slide), report.as_table())
    except OutputError as problem:  # the disk may be what failed; the report still reaches the caller
        log.warning("%s", problem)
    return report


def _process(task: SlideTask) -> SlideReport:
    pipeline = task.pipeline
    folder = OutputFolder(task.out, pipeline.tiles.label)
    with open_slide(task.read_path or task.path, slides=pipeline.slides) as slide:
        slide.info = attrs.evolve(slide.info, path=task.path, name=slide_name(task.path))
        plan = plan_slide(slide, pipeline, threads=task.threads)
        digest = slide_digest(plan, pipeline)
        if task.dry_run:
            _decide(plan, pipeline)
            return slide_report(plan, pipeline, path=task.path, digest=digest, dry_run=True)
        earlier = Earlier.of(folder, slide.info.name)
        if not pipeline.run.redo:
            finished, why = earlier.finished(digest)
            if finished is not None:
                return attrs.evolve(finished, status="skipped")
            if why:
                log.info("%s is made again: %s", slide.info.name, why)
                plan.warnings.append(f"made again: {why}")
        with Publication(folder, earlier, redo=pipeline.run.redo) as publication:
            extraction = _Extraction(task, plan, folder, publication)
            extraction.open()
            _decide(plan, pipeline)
            fallback = extraction.run()
            with plan.timed("commit"):
                publication.publish(slide_files(task, plan, folder), kept=folder.tile_table(slide.info.name))
            left = publication.left()
            plan.warnings.extend(publication.notes)
            plan.warnings.extend(
                f"an earlier run made it with other sinks, and it is still there: {name}" for name in left
            )
            report = attrs.evolve(
                slide_report(plan, pipeline, path=task.path, digest=digest, fallback=fallback),
                outputs=tuple(publication.outputs),
                sizes=publication.sizes,
                left=left,
                tile_table=folder.relative(folder.tile_table(slide.info.name)),
            )
            publication.finish(report)
        return report


def _decide(plan: SlidePlan, pipeline: Pipeline) -> None:
    with plan.timed("qc"):
        apply_regions(plan)
        assess_slide(plan, pipeline)


class _Extraction:
    """Tiles of one slide through the engine into every sink."""

    def __init__(self, task: SlideTask, plan: SlidePlan, folder: OutputFolder, publication: Publication) -> None:
        self._task = task
        self._plan = plan
        self._folder = folder
        self._publication = publication
        self._sinks: list[Stage] = []
        self._writers: list[Writer] = []
        self._fallback: list[int] = []
        self._settled = 0
        self._errors: list[str] = []

    def open(self) -> None:
        """Open every sink; what cannot be written, or may not be replaced, is known before the first tile.

        Raises:
            OutputError: so it is.
        """
        info = self._plan.slide.info
        with storing_in(self._folder.root):
            self._folder.root.mkdir(parents=True, exist_ok=True)
        for settings in self._task.pipeline.sinks:
            with blaming(settings, "sink", info.name):
                stage = stage_of(settings, "sink", settings.build())
                writer = _of_type(Writer, stage.step.open(info, self._plan.scene, self._folder.root))
            self._sinks.append(stage)
            self._writers.append(writer)
            self._publication.add(settings, writer)

    def run(self) -> int:
        """Number of tiles with fallback.

        Raises:
            SlideError: no tile could be read.
        """
        plan = self._plan
        line = self._line()
        with plan.timed("tiles"):
            self._extract(line, self._writers)
        if self._errors and plan.ledger.unreadable == self._settled:
            raise SlideError(
                f"{plan.slide.info.name}: none of the {self._settled} tiles tried could be read: {self._errors[0]}; "
                "check the file and its disk, then run again"
            )
        if self._errors:
            more = f" and {len(self._errors) - 1} more" if len(self._errors) > 1 else ""
            plan.warnings.append(f"unreadable tiles: {self._errors[0]}{more}")
        return len(self._fallback)

    def _line(self) -> Line:
        plan, pipeline = self._plan, self._task.pipeline
        name = plan.slide.info.name
        filters = []
        for settings in pipeline.filters:
            with blaming(settings, "filter", name):
                filters.append(stage_of(settings, "filter", settings.build()))
        normalizer = None
        if pipeline.normalizer is not None and len(plan.ledger.candidates()):
            with blaming(pipeline.normalizer, "normalizer", name), plan.timed("normalizer"):
                step: Normalizer = pipeline.normalizer.build()
                step = _of_type(Normalizer, step.for_slide(plan.slide, plan.scene, discard_mask(plan)))
            normalizer = stage_of(pipeline.normalizer, "normalizer", step)
        return Line(tuple(filters), normalizer, tuple(self._sinks))

    def _extract(self, line: Line, writers: Sequence[Writer]) -> None:
        ledger = self._plan.ledger
        run = self._task.pipeline.run
        engine = TileEngine(self._plan, line, threads=self._task.threads, batch_tiles=run.batch_tiles)
        limit = self._task.pipeline.tiles.max_tiles
        waiting = ledger.candidates()
        total = len(waiting)
        if limit is not None:
            waiting = self._drawn(waiting)
        # With a limit, as many tiles are tried at a time as are still missing: none is ever written too many.
        while len(waiting) and (limit is None or ledger.written < limit):
            count = len(waiting) if limit is None else limit - ledger.written
            now, waiting = waiting[:count], waiting[count:]
            for result in engine.run(ledger.tiles.take(now)):
                self._settled += self._settle(line, writers, result)
                if self._task.progress is not None:
                    self._task.progress(self._plan.slide.info.name, self._settled, total)
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


def slide_files(task: SlideTask, plan: SlidePlan, folder: OutputFolder) -> dict[Path, bytes]:
    """The slide's own files, with their content: the tile table, and what the run asks for beside it."""
    name, run = plan.slide.info.name, task.pipeline.run
    return {folder.tile_table(name): tile_table_csv(plan).encode(), **pictures_of(plan, run, folder)}
