"""The pixels of a model on a slide, and outlines of masks against their pixels."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import Polygon, box
from slideloom import MissingResolution, Size
from slideloom_segmentation.model_grid import ModelGrid
from slideloom_segmentation.polygons import polygons_of, valid_parts
from slideloom_testing import info_of


def centres_in(shape: Polygon, size: Size) -> np.ndarray:
    rows, columns = np.mgrid[0 : size.height, 0 : size.width] + 0.5
    return shapely.contains_xy(shape, columns, rows)


def test_the_grid_covers_the_slide_exactly() -> None:
    grid = ModelGrid.of(info_of(size=Size(2005, 1490), mpp=0.5), 16.0)

    assert grid.size == Size(63, 47)  # 2005 * 0.5 / 16 = 62.66, 1490 * 0.5 / 16 = 46.56
    assert grid.scale_x * 63 == pytest.approx(2005)
    assert grid.scale_y * 47 == pytest.approx(1490)
    assert grid.um2 * 63 * 47 == pytest.approx(2005 * 1490 * 0.25)


def test_a_slide_without_resolution_is_named() -> None:
    with pytest.raises(MissingResolution, match=r"slide\.svs"):
        ModelGrid.of(info_of(mpp=None), 16.0)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 14), st.integers(1, 14), st.floats(0.1, 0.9), st.integers(0, 2**32 - 1))
def test_outlines_hold_exactly_the_pixels_of_the_mask(height: int, width: int, share: float, seed: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share

    polygons = polygons_of(mask, min_px=0)

    again = np.zeros(mask.shape, bool)
    for polygon in polygons:
        parts = valid_parts(polygon, min_area=0)
        assert sum(part.area for part in parts) == pytest.approx(polygon.area)
        for part in parts:
            filled = centres_in(part, Size(width, height))
            assert not (again & filled).any()
            again |= filled
    assert np.array_equal(again, mask)
    assert sum(polygon.area for polygon in polygons) == mask.sum()


def test_a_ring_has_a_hole_and_an_island_is_its_own_polygon() -> None:
    mask = np.zeros((12, 14), bool)
    mask[1:10, 2:11] = True
    mask[3:8, 4:9] = False
    mask[5, 6] = True

    ring, island = polygons_of(mask, min_px=0)

    assert ring.equals(Polygon(box(2, 1, 11, 10).exterior, [box(4, 3, 9, 8).exterior]))
    assert island.equals(box(6, 5, 7, 6))
    assert len(ring.exterior.coords) == 5  # corners only


def test_areas_that_touch_at_a_corner_stay_apart() -> None:
    mask = np.array([[1, 0], [0, 1]], bool)

    assert [polygon.bounds for polygon in polygons_of(mask, min_px=0)] == [(0, 0, 1, 1), (1, 1, 2, 2)]


def test_small_areas_are_left_out_and_small_holes_are_filled() -> None:
    mask = np.zeros((20, 20), bool)
    mask[1:11, 1:11] = True
    mask[3:5, 3:5] = False  # 4 pixels
    mask[6:9, 6:9] = False  # 9 pixels
    mask[15:17, 15:17] = True

    (polygon,) = polygons_of(mask, min_px=5)

    assert polygon.area == 100 - 9
    assert polygons_of(mask, min_px=1000) == []


def test_an_outline_that_crosses_itself_is_repaired_into_its_parts() -> None:
    bow = Polygon([(0, 0), (10, 10), (10, 0), (0, 6)])

    parts = valid_parts(bow, min_area=0)

    assert all(part.is_valid for part in parts)
    assert len(parts) == 2
    assert parts[0].area > parts[1].area
