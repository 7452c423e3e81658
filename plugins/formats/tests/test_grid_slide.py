"""Slides of stored tiles: windows anywhere, each tile decoded once, damage that costs no more than its tile."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from slideloom import LostSlide, Point, Rgb, Size, SlideError, SlideInfo, levels_from_sizes
from slideloom_formats.grid_slide import GridSlide, TileGrid

SIZE, TILE = Size(250, 130), Size(64, 48)
EMPTY, DAMAGED = (1, 1), (3, 0)


def picture() -> Rgb:
    y, x = np.mgrid[: SIZE.height, : SIZE.width]
    return np.stack([x, y, (x + y) % 256], axis=-1).astype(np.uint8)


class Tiles(GridSlide):
    """The picture in tiles, padded with grey; one tile is background, and one damaged."""

    def __init__(
        self, background: tuple[int, int, int] = (255, 255, 255), cache_bytes: int = 1 << 20, at_once: int = 1
    ) -> None:
        super().__init__([TileGrid(SIZE, TILE)], cache_bytes=cache_bytes, at_once=at_once)
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


@pytest.mark.parametrize("at_once", [1, 5])
@pytest.mark.parametrize("background", [(255, 255, 255), (10, 20, 30)])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_holds_the_picture_and_elsewhere_the_background(
    background: tuple[int, int, int], window: tuple[int, int, int, int], at_once: int
) -> None:
    origin, size = Point(*window[:2]), Size(*window[2:])

    with Tiles(background, at_once=at_once) as slide:
        assert np.array_equal(slide.read(origin, 0, size), expected(background, origin, size))


@pytest.mark.parametrize("at_once", [1, 5])
def test_a_damaged_tile_costs_the_windows_that_need_it_and_is_decoded_once(at_once: int) -> None:
    slide = Tiles(at_once=at_once)

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


def test_tiles_that_take_long_to_come_are_decoded_at_the_same_time() -> None:
    together = threading.Barrier(4)

    class Slow(Tiles):
        def decode(self, level: int, column: int, row: int) -> Rgb | None:
            together.wait()  # none is decoded before all four are asked for
            return super().decode(level, column, row)

    with Slow(at_once=4, cache_bytes=0) as slide:
        found = list(slide.read_each([Point(0, 96), Point(64, 96), Point(128, 96), Point(192, 96)], 0, Size(20, 20)))

    assert sorted(slide.asked) == [(0, 2), (1, 2), (2, 2), (3, 2)]
    shown = [item.image() for item in found if not isinstance(item, SlideError)]
    assert all(np.array_equal(shown[n], picture()[96:116, 64 * n : 64 * n + 20]) for n in range(4))


@pytest.mark.parametrize("at_once", [1, 5])
def test_a_slide_that_is_lost_ends_a_read_and_is_no_damaged_tile(at_once: int) -> None:
    class Lost(Tiles):
        def decode(self, level: int, column: int, row: int) -> Rgb | None:
            raise LostSlide("a.x: was replaced while it was read")

    with Lost(at_once=at_once) as slide, pytest.raises(LostSlide, match="was replaced"):
        slide.read_many([Point(0, 96), Point(64, 96)], 0, Size(20, 20))
