"""The slide in a person's hands: steps that come and go, with all that was measured used again.

What can be seen is a `LiveState` that never changes; a change makes a new one, and puts it in place at its end. So
threads that look need no lock, and see what was before the change or what is after it.
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import Any

import attrs
import numpy as np
from attrs import evolve

from slideloom.base.geometry import Box, Mask, Rgb, Size
from slideloom.base.opencv_threads import opencv_in_one_thread
from slideloom.base.watching import Watch
from slideloom.drawing.pictures import sampled
from slideloom.extraction.engine import TileEngine
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.deciding import discard_mask, measure_burden
from slideloom.planning.known import Known
from slideloom.planning.known_results import live_options
from slideloom.planning.known_scores import labelled_filters
from slideloom.planning.ledger import numbered
from slideloom.planning.plan import SlidePlan, plan_slide
from slideloom.planning.prepared import BuiltStep, PreparedSlide, TileSteps
from slideloom.planning.record import SlideRecord
from slideloom.plugins.blaming import blaming
from slideloom.settings.options import Settings
from slideloom.slides.slide import MAX_READ_PX, Slide
from slideloom.slides.tiles import TileBatch, Tiles
from slideloom.slides.watched_slide import WatchedSlide
from slideloom.steps.normalizer import Normalized
from slideloom.viewing.view_pyramid import ViewPyramid
from slideloom.viewing.views import LiveStep, TileDetail, TileMap

WHERE = ("tiles", "roi", "placement")
"""Parts of a pipeline that say where tiles are; the others only say what becomes of them."""
_FILTERS = "filters"  # what `score` calls itself to who watches it


class LiveState:
    """What is on screen: a prepared slide whose decisions are made. It never changes.

    Args:
        prepared: the slide, decided.
        generation: how many changes there were before.
        considered: the tiles that regions keep.
    """

    def __init__(self, prepared: PreparedSlide, generation: int, *, considered: Tiles) -> None:
        self.prepared, self.generation = prepared, generation
        self.considered = considered
        self._building = threading.RLock()

    @property
    def plan(self) -> SlidePlan:
        """The slide's plan; its pipeline has the steps on screen."""
        return self.prepared.plan

    @property
    def record(self) -> SlideRecord:
        """The decisions; the blur burden is not measured."""
        return self.prepared.record

    @cached_property
    def burdened(self) -> SlideRecord:
        """The decisions with the blur burden, which takes longer than all others together."""
        record = self.record.copy()
        measure_burden(self.plan, record, self.considered)
        return record

    @cached_property
    def tile_map(self) -> TileMap:
        """The grid as an image."""
        return TileMap.of(self.record, self.plan.tiles)

    @cached_property
    def steps(self) -> tuple[LiveStep, ...]:
        """The steps of the pipeline."""
        pipeline = self.plan.pipeline
        qc = [
            LiveStep("qc", label, use.step, use.filter_threshold, live_options(use.step) | {"filter_threshold"})
            for label, use in zip(numbered(use.step.label for use in pipeline.qc), pipeline.qc, strict=True)
        ]
        filters = [
            LiveStep("filter", label.removeprefix("filter:"), settings, None, live_options(settings))
            for settings, label in labelled_filters(self.plan)
        ]
        last = pipeline.normalizer
        normalizer = [] if last is None else [LiveStep("normalizer", last.label, last, None, frozenset())]
        return (*qc, *filters, *normalizer)

    def filters(self) -> tuple[BuiltStep, ...]:
        """The tile filters, built once."""
        with self._building:
            return self._filters

    @cached_property
    def _filters(self) -> tuple[BuiltStep, ...]:
        return self.prepared.filters()

    @cached_property
    def discard(self) -> Mask | None:
        """What a normalizer that measures the slide leaves out."""
        return discard_mask(self.plan, self.record)


class LiveSlide:
    """An open slide with steps that can be changed.

    Args:
        slide: open, with its mpp.
        pipeline: its steps; no sinks.
        threads: that steps may use at once.
        watch: of whoever waits for its slide QC.

    Attributes:
        slide: to be read by any number of threads.
        state: what is on screen; replaced by changes.
        changing: held while something changes.
        view: the slide at any magnification.
    """

    def __init__(self, slide: Slide, pipeline: Pipeline, *, threads: int, watch: Watch | None = None) -> None:
        self.slide = slide if slide.thread_safe else WatchedSlide(slide, turn=threading.RLock())
        self.changing = threading.RLock()
        self.view = ViewPyramid(self.slide, threads=threads)
        self._threads = threads
        self._known = Known()
        self._fitting = threading.Lock()
        self._fitted: tuple[Settings[Any], Mask | None, BuiltStep] | None = None
        self.state = self._decided(plan_slide(self.slide, pipeline, threads=threads), 0, watch)

    def _decided(self, plan: SlidePlan, generation: int, watch: Watch | None) -> LiveState:
        prepared = PreparedSlide(plan, known=self._known)
        prepared.decide(watch=watch)
        ledger = self._known.results.by_regions(plan).ledger
        return LiveState(prepared, generation, considered=ledger.tiles.take(ledger.candidates()))

    def change(self, *, watch: Watch | None = None, **changes: Any) -> None:  # Any: attributes of `Pipeline`
        """Put other steps, tiles or regions on screen; regions are read again if they are given.

        Raises:
            SlideloomError: something is wrong with them; then nothing has changed.
            Cancelled: by `watch`; then nothing has changed.
        """
        with self.changing:
            before = self.state.plan
            pipeline = evolve(before.pipeline, **changes)
            plan = evolve(before, pipeline=pipeline)
            if any(part in changes for part in WHERE):
                plan = plan_slide(self.slide, pipeline, threads=self._threads)
                if _same_tiles(plan.tiles, before.tiles):  # so that shares of tiles need not be measured again
                    plan = evolve(plan, tiles=before.tiles)
            self.state = self._decided(plan, self.state.generation + 1, watch)

    def reads_pixels(self, step: Settings[Any]) -> bool:
        """True if slide QC with these settings would have to read the slide."""
        with self.changing:
            return not self._known.results.knows(self.state.plan, step)

    def score(self, *, watch: Watch | None = None) -> int:
        """Read the tiles that filters have not seen, decide on them, and return their number.

        Raises:
            SlideloomError: a filter failed. Cancelled: by `watch`; what was read until then is not read again.
        """
        with self.changing, opencv_in_one_thread():
            state = self.state
            unseen = state.prepared.unseen
            if not len(unseen):
                return 0
            plan, done = state.plan, 0
            steps = TileSteps(filters=state.filters())
            engine = TileEngine(plan, steps, threads=self._threads, batch_tiles=plan.pipeline.run.batch_tiles)
            for block in engine.run(state.record.ledger.tiles.take(unseen)):
                self._known.scores.note(plan, scores=block.scores, rejected=block.rejected, unreadable=block.unreadable)
                done += len(block.unreadable) + sum(len(tiles) for tiles in block.kept)
                done += sum(len(which) for _, which in block.rejected)
                if watch is not None:
                    watch.tell(_FILTERS, done / len(unseen))
            self.state = self._decided(plan, state.generation + 1, watch)
            return len(unseen)

    def normalizer(self, state: LiveState) -> BuiltStep | None:
        """The normalizer of a state, fitted to the slide; once, unless what it leaves out has changed."""
        settings = state.plan.pipeline.normalizer
        if settings is None:
            return None
        with self._fitting:
            if self._fitted is not None and self._fitted[0] is settings:
                _, discard, built = self._fitted
                if not built.step.needs_slide or _same_mask(discard, state.discard):
                    return built
            built_now = state.prepared.built_normalizer()
            if built_now is not None:
                self._fitted = (settings, state.discard if built_now.step.needs_slide else None, built_now)
            return built_now

    def normalized(self, rgb: Rgb, *, box: Box) -> Rgb:
        """Pixels that show a level-0 box, with their staining normalized; unchanged where that cannot be.

        Raises:
            PluginError: the normalizer fails.
        """
        state = self.state
        here = [np.array([value]) for value in (0, int(box.x), int(box.y), 0, 0, -1)]
        tiles = Tiles(*here, footprint=Size(int(box.width), int(box.height)))
        batch = TileBatch(rgb=rgb[None], tiles=tiles, slide=state.plan.slide.info.name, labels=(None,))
        with opencv_in_one_thread():
            pixels = _pixels(_normalized(self.normalizer(state), batch))
        return rgb if pixels is None else pixels

    def thumbnail(self, *, max_px: int | None = None, mpp: float | None = None) -> Rgb:
        """`Slide.thumbnail`; from `view` where the slide has no small level and each one would read all of it again."""
        info = self.slide.info
        size = info.thumbnail_size(max_px=max_px, mpp=mpp)
        level = info.level_for(min(info.size.width / size.width, info.size.height / size.height))
        if info.levels[level].size.area <= MAX_READ_PX:
            return self.slide.thumbnail(max_px=max_px, mpp=mpp)
        return self.view.within(info.box, size)

    def tile(self, index: int) -> TileDetail:
        """See `TileDetail`.

        Raises:
            IndexError: there is no such tile.
            SlideError: its pixels cannot be read.
        """
        state = self.state
        plan, ledger = state.plan, state.record.ledger
        if not 0 <= index < len(ledger):
            raise IndexError(f"no tile {index}; {plan.slide.info.name} has tiles 0 to {len(ledger) - 1}")
        tiles = ledger.tiles.take(np.array([index]))
        geometry, box = plan.scene.geometry, tiles.boxes()[0]
        rgb = plan.slide.read_boxes([box], geometry.size, level=geometry.level)[0]
        region = int(tiles.roi[0])
        label = plan.regions[region].label if region >= 0 else None
        batch = TileBatch(rgb=rgb[None], tiles=tiles, slide=plan.slide.info.name, labels=(label,))
        scores = {step: float(values[index]) for step, values in ledger.scores.items()}
        with opencv_in_one_thread():
            scores |= {stage.label: _score(stage, batch) for stage in state.filters()}
            normalized = _normalized(self.normalizer(state), batch)
        word = state.tile_map.words[max(int(ledger.codes[index]), 1)]
        return TileDetail(
            index=index,
            x=int(tiles.x[0]),
            y=int(tiles.y[0]),
            footprint=tiles.footprint,
            loc_x=int(tiles.loc_x[0]),
            loc_y=int(tiles.loc_y[0]),
            grid_x=int(tiles.grid_x[0]),
            grid_y=int(tiles.grid_y[0]),
            label=label,
            status=word,
            rgb=rgb,
            normalized=_pixels(normalized),
            is_normalizable=normalized is None or bool(normalized.ok[0]),
            is_fallback=normalized is not None and normalized.fallback is not None and bool(normalized.fallback[0]),
            scores=scores,
            masks={
                finding.label: sampled(
                    finding.result.mask,
                    extent=finding.result.extent or plan.slide.info.box,
                    box=box,
                    size=geometry.size,
                )
                for finding in state.record.qc
            },
        )


def _score(stage: BuiltStep, batch: TileBatch) -> float:
    with blaming(stage.settings, stage.kind, batch.slide), stage.lock:
        return float(stage.step.check(batch).score[0])


def _normalized(stage: BuiltStep | None, batch: TileBatch) -> Normalized | None:
    if stage is None:
        return None
    with blaming(stage.settings, stage.kind, batch.slide), stage.lock:
        done: Normalized = stage.step.apply(batch)
    return done


def _pixels(normalized: Normalized | None) -> Rgb | None:
    return None if normalized is None or not normalized.ok[0] else np.array(normalized.rgb[0])


def _same_mask(one: Mask | None, other: Mask | None) -> bool:
    return one is other or (one is not None and other is not None and np.array_equal(one, other))


def _same_tiles(one: Tiles, other: Tiles) -> bool:
    columns = [name for name in attrs.fields_dict(Tiles) if name != "footprint"]
    same = [np.array_equal(getattr(one, name), getattr(other, name)) for name in columns]
    return one.footprint == other.footprint and all(same)
