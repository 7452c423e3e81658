"""Tiles as columns: their common geometry, and the position of each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, TypeVar

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Box, IntArray, RgbBatch, Size

ScalarT = TypeVar("ScalarT", bound=np.generic)


@frozen
class TileGeometry:
    """What all tiles of a slide have in common.

    Attributes:
        tile_px: width and height of a tile image in pixels.
        tile_um: its width in microns, as requested or as given by the level.
        footprint: size of a tile in level-0 pixels.
        stride: distance between neighbouring tiles in level-0 pixels, along x (width) and y (height).
        level: the level tiles are read from.
        mpp: microns per pixel of a tile image (mean of x and y).
        label: `299px_302um` or `299px_10x`, as existing datasets name their folders.
    """

    tile_px: int
    tile_um: float
    footprint: Size
    stride: Size
    level: int
    mpp: float
    label: str

    @property
    def size(self) -> Size:
        """Width and height of a tile image."""
        return Size(self.tile_px, self.tile_px)


def read_only(array: NDArray[ScalarT]) -> NDArray[ScalarT]:
    """The same memory as a read-only array that cannot be made writable again."""
    return np.asarray(memoryview(array).toreadonly())  # type: ignore[arg-type]  # numpy has the type from 3.12 on


def _whole_numbers(values: Any) -> IntArray:
    """(N,) int64, read-only, because all steps share the tiles.

    Raises:
        ValueError: a value is not a whole number.
    """
    given = np.asarray(values)
    whole = given.astype(np.int64)
    if given.dtype.kind == "f" and not np.array_equal(whole, given):
        wrong = given[whole != given].flat[0]
        raise ValueError(f"numbers and places of tiles are whole numbers, not {wrong}")
    return read_only(whole)


def _pixels(rgb: RgbBatch) -> RgbBatch:
    return read_only(rgb)


def _read_only_each(pictures: Mapping[str, NDArray[np.uint8]]) -> Mapping[str, NDArray[np.uint8]]:
    return {name: read_only(array) for name, array in pictures.items()}


def _column() -> IntArray:
    column: IntArray = field(converter=_whole_numbers, eq=False)
    return column


@frozen
class Tiles:
    """N tiles of a slide, as read-only columns of equal length.

    Attributes:
        index: (N,) number of the tile in the slide's plan.
        x, y: (N,) top left corner in level-0 pixels; a tile may extend beyond the slide.
        grid_x, grid_y: (N,) column and row in the grid (or running number and 0 for cell centroids).
        footprint: level-0 size of each tile.
        roi: (N,) index of the region that accepted the tile, -1 if none.
    """

    index: IntArray = _column()
    x: IntArray = _column()
    y: IntArray = _column()
    grid_x: IntArray = _column()
    grid_y: IntArray = _column()
    roi: IntArray = _column()
    footprint: Size = field(kw_only=True)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"<Tiles: {len(self)}, each {self.footprint.width} x {self.footprint.height} pixels of level 0>"

    @property
    def loc_x(self) -> IntArray:
        """(N,) x of the tile's centre, int(x + footprint / 2), as in existing datasets."""
        centre: IntArray = np.floor(self.x + self.footprint.width / 2).astype(np.int64)
        return centre

    @property
    def loc_y(self) -> IntArray:
        """(N,) y of the tile's centre."""
        centre: IntArray = np.floor(self.y + self.footprint.height / 2).astype(np.int64)
        return centre

    def take(self, which: NDArray[np.integer] | NDArray[np.bool_] | slice) -> Self:
        """The tiles at these positions, or where this mask is True."""
        columns = (self.index, self.x, self.y, self.grid_x, self.grid_y, self.roi)
        return type(self)(*(column[which] for column in columns), footprint=self.footprint)

    def boxes(self) -> list[Box]:
        """The level-0 box of each tile."""
        width, height = self.footprint.width, self.footprint.height
        return [Box(x, y, width, height) for x, y in zip(self.x.tolist(), self.y.tolist(), strict=True)]


@frozen
class TileBatch:
    """Tiles with their pixels.

    Attributes:
        rgb: (B, H, W, 3) uint8, read-only.
        tiles: B tiles.
        slide: name of the slide.
        labels: B region labels, None where a tile has none.
        companions: further pictures of the tiles by name, which only sinks get: (B, h, w) values of a mask or (B, h, w,
            3) sRGB, uint8, read-only.
    """

    rgb: RgbBatch = field(eq=False, converter=_pixels)
    tiles: Tiles
    slide: str
    labels: tuple[str | None, ...]
    companions: Mapping[str, NDArray[np.uint8]] = field(factory=dict, eq=False, repr=False, converter=_read_only_each)

    def __len__(self) -> int:
        return len(self.tiles)
