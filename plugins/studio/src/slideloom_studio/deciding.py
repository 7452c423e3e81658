"""Decides on the tiles of slides in the background: one worker per slide, a few slides at once."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from math import ceil
from typing import Any, Literal

from attrs import define, evolve, field
from slideloom.base.errors import Cancelled, ConfigError, SlideloomError
from slideloom.base.files import FileState
from slideloom.base.naming import option_name
from slideloom.base.system_errors import in_words
from slideloom.pipeline.pipeline import Pipeline, RunOptions
from slideloom.planning.grid import tile_geometry
from slideloom.planning.ledger import numbered
from slideloom.viewing.wsi import WSI

from slideloom_studio.decided import Decisions, Grid
from slideloom_studio.pipelines import PipelineOnScreen, pipeline_for
from slideloom_studio.results import STORED_VERSION
from slideloom_studio.shelf import Entry, Shelf

State = Literal["none", "working", "ready", "failed"]
MOST_AT_WORK = 2
"""Slides that are decided at once; each step uses all cores."""
MOST_KEPT = 3
"""Slides whose masks and scores are kept."""
MOST_TILES = 4_000_000
"""Tiles of a slide; a grid of more is a slip of the keyboard, and fills the memory."""
_FILTERS = "filters"  # what `WSI.score` calls itself


@define
class StepState:
    """A step at work, as the page shows it."""

    kind: str
    name: str
    label: str
    state: Literal["waiting", "working", "done", "failed", "cancelled"] = "waiting"
    share: float | None = None
    error: str | None = None
    seconds: float = 0.0

    def table(self, index: int) -> dict[str, Any]:
        """For the page."""
        about = {"index": index, "kind": self.kind, "name": self.label, "state": self.state}
        return {**about, "share": self.share, "error": self.error, "seconds": round(self.seconds, 2)}


@define(eq=False)
class Decided:
    """A slide with the decisions that are on screen.

    Attributes:
        wsi: the slide.
        file: the state of its file when it was opened.
        version: counts what the page has to load again.
        pipeline_revision: of the pipeline that was decided by.
        decisions: None until there are some.
        grid: None where tiles are not on a grid.
        is_whole: True once all steps have decided; False for what regions alone, or slide QC alone, decide.
        warnings: sentences about regions and slide QC.
    """

    wsi: WSI
    file: FileState | None
    version: int
    pipeline_revision: int
    decisions: Decisions
    grid: Grid | None
    is_whole: bool = False
    warnings: tuple[str, ...] = ()


@define(eq=False)
class _Job:
    """What a slide's worker does."""

    state: State = "none"
    error: str | None = None
    steps: list[StepState] = field(factory=list)
    thread: threading.Thread | None = None
    cancelled: threading.Event = field(factory=threading.Event)
    is_wanted: bool = False  # once more, when the worker has ended what it does
    is_given_up: bool = False  # by a person


class Deciding:
    """The workers of a session. Thread-safe.

    Args:
        shelf: the slides.
        pipeline: on screen.
    """

    def __init__(self, shelf: Shelf, pipeline: PipelineOnScreen) -> None:
        self._shelf, self._pipeline = shelf, pipeline
        self._lock = threading.RLock()
        self._jobs: dict[str, _Job] = {}
        self._known: OrderedDict[str, Decided] = OrderedDict()
        self._slots = threading.Semaphore(MOST_AT_WORK)
        self._versions = STORED_VERSION

    def start(self, entry: Entry) -> None:
        """Decide by the pipeline on screen; what a worker does for an earlier one is given up."""
        with self._lock:
            job = self._jobs.setdefault(entry.id, _Job())
            job.is_wanted, job.is_given_up = True, False
            job.cancelled.set()
            # Also where a worker is about to end: who asks now must not be told that all is decided.
            job.state, job.error = "working", None
            if job.thread is None:
                job.steps = []
                job.thread = threading.Thread(target=self._work, args=(entry, job), daemon=True)
                job.thread.start()

    def cancel(self, entry: Entry) -> None:
        """Give up what a slide's worker does; what was decided before stays."""
        with self._lock:
            job = self._jobs.get(entry.id)
            if job is not None and job.thread is not None:
                job.is_wanted, job.is_given_up = False, True
                job.cancelled.set()

    def wait(self, entry: Entry, *, most_s: float | None = None) -> None:
        """Wait until a slide's worker has nothing to do, or for some seconds."""
        with self._lock:
            job = self._jobs.get(entry.id)
            thread = job.thread if job is not None else None
        if thread is not None:
            thread.join(most_s)

    def decided(self, entry: Entry) -> Decided | None:
        """The decisions on screen, or None if there are none."""
        with self._lock:
            found = self._known.get(entry.id)
            if found is not None:
                self._known.move_to_end(entry.id)
            return found

    def is_asked(self, entry: Entry) -> bool:
        """True once decisions about a slide were asked for."""
        with self._lock:
            return entry.id in self._jobs

    def table(self, entry: Entry) -> dict[str, Any]:
        """How far the decisions are, and what they are so far."""
        now, _ = self._pipeline.now
        with self._lock:
            job, found = self._jobs.get(entry.id, _Job()), self.decided(entry)
            state: State = job.state
            if state == "none" and found is not None:
                state = "ready"
            is_now = found is not None and found.pipeline_revision == now
            return {
                "revision": 0 if found is None else found.version,
                "pipeline_revision": None if found is None else found.pipeline_revision,
                "is_whole": found is not None and found.is_whole,
                "is_current": state == "ready" and found is not None and found.is_whole and is_now,
                "is_cancelled": job.is_given_up,
                "is_stored": False,
                "state": state,
                "error": job.error,
                "steps": [step.table(index) for index, step in enumerate(job.steps)],
                "planned": 0 if found is None else found.decisions.planned,
                "kept": 0 if found is None else found.decisions.counts[0],
                "counts": [] if found is None else found.decisions.table(),
                "grid": None if found is None or found.grid is None else found.grid.table(),
                "warnings": [] if found is None else list(found.warnings),
            }

    def close(self) -> None:
        """End all workers, and let go of all slides."""
        with self._lock:
            jobs, self._jobs = self._jobs, {}
            for job in jobs.values():
                job.is_wanted = False
                job.cancelled.set()
        for job in jobs.values():
            if job.thread is not None:
                job.thread.join()
        with self._lock:
            known, self._known = self._known, OrderedDict()
        for found in known.values():
            found.wsi.close()

    def _work(self, entry: Entry, job: _Job) -> None:
        """Decide until nothing more is wanted."""
        while True:
            with self._lock:
                if not job.is_wanted:
                    job.thread = None
                    if job.state == "working":
                        job.state = "ready" if entry.id in self._known else "none"
                    return
                job.is_wanted = False
                job.cancelled.clear()
                revision, pipeline = self._pipeline.now
                job.state, job.error = "working", None
                job.steps = _steps_of(pipeline)
            try:
                with self._slots:
                    self._decide(entry, job, revision, pipeline)
                state, error = "ready", None
            except Cancelled:
                state, error = "working", None
                _mark(job, "cancelled")
            except Exception as failure:  # whatever a plugin raises is told on the page
                known = isinstance(failure, SlideloomError)
                state, error = "failed", str(failure) if known else in_words(failure)
                _mark(job, "failed", error)
            with self._lock:
                if not job.is_wanted:
                    job.state, job.error = state, error  # type: ignore[assignment]  # one of three words

    def _decide(self, entry: Entry, job: _Job, revision: int, pipeline: Pipeline) -> None:
        whole = evolve(pipeline_for(pipeline, entry.roi), sinks=(), run=RunOptions())
        progress, cancelled = _Follower(job), job.cancelled.is_set
        found = self._opened(entry, whole, revision)
        wsi = found.wsi
        wsi.update(
            qc=whole.qc,
            filters=whole.filters,
            normalizer=whole.normalizer,
            tiling=whole.tiles,
            roi=whole.roi,
            placement=whole.placement,
            progress=progress,
            cancel=cancelled,
        )
        progress.end("qc")
        if wsi.unscored:
            self._show(entry, wsi, found.file, revision)
            wsi.score(progress=progress, cancel=cancelled)
        progress.end("filter", "normalizer")
        now = self._show(entry, wsi, found.file, revision, is_whole=True)
        if not cancelled():
            now.warnings = wsi.warnings  # they tell of blur, which is measured for them

    def _opened(self, entry: Entry, pipeline: Pipeline, revision: int) -> Decided:
        """The slide with what was measured so far; or opened anew, and shown as only its regions decide."""
        file = self._shelf.state(entry.id)
        with self._shelf.lent(entry.id) as slide:
            _check_size(slide.info, pipeline)
        with self._lock:
            found = self._known.get(entry.id)
        if found is not None and found.file == file:
            return found
        if found is not None:
            self._forget(entry.id)
        plain = evolve(pipeline, qc=(), filters=(), normalizer=None)
        return self._show(entry, WSI.of_pipeline(entry.slide, plain), file, revision)

    def _show(
        self, entry: Entry, wsi: WSI, file: FileState | None, revision: int, *, is_whole: bool = False
    ) -> Decided:
        """Put what a slide has decided on screen."""
        tile_map, tiles = wsi.tile_map, wsi.ledger.tiles
        on_grid = wsi.pipeline().placement is None and len(tiles)
        grid = Grid.of(tiles, wsi.geometry.stride, tile_map.codes.shape) if on_grid else None
        decisions = Decisions.of(tile_map)
        surplus = []
        with self._lock:
            self._versions += 1
            shown = self._known[entry.id] = Decided(
                wsi, file, self._versions, revision, decisions, grid, is_whole=is_whole
            )
            self._known.move_to_end(entry.id)
            for key in list(self._known):
                if len(self._known) <= MOST_KEPT:
                    break
                job = self._jobs.get(key)
                if key != entry.id and (job is None or job.thread is None):
                    surplus.append(self._known.pop(key))
                    if job is not None:
                        job.state, job.steps = "none", []
        for other in surplus:
            other.wsi.close()
        return shown

    def _forget(self, key: str) -> None:
        with self._lock:
            found = self._known.pop(key, None)
        if found is not None:
            found.wsi.close()


def _check_size(info: Any, pipeline: Pipeline) -> None:
    """Refuse a grid that is larger than anybody wants.

    Raises:
        ConfigError: it is.
        SlideError: the slide's microns per pixel are not known.
    """
    geometry = tile_geometry(info, pipeline.tiles)
    columns = ceil(info.size.width / geometry.stride.width)
    rows = ceil(info.size.height / geometry.stride.height)
    if columns * rows > MOST_TILES and pipeline.placement is None:
        raise ConfigError(
            f"{info.name}: {columns} x {rows} tiles are more than the studio shows; choose larger tiles, or a "
            f"smaller {option_name('tiles', 'stride_div')}"
        )


def _steps_of(pipeline: Pipeline) -> list[StepState]:
    qc = numbered(use.step.label for use in pipeline.qc)
    filters = numbered(step.label for step in pipeline.filters)
    last = pipeline.normalizer
    return [
        *(StepState("qc", use.step.name, label) for use, label in zip(pipeline.qc, qc, strict=True)),
        *(StepState("filter", step.name, label) for step, label in zip(pipeline.filters, filters, strict=True)),
        *([] if last is None else [StepState("normalizer", last.name, last.label)]),
    ]


def _mark(job: _Job, state: Literal["failed", "cancelled"], error: str | None = None) -> None:
    """Say of the step at work how it ended. An error names its step: those before it were known from earlier."""
    named = [step for step in job.steps if error and step.state != "done" and _is_named(step, error)]
    ended = (named or [step for step in job.steps if step.state == "working"])[:1]
    for step in job.steps[: job.steps.index(ended[0])] if ended else []:
        step.state = "done"
    for step in ended:
        step.state, step.error = state, error


def _is_named(step: StepState, error: str) -> bool:
    return any(f"'{name}'" in error for name in (step.name, step.label))


class _Follower:
    """Notes how far the steps of a job are; called from several threads."""

    def __init__(self, job: _Job) -> None:
        self._job = job
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._begin_next()

    def __call__(self, label: str, share: float) -> None:
        """Note how much of a step is done; all tile filters are one."""
        is_filter = label == _FILTERS
        with self._lock:
            for step in self._job.steps:
                here = step.kind == "filter" if is_filter else (step.kind, step.label) == ("qc", label)
                if here and step.state != "done":
                    step.state, step.share = "working", share
                    step.seconds = time.monotonic() - self._since
                    if share >= 1 and not is_filter:
                        self._end(step)

    def end(self, *kinds: str) -> None:
        """Note that all steps of these kinds are done."""
        with self._lock:
            for step in self._job.steps:
                if step.kind in kinds and step.state != "done":
                    self._end(step)

    def _end(self, step: StepState) -> None:
        step.state, step.share = "done", 1.0
        self._since = time.monotonic()
        self._begin_next()

    def _begin_next(self) -> None:
        following = [step for step in self._job.steps if step.state == "waiting"][:1]
        if following and not any(step.state == "working" for step in self._job.steps):
            following[0].state = "working"
