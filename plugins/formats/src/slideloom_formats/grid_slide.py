"""Slides whose levels are grids of stored tiles: each tile that a read needs is decoded once."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import partial
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import (
    Box,
    KeptImages,
    LostSlide,
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
        at_once: tiles that one read decodes at the same time, for a slide whose tiles take long to come; with 1, each
            in the thread that reads.
    """

    exact_parts = True

    def __init__(
        self,
        grids: Sequence[TileGrid],
        *,
        cache_bytes: int,
        resampler: NativeResampler | None = None,
        at_once: int = 1,
    ) -> None:
        self._grids = tuple(grids)
        self._resampler = resampler
        self._at_once = at_once
        self._pool: ThreadPoolExecutor | None = None
        if at_once > 1:
            self._pool = ThreadPoolExecutor(at_once, thread_name_prefix="slideloom-tiles")
            self.when_closed(partial(self._pool.shutdown, wait=False, cancel_futures=True))
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
            LostSlide: no more of the slide can be read.
        """

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        (found,) = self.read_each([origin], level, size)
        if isinstance(found, SlideError):
            raise found
        return np.array(found.image())

    def read_many(self, origins: Sequence[Point], level: int, size: Size) -> list[Rgb | SlideError]:
        """See `Slide.read_many`. A slide of which no more can be read is an error of all of them."""
        found = self.read_each(origins, level, size)
        return [item if isinstance(item, SlideError) else np.array(item.image()) for item in found]

    def read_each(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Mosaic | SlideError]:
        """See `Slide.read_each`. Pixels stay in the decoded tiles."""
        for group, tile_at in self._groups(origins, level, size):
            for origin in group:
                try:
                    yield self._window(origin, level, size, tile_at)
                except LostSlide:
                    raise
                except SlideError as error:
                    yield error

    def _groups(
        self, origins: Sequence[Point], level: int, size: Size
    ) -> Iterator[tuple[Sequence[Point], Callable[[int, int], Rgb | None]]]:
        """Windows in groups that need enough tiles to decode several at once, and what gives each tile of a group."""
        if self._pool is None:
            yield origins, lambda column, row: self._tile(level, column, row)
            return
        group: list[Point] = []
        places: dict[tuple[int, int], None] = {}
        for number, origin in enumerate(origins, 1):
            group.append(origin)
            places.update(dict.fromkeys(self._places(origin, level, size)))
            if len(places) < self._at_once and number < len(origins):
                continue
            found = self._decoded(level, list(places))
            yield group, partial(_given, found)
            group, places = [], {}

    def _decoded(self, level: int, places: Sequence[tuple[int, int]]) -> dict[tuple[int, int], Rgb | SlideError | None]:
        """Tiles, or what is wrong with each, several of them decoded at once."""

        def one(place: tuple[int, int]) -> Rgb | SlideError | None:
            try:
                return self._tile(level, *place)
            except LostSlide:
                raise
            except SlideError as error:
                return error

        if self._pool is None or len(places) < 2:
            return {place: one(place) for place in places}
        # Each with the context of the run, which says how messages name options.
        tasks = [self._pool.submit(copy_context().run, one, place) for place in places]
        try:
            return {place: task.result() for place, task in zip(places, tasks, strict=True)}
        finally:
            for task in tasks:
                task.cancel()

    def _places(self, origin: Point, level: int, size: Size) -> list[tuple[int, int]]:
        """Column and row of the tiles that a window needs."""
        grid = self._grids[level]
        if origin.x >= grid.size.width or origin.y >= grid.size.height:
            return []
        width, height = grid.tile.width, grid.tile.height
        columns = range(max(0, origin.x // width), min(grid.columns, (origin.x + size.width - 1) // width + 1))
        rows = range(max(0, origin.y // height), min(grid.rows, (origin.y + size.height - 1) // height + 1))
        return [(column, row) for row in rows for column in columns]

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

    def _window(self, origin: Point, level: int, size: Size, tile_at: Callable[[int, int], Rgb | None]) -> Mosaic:
        grid = self._grids[level]
        width, height = grid.tile.width, grid.tile.height
        left, top = origin.x // width, origin.y // height
        columns = range(left, (origin.x + size.width - 1) // width + 1)
        rows = range(top, (origin.y + size.height - 1) // height + 1)
        # A window that begins in the padding of the last tiles needs no tile.
        is_outside = origin.x >= grid.size.width or origin.y >= grid.size.height
        tiles = [
            tile_at(column, row) if not is_outside and 0 <= row < grid.rows and 0 <= column < grid.columns else None
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
            except LostSlide:
                raise
            except SlideError as error:
                self._errors[key] = str(error)
                raise
            if tile is not None:
                self._tiles.keep(key, tile)
            return tile


def _given(found: Mapping[tuple[int, int], Rgb | SlideError | None], column: int, row: int) -> Rgb | None:
    tile = found[column, row]
    if isinstance(tile, SlideError):
        raise SlideError(str(tile))
    return tile


def in_eight_bits(samples: NDArray[Any], *, low: int, high: int) -> NDArray[np.uint8]:  # Any: whole numbers
    """(value - low) * 255 / (high - low), rounded to nearest, within 0 to 255."""
    span = high - low
    shifted = np.clip(samples.astype(np.int64) - low, 0, span)
    return ((shifted * 510 + span) // (2 * span)).astype(np.uint8)
