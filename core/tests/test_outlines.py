"""Masks of outlines against shapely, pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, strategies as st
from shapely.geometry import MultiPolygon, Point, Polygon, box
from slideloom import Box, Outlines

STAR = Polygon([(3.2, 2.1), (30.7, 8.4), (12.3, 11.9), (25.1, 33.3), (4.4, 21.0)], [[(7, 8), (11.5, 9.2), (8, 14.6)]])


def centres_in(shape: Polygon | MultiPolygon, extent: Box) -> np.ndarray:
    """Of pixels that are one level-0 pixel wide."""
    rows, columns = np.mgrid[0 : int(extent.height), 0 : int(extent.width)] + 0.5
    return shapely.contains_xy(shape, columns + extent.x, rows + extent.y)


def filled(shape: Polygon | MultiPolygon, extent: Box) -> np.ndarray:
    return Outlines.of([shape]).mask(extent=extent, shape=(int(extent.height), int(extent.width)))


@pytest.mark.parametrize(("x", "y"), [(0, 0), (5, 7), (-10, -3), (20.25, 12.5), (100, 100)])
def test_a_pixel_is_filled_if_its_centre_is_inside(x: float, y: float) -> None:
    extent = Box(x, y, 40, 24)

    assert np.array_equal(filled(STAR, extent), centres_in(STAR, extent))


@pytest.mark.parametrize("shape", [STAR, STAR.reverse(), shapely.normalize(STAR)])
def test_it_does_not_matter_which_way_rings_run(shape: Polygon) -> None:
    extent = Box(0, 0, 40, 40)

    assert np.array_equal(filled(shape, extent), centres_in(STAR, extent))


def test_parts_and_holes_of_a_multipolygon_are_kept() -> None:
    shape = MultiPolygon([STAR, box(32, 1, 38, 9), Point(33, 25).buffer(5).difference(box(31, 23, 34, 26))])
    extent = Box(0, 0, 40, 40)

    assert np.array_equal(filled(shape, extent), centres_in(shape, extent))


def test_shapes_that_lie_over_each_other_are_united_and_do_not_cancel() -> None:
    mask = Outlines.of([box(0, 0, 6, 4), box(4, 0, 8, 4), box(2, 1, 5, 3)]).mask(extent=Box(0, 0, 10, 4), shape=(4, 10))

    assert mask.tolist() == [[True] * 8 + [False] * 2] * 4


def test_a_hole_of_one_shape_is_filled_by_another() -> None:
    ring = Polygon(box(0, 0, 6, 6).exterior, [box(2, 2, 4, 4).exterior])

    assert Outlines.of([ring, box(2, 2, 3, 4)]).mask(extent=Box(0, 0, 6, 6), shape=(6, 6)).sum() == 36 - 4 + 2


def test_neighbours_share_no_pixel_and_leave_none_out() -> None:
    cut = box(-1, -1, 17.5, 40)  # its edge runs through pixel centres
    extent = Box(0, 0, 40, 40)
    left, right = STAR.intersection(cut), STAR.difference(cut)

    masks = [filled(part, extent) for part in (left, right)]

    assert not (masks[0] & masks[1]).any()
    assert np.array_equal(masks[0] | masks[1], centres_in(STAR, extent))


def test_pixels_may_be_larger_than_level_0_pixels_and_not_square() -> None:
    mask = Outlines.of([box(30, 20, 90, 100)]).mask(extent=Box(0, 0, 120, 120), shape=(60, 40))

    assert mask.sum() == 20 * 40
    assert mask[10:50, 10:30].all()


def test_without_shapes_nothing_is_filled() -> None:
    assert not Outlines.of([]).mask(extent=Box(0, 0, 5, 5), shape=(5, 5)).any()


@given(x=st.floats(-30, 60), y=st.floats(-30, 60), side=st.floats(0.5, 40))
def test_the_edges_near_a_window_fill_it_as_all_edges_do(x: float, y: float, side: float) -> None:
    """Edges to its left count, because what they enclose may reach into it."""
    outlines, window = Outlines.of([STAR, box(-20, 3.5, 70, 4.5)]), Box(x, y, side, side)

    near = outlines.near(window)

    assert len(near.start) <= len(outlines.start)
    assert np.array_equal(near.mask(extent=window, shape=(17, 13)), outlines.mask(extent=window, shape=(17, 13)))
