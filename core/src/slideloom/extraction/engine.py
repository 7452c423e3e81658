"""The tile engine: threads read, filter, normalize and encode blocks of neighbouring tiles.

The order of the results depends neither on the number of threads nor on the batch size.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from contextvars import copy_context
from itertools import pairwise
from typing import Any

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray

from slideloom.base.errors import PluginError
from slideloom.base.geometry import IntArray, RgbBatch
from slideloom.extraction.batch_memory import BatchMemory, closed_up
from slideloom.extraction.companions import CompanionMaker, Pictures
from slideloom.planning.plan import SlidePlan
from slideloom.planning.prepared import BuiltStep, TileSteps
from slideloom.plugins.blaming import blaming
from slideloom.slides.tiles import TileBatch, Tiles
from slideloom.steps.normalizer import Normalized, Normalizer
from slideloom.steps.sink import Sink
from slideloom.steps.tile_filter import TileFilter, Verdict

# Width of a column in pixels of the level that is read. The slide is divided into columns, and a block is one row of
# tiles within a column. Blocks follow each other down a column, so a reader decodes most source tiles once although
# it keeps only a few of them, however wide the slide is. Only source tiles at the sides of a column, one in 65 for
# source tiles of 256 pixels, are needed by two columns.
COLUMN_PX = 16384
# Level pixels that one thread reads at once, about 50 MB.
_BATCH_PX = 16_000_000


@frozen
class BlockResult:
    """The results for the tiles of one block; indices are those of the plan."""

    unreadable: list[int] = field(factory=list)
    rejected: list[tuple[str, IntArray]] = field(factory=list)
    scores: list[tuple[str, IntArray, NDArray[np.float32]]] = field(factory=list)
    fallback: list[int] = field(factory=list)
    unnormalized: list[tuple[str, int]] = field(factory=list)  # contexts that a normalizer could not change
    kept: list[Tiles] = field(factory=list)
    encoded: list[list[Sequence[Any]]] = field(factory=list)  # per kept batch, per sink
    first_error: list[str] = field(factory=list)


def blocks_of(tiles: Tiles, *, downsample: float = 1.0) -> list[Tiles]:
    """The tiles in blocks of neighbours: columns of the slide from left to right, rows of tiles down each column.

    Args:
        tiles: tiles of one slide.
        downsample: downsample of the level that they are read from.
    """
    if not len(tiles):
        return []
    footprint = tiles.footprint
    width = footprint.width * max(1, int(COLUMN_PX * downsample / footprint.width))
    column, row = tiles.x // width, tiles.y // footprint.height
    order = np.lexsort((tiles.index, tiles.x, tiles.y, row, column))
    ordered = tiles.take(order)
    change = np.flatnonzero((np.diff(row[order]) != 0) | (np.diff(column[order]) != 0)) + 1
    edges = [0, *change.tolist(), len(tiles)]
    return [ordered.take(slice(start, end)) for start, end in pairwise(edges)]


class TileEngine:
    """Runs the tiles of one slide through the steps."""

    def __init__(
        self,
        plan: SlidePlan,
        steps: TileSteps,
        *,
        threads: int,
        batch_tiles: int,
        companions: CompanionMaker | None = None,
    ) -> None:
        self._plan = plan
        self._companions = companions or CompanionMaker()
        self._steps = steps
        self._threads = threads
        self._geometry = plan.scene.geometry
        level = plan.slide.info.levels[self._geometry.level]
        source = self._geometry.footprint.area / (level.downsample_x * level.downsample_y)
        source = max(source, self._companions.largest_source_px(plan.slide))
        self._batch = max(1, min(batch_tiles, int(_BATCH_PX / source)))
        self._memory = BatchMemory(self._batch, self._geometry.tile_px)
        self._downsample = level.downsample
        self._read_lock: AbstractContextManager[Any] = nullcontext() if plan.slide.thread_safe else threading.Lock()

    def run(self, tiles: Tiles) -> Iterator[BlockResult]:
        """Results block by block, in the order of `blocks_of`."""
        blocks = blocks_of(tiles, downsample=self._downsample)
        if self._threads == 1:
            yield from map(self._process, blocks)
            return
        with ThreadPoolExecutor(self._threads, thread_name_prefix="slideloom") as pool:
            yield from _in_order(pool, self._process, blocks, ahead=self._threads + 2)

    def _process(self, block: Tiles) -> BlockResult:
        result = BlockResult()
        for start in range(0, len(block), self._batch):
            self._process_batch(block.take(slice(start, start + self._batch)), result)
        return result

    def _process_batch(self, tiles: Tiles, result: BlockResult) -> None:
        with self._memory.lending():
            self._through_steps(tiles, result)

    def _through_steps(self, tiles: Tiles, result: BlockResult) -> None:
        batch = self._read(tiles, result)
        for stage in self._steps.filters:
            if not len(batch):
                return
            verdict = self._check(stage, batch)
            result.scores.append((stage.label, batch.tiles.index, verdict.score))
            if not verdict.keep.all():
                result.rejected.append((stage.label, batch.tiles.index[~verdict.keep]))
                batch = self._subset(batch, verdict.keep)
        if self._companions.views and len(batch):
            batch = self._with_contexts(batch, result)
        if self._steps.normalizer is not None and len(batch):
            batch = self._normalize(self._steps.normalizer, batch, result)
        if len(batch):
            masks = self._companions.masks(batch.tiles)
            batch = evolve(batch, companions={**masks, **batch.companions}) if masks else batch
            result.kept.append(batch.tiles)
            result.encoded.append([self._encode(stage, batch) for stage in self._steps.sinks])

    def _read(self, tiles: Tiles, result: BlockResult) -> TileBatch:
        rgb = self._memory.take()[: len(tiles)]
        with self._read_lock:
            errors = self._plan.slide.read_into(tiles.boxes(), list(rgb), level=self._geometry.level)
        if all(error is None for error in errors):
            return self._batch_of(rgb, tiles)
        readable = np.array([error is None for error in errors], bool)
        result.unreadable.extend(tiles.index[~readable].tolist())
        result.first_error.extend(str(error) for error in errors if error is not None)
        return self._subset(self._batch_of(rgb, tiles), readable)

    def _batch_of(self, rgb: RgbBatch, tiles: Tiles, companions: Pictures | None = None) -> TileBatch:
        regions = self._plan.regions
        labels = tuple(regions[index].label if index >= 0 else None for index in tiles.roi.tolist())
        name = self._plan.slide.info.name
        return TileBatch(rgb=rgb, tiles=tiles, slide=name, labels=labels, companions=companions or {})

    def _subset(self, batch: TileBatch, keep: NDArray[np.bool_]) -> TileBatch:
        which = np.flatnonzero(keep)
        ours = self._memory.lent(batch.rgb)
        if ours is None:
            rgb = self._memory.take()[: len(which)]
            np.take(batch.rgb, which, axis=0, out=rgb, mode="clip")  # any other mode would copy twice
            self._memory.give_back(all_but=1)
        else:  # no step holds these pixels
            rgb = closed_up(ours, which)
        companions = {name: array[which] for name, array in batch.companions.items()}
        return self._batch_of(rgb, batch.tiles.take(which), companions)

    def _with_contexts(self, batch: TileBatch, result: BlockResult) -> TileBatch:
        """The batch with its contexts, without tiles one of whose contexts cannot be read."""
        found, faults = self._companions.contexts(self._plan.slide, batch.tiles, self._read_lock)
        batch = evolve(batch, companions=found)
        if not any(faults):
            return batch
        readable = np.array([fault is None for fault in faults], bool)
        result.unreadable.extend(batch.tiles.index[~readable].tolist())
        result.first_error.extend(fault for fault in faults if fault is not None)
        return self._subset(batch, readable)

    def _call(self, stage: BuiltStep, function: Callable[[TileBatch], Any], batch: TileBatch) -> Any:
        if stage.step.keeps_pixels:
            self._memory.leave()
        with blaming(stage.settings, stage.kind, batch.slide), stage.lock:
            return function(batch)

    def _check(self, stage: BuiltStep, batch: TileBatch) -> Verdict:
        step: TileFilter = stage.step
        with self._read_lock if step.needs_slide else nullcontext():
            verdict = self._call(stage, step.check, batch)
        count = len(batch)
        if not isinstance(verdict, Verdict) or not _is_column(verdict.keep, count, np.bool_):
            raise self._broke(stage, batch, f"Verdict(keep=({count},) bool, score=({count},) float32)", verdict)
        if np.shape(verdict.score) != (count,) or np.asarray(verdict.score).dtype.kind not in "fiub":
            raise self._broke(stage, batch, f"a score per tile ({count},) float32", verdict.score)
        return verdict

    def _normalize(self, stage: BuiltStep, batch: TileBatch, result: BlockResult) -> TileBatch:
        done = self._normalized(stage, evolve(batch, companions={}))
        if not done.ok.all():
            result.rejected.append((stage.kind, batch.tiles.index[~done.ok]))
        if done.fallback is not None:
            result.fallback.extend(batch.tiles.index[done.fallback & done.ok].tolist())
        companions = self._normalized_contexts(stage, batch, result)
        normalized = self._batch_of(done.rgb, batch.tiles, companions)
        return normalized if done.ok.all() else self._subset(normalized, done.ok)

    def _normalized_contexts(self, stage: BuiltStep, batch: TileBatch, result: BlockResult) -> Pictures:
        """The contexts, normalized as if they were tiles; one that cannot be normalized stays as it is, and counts."""
        pictures = dict(batch.companions)
        for view in self._companions.views:
            name = view.companion.name
            done = self._normalized(stage, self._batch_of(pictures[name], view.tiles(batch.tiles)))
            if not done.ok.all():
                result.unnormalized.append((name, int((~done.ok).sum())))
            pictures[name] = np.where(done.ok[:, None, None, None], done.rgb, pictures[name])
        return pictures

    def _normalized(self, stage: BuiltStep, batch: TileBatch) -> Normalized:
        step: Normalizer = stage.step
        done: Normalized = self._call(stage, step.apply, batch)
        count = len(batch)
        is_image = isinstance(done, Normalized) and isinstance(done.rgb, np.ndarray)
        if not is_image or done.rgb.shape != batch.rgb.shape or done.rgb.dtype != np.uint8:
            raise self._broke(stage, batch, f"Normalized(rgb={batch.rgb.shape} uint8)", getattr(done, "rgb", done))
        if not _is_column(done.ok, count, np.bool_):
            raise self._broke(stage, batch, f"ok ({count},) bool", done.ok)
        if done.fallback is not None and not _is_column(done.fallback, count, np.bool_):
            raise self._broke(stage, batch, f"fallback ({count},) bool or None", done.fallback)
        return done

    def _encode(self, stage: BuiltStep, batch: TileBatch) -> Sequence[Any]:
        step: Sink = stage.step
        encoded: Sequence[Any] = self._call(stage, step.encode, batch)
        if not isinstance(encoded, Sequence) or len(encoded) != len(batch):
            raise self._broke(stage, batch, f"{len(batch)} encoded tiles", encoded)
        return encoded

    def _broke(self, stage: BuiltStep, batch: TileBatch, wanted: str, got: Any) -> PluginError:
        shape = f"{np.shape(got)} {got.dtype}" if isinstance(got, np.ndarray) else type(got).__name__
        return PluginError(f"{stage.kind} '{stage.settings.name}' broke its contract on slide {batch.slide}: "
                           f"wanted {wanted}, got {shape}")  # fmt: skip


def _is_column(values: Any, count: int, kind: type[np.generic]) -> bool:
    return isinstance(values, np.ndarray) and values.shape == (count,) and values.dtype == kind


def _in_order(
    pool: ThreadPoolExecutor, function: Callable[[Tiles], BlockResult], blocks: Sequence[Tiles], *, ahead: int
) -> Iterator[BlockResult]:
    """Results in the order of the blocks, with a limited number of blocks in progress."""
    pending: deque[Future[BlockResult]] = deque()
    try:
        for block in blocks:
            # Each with the context of the run, which says how messages name options.
            pending.append(pool.submit(copy_context().run, function, block))
            if len(pending) >= ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()
