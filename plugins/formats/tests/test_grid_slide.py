"""Slides of stored tiles: windows anywhere, each tile decoded once, damage that costs no more than its tile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from slideloom import Point, Rgb, Size, SlideError, SlideInfo, levels_from_sizes
from slideloom_formats.grid_slide import GridSlide, TileGrid

SIZE, TILE = Size(250, 130), Size(64, 48)
EMPTY, DAMAGED = (1, 1), (3, 0)


def picture() -> Rgb:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    return np.stack([x, y, (x + y) % 256], axis=-1).astype(np.uint8)


class Tiles(GridSlide):
    """The picture in tiles, padded with grey; one tile is background, and one damaged."""

    def __init__(self, background: tuple[int, int, int] = (255, 255, 255), cache_bytes: int = 1 << 20) -> None:
        super().__init__([TileGrid(SIZE, TILE)], cache_bytes=cache_bytes)
        self.info = SlideInfo(
            path=Path("a.x"), name="a", reader="tiles", levels=levels_from_sizes([SIZE]), background=background
        )
        self.asked: list[tuple[int, int]] = []
        self._lock = threading.Lock()

    def decode(self, level: int, column: int, row: int) -> Rgb | None:
        with self._lock:
            self.asked.append((column, row))
        if (column, row) == EMPTY:
            return None
        if (column, row) == DAMAGED:
            raise SlideError("a.x: tile 3 is damaged")
        tile: Rgb = np.full((TILE.height, TILE.width, 3), 77, np.uint8)
        part = picture()[row * TILE.height :, column * TILE.width :][: TILE.height, : TILE.width]
        tile[: part.shape[0], : part.shape[1]] = part
        return tile


def expected(background: tuple[int, int, int], origin: Point, size: Size) -> Rgb:
    canvas = np.full((1000, 1000, 3), background, np.uint8)
    canvas[400 : 400 + SIZE.height, 400 : 400 + SIZE.width] = picture()
    canvas[448:496, 464:528] = background
    return canvas[400 + origin.y :, 400 + origin.x :][: size.height, : size.width]


WINDOWS = [
    (0, 48, 250, 82),
    (-30, -20, 200, 100),
    (63, 47, 2, 2),
    (200, 100, 90, 80),
    (-300, 0, 40, 40),
    (251, 9, 5, 5),
]


@pytest.mark.parametrize("background", [(255, 255, 255), (10, 20, 30)])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_holds_the_picture_and_elsewhere_the_background(
    background: tuple[int, int, int], window: tuple[int, int, int, int]
) -> None:
    origin, size = Point(*window[:2]), Size(*window[2:])

    assert np.array_equal(Tiles(background).read(origin, 0, size), expected(background, origin, size))


def test_a_damaged_tile_costs_the_windows_that_need_it_and_is_decoded_once() -> None:
    slide = Tiles()

    found = slide.read_many([Point(0, 0), Point(180, 0), Point(200, 10), Point(180, 60)], 0, Size(40, 40))

    assert [isinstance(item, SlideError) for item in found] == [False, True, True, False]
    assert str(found[2]) == "a.x: tile 3 is damaged"
    assert slide.asked.count(DAMAGED) == 1


def test_threads_that_need_one_tile_decode_it_once() -> None:
    slide = Tiles()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: slide.read(Point(0, 96), 0, Size(128, 20)), range(40)))

    assert sorted(slide.asked) == [(0, 2), (1, 2)]


def test_no_more_tiles_are_kept_than_memory_was_given_for() -> None:
    slide = Tiles(cache_bytes=4 * 3 * TILE.area)

    slide.read(Point(0, 48), 0, Size(250, 82))

    assert slide._tiles.held_bytes == 4 * 3 * TILE.area
