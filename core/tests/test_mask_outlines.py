"""Outlines of masks: area, holes, corners that touch, and their place on the slide."""

from __future__ import annotations

import numpy as np
import pytest
from shapely import union_all
from shapely.geometry import box
from slideloom import Box
from slideloom.drawing.mask_outlines import mask_polygons

PIXELS = Box(0, 0, 1, 1)


def of(*rows: str) -> np.ndarray:
    return np.array([[letter == "#" for letter in row] for row in rows])


def whole(mask: np.ndarray) -> Box:
    return Box(0, 0, mask.shape[1], mask.shape[0])


def test_an_area_keeps_its_holes() -> None:
    mask = of("....", ".###", ".#.#", ".###")
    (found,) = mask_polygons(mask, extent=whole(mask))

    assert found.equals(box(1, 1, 4, 4).difference(box(2, 2, 3, 3)))


def test_pixels_that_touch_at_a_corner_are_areas_of_their_own() -> None:
    mask = of("#.#", ".#.", "#.#")
    found = mask_polygons(mask, extent=whole(mask))

    assert [one.area for one in found] == [1] * 5
    assert union_all(found).area == 5


@pytest.mark.parametrize("seed", range(20))
def test_any_mask_is_covered_exactly_by_valid_polygons(seed: int) -> None:
    mask = np.random.default_rng(seed).random((23, 31)) < 0.2 + 0.03 * seed
    found = mask_polygons(mask, extent=whole(mask))
    pixels = union_all([box(x, y, x + 1, y + 1) for y, x in np.argwhere(mask).tolist()])

    assert all(one.is_valid for one in found)
    assert sum(one.area for one in found) == pytest.approx(mask.sum())
    assert union_all(found).symmetric_difference(pixels).area == pytest.approx(0, abs=1e-9)


def test_outlines_lie_where_the_mask_does() -> None:
    (found,) = mask_polygons(of(".#"), extent=Box(100, 50, 20, 40))

    assert found.bounds == (110, 50, 120, 90)


def test_an_empty_mask_has_no_outline() -> None:
    assert mask_polygons(of("..", ".."), extent=PIXELS) == []


def test_a_large_mask_is_sampled_and_stays_within_its_extent() -> None:
    mask = np.ones((10, 5001), np.bool_)
    (found,) = mask_polygons(mask, extent=Box(0, 0, 50010, 100))

    assert found.bounds == (0, 0, 50010, 100)


def test_a_large_mask_is_followed_pixel_by_pixel_if_wanted() -> None:
    mask = np.zeros((3, 5001), np.bool_)
    mask[1, ::2] = True

    assert len(mask_polygons(mask, extent=Box(0, 0, 5001, 3), most_px=None)) == 2501
