"""Rasters of regions against shapely, and outlines of masks against their pixels."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import MultiPolygon, Point as ShapelyPoint, Polygon, box
from slideloom import MissingResolution, Size
from slideloom_segmentation.polygons import polygons_of, valid_parts
from slideloom_segmentation.raster import Grid, edges_of, fill
from slideloom_testing import info_of

STAR = Polygon([(3.2, 2.1), (30.7, 8.4), (12.3, 11.9), (25.1, 33.3), (4.4, 21.0)], [[(7, 8), (11.5, 9.2), (8, 14.6)]])


def centres_in(shape: Polygon | MultiPolygon, size: Size, *, x: float = 0, y: float = 0) -> np.ndarray:
    rows, columns = np.mgrid[0 : size.height, 0 : size.width] + 0.5
    return shapely.contains_xy(shape, columns + x, rows + y)


@pytest.mark.parametrize(("x", "y"), [(0, 0), (5, 7), (-10, -3), (20.25, 12.5), (100, 100)])
def test_a_pixel_is_filled_if_its_centre_is_inside(x: float, y: float) -> None:
    size = Size(40, 24)
    edges = edges_of(STAR, scale_x=1, scale_y=1)

    assert np.array_equal(fill(edges, x=x, y=y, size=size), centres_in(STAR, size, x=x, y=y))


def test_parts_and_holes_of_a_multipolygon_are_kept() -> None:
    shape = MultiPolygon([STAR, box(32, 1, 38, 9), ShapelyPoint(33, 25).buffer(5).difference(box(31, 23, 34, 26))])
    size = Size(40, 40)

    assert np.array_equal(fill(edges_of(shape, scale_x=1, scale_y=1), x=0, y=0, size=size), centres_in(shape, size))


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    cut = box(-1, -1, 17.5, 40)  # its edge runs through pixel centres
    size = Size(40, 40)
    left, right = STAR.intersection(cut), STAR.difference(cut)

    masks = [fill(edges_of(part, scale_x=1, scale_y=1), x=0, y=0, size=size) for part in (left, right)]

    assert not (masks[0] & masks[1]).any()
    assert np.array_equal(masks[0] | masks[1], centres_in(STAR, size))


def test_scales_divide_the_outline() -> None:
    edges = edges_of(box(30, 20, 90, 100), scale_x=3, scale_y=2)

    mask = fill(edges, x=0, y=0, size=Size(40, 60))

    assert mask.sum() == 20 * 40
    assert mask[10:50, 10:30].all()


def test_the_grid_covers_the_slide_exactly() -> None:
    grid = Grid.of(info_of(size=Size(2005, 1490), mpp=0.5), 16.0)

    assert grid.size == Size(63, 47)  # 2005 * 0.5 / 16 = 62.66, 1490 * 0.5 / 16 = 46.56
    assert grid.scale_x * 63 == pytest.approx(2005)
    assert grid.scale_y * 47 == pytest.approx(1490)
    assert grid.um2 * 63 * 47 == pytest.approx(2005 * 1490 * 0.25)


def test_a_slide_without_resolution_is_named() -> None:
    with pytest.raises(MissingResolution, match=r"slide\.svs"):
        Grid.of(info_of(mpp=None), 16.0)


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
