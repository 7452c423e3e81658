"""What can be seen of a slide that is divided into tiles: facts, decisions, pictures, pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from slideloom.base.geometry import Box, Rgb, Size
from slideloom.drawing.pictures import Picture, outlined, reason_colours
from slideloom.drawing.told import told_looks
from slideloom.extraction.engine import blocks_of
from slideloom.extraction.overview import plan_picture, slide_html
from slideloom.planning.ledger import Ledger
from slideloom.settings.options import Settings
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Regions
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileGeometry, Tiles
from slideloom.steps.slide_qc import QcResult
from slideloom.viewing.frames import named_by_place, tile_frame
from slideloom.viewing.live import LiveSlide, LiveState
from slideloom.viewing.views import LiveStep, MaskLayer, TileDetail, TileMap, TileView, counts_of

if TYPE_CHECKING:
    import pandas as pd

_READ_AT_ONCE = 16


class SlideLooks:
    """The part of `WSI` that only looks. See there for threads."""

    _live: LiveSlide

    @property
    def _state(self) -> LiveState:
        return self._live.state

    @property
    def slide(self) -> Slide:
        """The open slide; any number of threads may read it."""
        return self._live.slide

    @property
    def info(self) -> SlideInfo:
        """Metadata of the slide."""
        return self.slide.info

    @property
    def name(self) -> str:
        """The slide's name."""
        return self.slide.info.name

    @property
    def mpp(self) -> float:
        """Microns per pixel of level 0, mean of x and y."""
        return self.slide.info.mpp.mean if self.slide.info.mpp is not None else float("nan")

    @property
    def dimensions(self) -> tuple[int, int]:
        """Width and height of level 0 in pixels."""
        return self.slide.info.size.width, self.slide.info.size.height

    @property
    def geometry(self) -> TileGeometry:
        """Size, stride and level of the tiles."""
        return self._state.plan.scene.geometry

    @property
    def regions(self) -> Regions:
        """The regions of interest, empty if there are none."""
        return self._state.plan.scene.regions or Regions()

    @property
    def tiles(self) -> Tiles:
        """The tiles that regions and QC keep."""
        return _kept(self._state)

    @property
    def ledger(self) -> Ledger:
        """The account of every planned tile."""
        return self._state.record.ledger

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about regions and QC."""
        return tuple(self._state.burdened.warnings)

    @property
    def blur_burden(self) -> float | None:
        """Share of tissue out of focus, 0-1; None until both a background QC and a blur QC have run."""
        return self._state.burdened.burden

    @property
    def qc_results(self) -> tuple[QcResult, ...]:
        """Results of the QC steps, in the order in which they ran."""
        return tuple(finding.result for finding in self._state.record.qc)

    @property
    def grid(self) -> NDArray[np.bool_]:
        """(columns, rows) bool, True where a tile is kept."""
        state = self._state
        every = state.plan.tiles
        shape = (int(every.grid_x.max(initial=-1)) + 1, int(every.grid_y.max(initial=-1)) + 1)
        grid = np.zeros(shape, bool)
        kept = _kept(state)
        grid[kept.grid_x, kept.grid_y] = True
        return grid

    def __len__(self) -> int:
        return len(self.ledger.candidates())

    def __repr__(self) -> str:
        ledger, mpp = self.ledger, self.slide.info.mpp
        where = f"{mpp.mean:g} um per pixel from {mpp.source}" if mpp is not None else "mpp unknown"
        width, height = self.dimensions
        return (
            f"<WSI {self.name}: {width} x {height}, {where}; "
            f"{len(ledger.candidates())} of {len(ledger)} tiles of {self.geometry.label}>"
        )

    def _repr_html_(self) -> str:
        state = self._state
        return slide_html(state.plan, state.record, title=repr(self), thumbnail=self._live.thumbnail)

    @property
    def generation(self) -> int:
        """How many changes there were: what is on screen is the same as long as this is."""
        return self._state.generation

    @property
    def steps(self) -> tuple[LiveStep, ...]:
        """The steps on screen: slide QC, tile filters, the normalizer."""
        return self._state.steps

    @property
    def normalizer(self) -> Settings[Any] | None:
        """Settings of the normalizer, or None."""
        return self._state.plan.pipeline.normalizer

    @property
    def unscored(self) -> int:
        """Number of kept tiles of which some tile filter has not said anything; `WSI.score` reads them."""
        return len(self._state.prepared.unseen)

    @property
    def counts(self) -> dict[str, int]:
        """Number of tiles by what became of them: "kept", then reasons such as "qc:otsu", and "unreadable"."""
        return counts_of(self.ledger)

    @property
    def tile_map(self) -> TileMap:
        """The grid as an image with one pixel per tile, which says what became of it."""
        return self._state.tile_map

    def layers(self, *, max_px: int = 2048) -> list[MaskLayer]:
        """What each QC step found, as small arrays to draw over a picture of the slide.

        Args:
            max_px: largest width and height of an array.
        """
        record, whole = self._state.record, self.info.box
        told = {reason: look.colour for reason, look in told_looks(record.qc_told).items()}
        colours = {**reason_colours(record.qc_kinds, record.qc_classes), **told}
        return [MaskLayer.of(finding, whole=whole, colours=colours, max_px=max_px) for finding in record.qc]

    def tile(self, index: int) -> TileDetail:
        """One tile by its number in the plan, kept or not: pixels before and after normalization, scores, masks.

        Raises:
            IndexError: there is no such tile.
            SlideError: its pixels cannot be read.
            PluginError: a filter or the normalizer fails.
        """
        return self._live.tile(index)

    def tile_at(self, x: float, y: float) -> int | None:
        """Number of the tile at a place in level-0 pixels; where tiles overlap, the one whose centre is nearest."""
        tiles = self._state.plan.tiles
        width, height = tiles.footprint.width, tiles.footprint.height
        here = np.flatnonzero((tiles.x <= x) & (x < tiles.x + width) & (tiles.y <= y) & (y < tiles.y + height))
        if not len(here):
            return None
        off = np.hypot(tiles.x[here] + width / 2 - x, tiles.y[here] + height / 2 - y)
        return int(tiles.index[here[off.argmin()]])

    def view_at(self, downsample: float, x: float, y: float, size: Size | int) -> Rgb:
        """A picture of part of the slide, for viewers that ask for one after another.

        The first coarse one reads the whole slide at low resolution, once; the others are cut from that. Fine ones are
        read from the file. Pixels may differ by some grey levels from those of `Slide.read_at`.

        Args:
            downsample: level-0 pixels along each side of a pixel of the picture, above 0.
            x, y: of its top left corner, in level-0 pixels; may lie outside the slide.
            size: of the picture, or its width and height.

        Returns:
            (height, width, 3) uint8; the slide's background outside of it.

        Raises:
            SlideError: pixels cannot be read.
        """
        wanted = Size(size, size) if isinstance(size, int) else size
        return self._live.view.at(downsample, x, y, wanted)

    def normalized(self, rgb: Rgb, *, box: Box) -> Rgb:
        """A picture of part of the slide with its staining normalized as if it were a tile.

        A normalizer that measures each tile measures this picture, so neighbouring pictures may differ.

        Args:
            rgb: (h, w, 3) uint8, such as a picture of `view_at`.
            box: what it shows, in level-0 pixels.

        Returns:
            (h, w, 3) uint8; `rgb` itself if there is no normalizer, or it cannot normalize the picture.

        Raises:
            PluginError: the normalizer fails.
        """
        return self._live.normalized(rgb, box=box)

    def tile_dataframe(self, *, every: bool = False) -> pd.DataFrame:
        """One row per kept tile: loc_x, loc_y, grid_x, grid_y, roi_name, roi_desc, label.

        Args:
            every: include dropped tiles, with a column `status` ("kept", or the step that dropped the tile).
        """
        state = self._state
        return tile_frame(state.plan, state.record, every=every)

    def get_tile_dataframe(self) -> pd.DataFrame:
        """`tile_dataframe` with an index of text, "SLIDE-LOC_X-LOC_Y", as scripts of the field know it."""
        return named_by_place(self.tile_dataframe(), slide=self.name)

    def thumb(self, *, max_px: int = 1024, mpp: float | None = None, rois: bool = False) -> Picture:
        """A thumbnail of the slide.

        Args:
            max_px: maximum width and height in pixels, if `mpp` is not given.
            mpp: resolution in microns per pixel.
            rois: draw the outlines of the regions.
        """
        picture = Picture(self._live.thumbnail(max_px=None if mpp is not None else max_px, mpp=mpp))
        return outlined(picture, self.regions, whole=self.info.size) if rois else picture

    def preview(self, *, max_px: int = 2048) -> Picture:
        """A picture of the slide with its regions, masks, kept and dropped tiles."""
        state = self._state
        return plan_picture(state.plan, state.record, max_px=max_px, thumbnail=self._live.thumbnail)

    def __getitem__(self, place: tuple[int, int]) -> Rgb:
        """The tile in a column and row of the grid, even if it was dropped: (tile_px, tile_px, 3) uint8.

        Raises:
            IndexError: the grid has no tile there.
            SlideError: the tile's pixels cannot be read.
        """
        column, row = place
        state = self._state
        every = state.plan.tiles
        found = np.flatnonzero((every.grid_x == column) & (every.grid_y == row))
        if not len(found):
            columns, rows = self.grid.shape
            raise IndexError(f"no tile at column {column}, row {row}; the grid has {columns} columns and {rows} rows")
        return _read(state, every.take(found[:1]))[0]

    def __iter__(self) -> Iterator[TileView]:
        """The kept tiles, in an order that keeps neighbours together."""
        state = self._state
        regions, level = state.plan.regions, state.plan.scene.geometry.level
        for block in blocks_of(_kept(state), downsample=self.info.levels[level].downsample):
            for start in range(0, len(block), _READ_AT_ONCE):
                part = block.take(slice(start, start + _READ_AT_ONCE))
                columns = (part.loc_x, part.loc_y, part.grid_x, part.grid_y, part.roi)
                rows = zip(*(column.tolist() for column in columns), strict=True)
                for rgb, (x, y, column, row, roi) in zip(_read(state, part), rows, strict=True):
                    yield TileView(rgb, x, y, column, row, regions[roi].label if roi >= 0 else None)


def _kept(state: LiveState) -> Tiles:
    ledger = state.record.ledger
    return ledger.tiles.take(ledger.candidates())


def _read(state: LiveState, tiles: Tiles) -> list[Rgb]:
    geometry = state.plan.scene.geometry
    return state.plan.slide.read_boxes(tiles.boxes(), geometry.size, level=geometry.level)
