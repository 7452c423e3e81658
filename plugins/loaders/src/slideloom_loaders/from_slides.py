"""Reads the tiles that a run kept from the slides themselves, so that no tiles need to be stored."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray
from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import ConfigError, OutputError, SlideError
from slideloom.base.geometry import Box, Rgb
from slideloom.base.parsing import parse_json
from slideloom.extraction.companions import CompanionMaker
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.grid import tile_geometry
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import plan_slide
from slideloom.planning.prepared import PreparedSlide
from slideloom.plugins.blaming import blaming
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileBatch, TileGeometry, Tiles
from slideloom.steps.normalizer import Normalizer
from slideloom.steps.store import TileStore
from slideloom_cohort.slides import TiledSlides, named
from slideloom_cohort.sources import Source
from slideloom_cohort.stored import StoredSlide, read_tile_table


class SlideTiles(TileStore):
    """The tiles of one slide that a run kept, with the pixels that it encoded: normalized, but not compressed.

    Each process opens the slide at its first read.

    Args:
        path: the slide's file.
        pipeline: the pipeline of the run.
        index: (n,) int64, numbers of the tiles in the slide's plan.
        locations: (n, 2) int64, the tiles' centres in level-0 pixels.
    """

    def __init__(
        self, path: SlidePlace, pipeline: Pipeline, index: NDArray[np.int64], locations: NDArray[np.int64]
    ) -> None:
        self.path = path
        self._pipeline = pipeline
        self._index = index
        self._locations = locations
        self._forget()

    def _forget(self) -> None:
        self._slide: Slide | None = None
        self._geometry: TileGeometry | None = None
        self._normalizer: Normalizer | None = None
        self._maker: CompanionMaker | None = None
        self._process = 0
        self._lock = threading.RLock()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "_pipeline": self._pipeline, "_index": self._index, "_locations": self._locations}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def __len__(self) -> int:
        return len(self._index)

    @property
    def locations(self) -> NDArray[np.int64]:
        """See `TileStore.locations`."""
        return self._locations

    def read(self, number: int) -> Rgb:
        """See `TileStore.read`."""
        with self._lock:  # one thread at a time reads a slide; work in parallel is done by processes
            slide, geometry = self._opened()
            footprint = geometry.footprint
            x, y = self._locations[number].tolist()
            box = Box(x - footprint.width // 2, y - footprint.height // 2, footprint.width, footprint.height)
            rgb = slide.read_boxes([box], geometry.size, level=geometry.level)[0]
            return self._normalized(rgb, self._tile(number, geometry), slide)

    def read_with(self, number: int, names: Sequence[str]) -> tuple[Rgb, dict[str, NDArray[np.uint8]]]:
        """See `TileStore.read_with`."""
        rgb = self.read(number)
        if not names:
            return rgb, {}
        with self._lock:
            slide, geometry = self._opened()
            if self._maker is None:
                prepared = PreparedSlide(plan_slide(slide, self._pipeline))
                prepared.decide()
                self._maker = CompanionMaker.of(prepared.plan, prepared.record)
            tile = self._tile(number, geometry)
            found, faults = self._maker.contexts(slide, tile, nullcontext())
            if faults[0] is not None:
                raise SlideError(f"{self.path}: {faults[0]}")
            pictures = {name: array[0] for name, array in {**self._maker.masks(tile), **found}.items()}
            for view in self._maker.views:
                name = view.companion.name
                pictures[name] = self._normalized(pictures[name], view.tiles(tile), slide)
        return rgb, {name: pictures[name] for name in names}

    def _opened(self) -> tuple[Slide, TileGeometry]:
        if self._process != os.getpid():  # a handle does not survive a fork
            self._forget()
            self._process = os.getpid()
        if self._slide is None:
            slide = open_slide(self.path, slides=self._pipeline.slides)
            self._geometry = tile_geometry(slide.info, self._pipeline.tiles)
            self._slide = slide
            if self._pipeline.normalizer is not None and self._normalizer is None:
                self._normalizer = _for_slide(self._pipeline, slide)
        if self._geometry is None:
            raise OutputError(f"{self.path}: was closed while it was opened")
        return self._slide, self._geometry

    def _tile(self, number: int, geometry: TileGeometry) -> Tiles:
        """The tile alone."""
        footprint, zero = geometry.footprint, np.zeros(1, np.int64)
        x, y = self._locations[number].tolist()
        corner = np.array([x - footprint.width // 2]), np.array([y - footprint.height // 2])
        return Tiles(self._index[number : number + 1], *corner, zero, zero, zero - 1, footprint=footprint)

    def _normalized(self, rgb: Rgb, tiles: Tiles, slide: Slide) -> Rgb:
        if self._normalizer is None or self._pipeline.normalizer is None:
            return rgb
        batch = TileBatch(rgb=rgb[None], tiles=tiles, slide=slide.info.name, labels=(None,))
        with blaming(self._pipeline.normalizer, "normalizer", slide.info.name):
            done = self._normalizer.apply(batch)
        result: Rgb = done.rgb[0] if done.ok[0] else rgb
        return result

    def close(self) -> None:
        """See `TileStore.close`."""
        with self._lock:
            if self._slide is not None and self._process == os.getpid():
                self._slide.close()
            self._slide = self._maker = None

    def __del__(self) -> None:
        self.close()  # a loader holds many slides and has no place to close them


def _for_slide(pipeline: Pipeline, slide: Slide) -> Normalizer | None:
    """The run's normalizer for a slide. If it measures the slide, the run's QC is repeated first."""
    if pipeline.normalizer is None:
        return None
    with blaming(pipeline.normalizer, "normalizer", slide.info.name):
        step: Normalizer = pipeline.normalizer.build()
    if not step.needs_slide:
        return step
    prepared = PreparedSlide(plan_slide(slide, pipeline))
    prepared.decide()
    return prepared.normalizer()


def slide_tiles(dataset: TiledSlides, stored: Sequence[StoredSlide]) -> list[TileStore]:
    """The tiles of slides that a run has processed.

    Raises:
        ConfigError: a slide's file or tile table is missing, or the run's pipeline cannot be read.
    """
    paths = dataset.slide_paths()
    gone = [item.slide for item in stored if item.slide not in paths]
    if gone:
        raise ConfigError(f"from_slides: no file of slide {named(gone)}; correct the sources in project.toml")
    undecided = [item.slide for item in stored if item.tile_table is None]
    if undecided:
        raise ConfigError(
            f"from_slides: no tile table of slide {named(undecided)}; run extract_tiles "
            "(save_tfrecords=False stores no tile)"
        )
    pipelines: dict[Source, Pipeline] = {}
    stores: list[TileStore] = []
    for item in stored:
        if item.source not in pipelines:
            pipelines[item.source] = run_pipeline_of(item.source, dataset.label)
        stores.append(_store(item, paths[item.slide], pipelines[item.source]))
    return stores


def _store(item: StoredSlide, path: SlidePlace, pipeline: Pipeline) -> SlideTiles:
    if item.tile_table is None:
        raise ConfigError(f"slide {item.slide} has no tile table")
    frame = read_tile_table(item.tile_table)
    # The table has one row per planned tile in the plan's order, so a row's position is the tile's number.
    index = np.flatnonzero((frame["status"] == "written").to_numpy()).astype(np.int64)
    places = frame[["loc_x", "loc_y"]].to_numpy(np.int64)[index]
    return SlideTiles(path, attrs.evolve(pipeline, sinks=()), index, places)


def run_pipeline_of(source: Source, label: str) -> Pipeline:
    """The pipeline that made the tiles of a source.

    Raises:
        ConfigError: there was no run, or a step that it used is no longer installed.
    """
    path = OutputFolder(source.out, label).pipeline
    try:
        table = parse_json(path.read_text(encoding="utf-8"))["pipeline"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: the run's pipeline cannot be read ({error}); extract the tiles again") from error
    return pipeline_from_table(table, where=str(path))
