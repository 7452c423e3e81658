"""Slides whose levels are grids of stored tiles: each tile that a read needs is decoded once."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import (
    Box,
    KeptImages,
    Mosaic,
    NativeResampler,
    Point,
    Rgb,
    Size,
    Slide,
    SlideError,
    opencv_in_one_thread,
)

_WHITE = (255, 255, 255)
_LOCKS = 64  # so that threads rarely wait for each other's tiles


@frozen
class TileGrid:
    """A level that is stored in tiles of one size, from its top left corner on.

    Attributes:
        size: of the level in pixels.
        tile: width and height of a tile; those at the far sides may reach beyond the level.
    """

    size: Size
    tile: Size

    @property
    def columns(self) -> int:
        """Tiles in a row."""
        return -(-self.size.width // self.tile.width)

    @property
    def rows(self) -> int:
        """Tiles in a column."""
        return -(-self.size.height // self.tile.height)


class GridSlide(Slide):
    """A slide of stored tiles. A subclass sets `info`, and decodes one tile at a time.

    Each tile is decoded by the thread that needs it first, and kept for the next reads. A tile that cannot be decoded
    costs only the reads that need it.

    Args:
        grids: of each level of `info`.
        cache_bytes: memory for decoded tiles.
        resampler: at native speed; by default the core's own.
    """

    exact_parts = True

    def __init__(
        self, grids: Sequence[TileGrid], *, cache_bytes: int, resampler: NativeResampler | None = None
    ) -> None:
        self._grids = tuple(grids)
        self._resampler = resampler
        # A tile that takes more than half of the memory would never be kept.
        largest = max((3 * grid.tile.area for grid in grids), default=0)
        self._tiles = KeptImages(max(cache_bytes, 2 * largest))
        self._errors: dict[tuple[int, int, int], str] = {}
        self._locks = [threading.Lock() for _ in range(_LOCKS)]

    @abstractmethod
    def decode(self, level: int, column: int, row: int) -> Rgb | None:
        """One stored tile. Called from several threads at once, for different tiles.

        Returns:
            (tile height, tile width, 3) uint8, contiguous, not written to afterwards; None if it is background.

        Raises:
            SlideError: it is damaged. It is not asked for again.
        """

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        return np.array(self._window(origin, level, size).image())

    def read_each(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Mosaic | SlideError]:
        """See `Slide.read_each`. Pixels stay in the decoded tiles."""
        for origin in origins:
            try:
                yield self._window(origin, level, size)
            except SlideError as error:
                yield error

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        if self._resampler is None:
            return super().resample(rgb, box=box, size=size)
        with opencv_in_one_thread():
            return self._resampler(rgb, box=box, size=size)

    def resample_into(self, source: Rgb | Mosaic, *, box: Box, out: Rgb) -> None:
        """See `Slide.resample_into`."""
        if self._resampler is None:
            super().resample_into(source, box=box, out=out)
            return
        with opencv_in_one_thread():
            self._resampler.into(source, box=box, out=out)

    def _window(self, origin: Point, level: int, size: Size) -> Mosaic:
        grid = self._grids[level]
        width, height = grid.tile.width, grid.tile.height
        left, top = origin.x // width, origin.y // height
        columns = range(left, (origin.x + size.width - 1) // width + 1)
        rows = range(top, (origin.y + size.height - 1) // height + 1)
        # A window that begins in the padding of the last tiles needs no tile.
        is_outside = origin.x >= grid.size.width or origin.y >= grid.size.height
        tiles = [
            self._tile(level, column, row)
            if not is_outside and 0 <= row < grid.rows and 0 <= column < grid.columns
            else None
            for row in rows
            for column in columns
        ]
        mosaic = Mosaic(
            tiles=tiles,
            columns=len(columns),
            tile=grid.tile,
            left=origin.x - left * width,
            top=origin.y - top * height,
            window=size,
            end=Size(grid.size.width - left * width, grid.size.height - top * height),
        )
        return mosaic if self.info.background == _WHITE else self._on_background(mosaic)

    def _on_background(self, mosaic: Mosaic) -> Mosaic:
        """The same window, in one image, for a background that is not white."""
        rgb = np.array(mosaic.image())
        width, height = mosaic.tile.width, mosaic.tile.height
        for number, tile in enumerate(mosaic.tiles):
            row, column = divmod(number, mosaic.columns)
            if tile is None:
                y, x = row * height - mosaic.top, column * width - mosaic.left
                rgb[max(0, y) : max(0, y + height), max(0, x) : max(0, x + width)] = self.info.background
        rgb[max(0, mosaic.end.height - mosaic.top) :] = self.info.background
        rgb[:, max(0, mosaic.end.width - mosaic.left) :] = self.info.background
        return Mosaic.of(rgb)

    def _tile(self, level: int, column: int, row: int) -> Rgb | None:
        key = (level, column, row)
        kept = self._tiles.get(key)
        if kept is not None:
            return kept
        with self._locks[hash(key) % _LOCKS]:
            kept = self._tiles.get(key)  # another thread may have decoded it meanwhile
            if kept is not None:
                return kept
            if key in self._errors:
                raise SlideError(self._errors[key])
            try:
                tile = self.decode(level, column, row)
            except SlideError as error:
                self._errors[key] = str(error)
                raise
            if tile is not None:
                self._tiles.keep(key, tile)
            return tile


def in_eight_bits(samples: NDArray[Any], *, low: int, high: int) -> NDArray[np.uint8]:  # Any: whole numbers
    """(value - low) * 255 / (high - low), rounded to nearest, within 0 to 255."""
    span = high - low
    shifted = np.clip(samples.astype(np.int64) - low, 0, span)
    return ((shifted * 510 + span) // (2 * span)).astype(np.uint8)
