"""Which rings are holes, against a slow count by hand."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import Polygon, box
from slideloom_roi.nesting import nest_rings


def square(x: float, y: float, side: float) -> Polygon:
    return box(x, y, x + side, y + side)


def test_depths_alternate_between_outline_and_hole() -> None:
    rings = [square(i * 10, i * 10, 100 - i * 20) for i in range(5)]

    found = nest_rings(rings, [None] * 5)

    assert [(one.index, one.holes) for one in found] == [(0, (1,)), (2, (3,)), (4, ())]
    assert [one.shape.area for one in found] == [100**2 - 80**2, 60**2 - 40**2, 20**2]


def test_labels_do_not_cut_each_other() -> None:
    rings = [square(0, 0, 100), square(10, 10, 20), square(50, 50, 20)]

    found = nest_rings(rings, ["a", "b", "a"])

    assert [(one.index, one.holes) for one in found] == [(0, (2,)), (1, ())]


def test_file_order_stays_whatever_the_sizes() -> None:
    rings = [square(10, 10, 5), square(0, 0, 100), square(200, 0, 500), square(40, 40, 10)]

    assert [(one.index, one.holes) for one in nest_rings(rings, [None] * 4)] == [(1, (0, 3)), (2, ())]


def test_a_repeated_ring_is_left_out_and_is_no_hole() -> None:
    rings = [square(0, 0, 100), square(10, 10, 20), square(0, 0, 100), square(10, 10, 20)]

    found = nest_rings(rings, [None] * 4)

    assert [(one.index, one.holes) for one in found] == [(0, (1,))]


def test_rings_that_only_cross_stay_apart() -> None:
    found = nest_rings([square(0, 0, 100), square(50, 50, 100)], [None, None])

    assert [(one.index, one.holes) for one in found] == [(0, ()), (1, ())]


def test_a_hole_along_the_edge_leaves_a_valid_shape() -> None:
    (one,) = nest_rings([square(0, 0, 100), box(0, 0, 40, 100)], [None, None])

    assert one.shape.equals(box(40, 0, 100, 100))


def test_crossing_holes_are_cut_out_together() -> None:
    (one,) = nest_rings([square(0, 0, 100), square(10, 10, 40), square(30, 30, 40)], [None] * 3)

    assert one.holes == (1, 2)
    assert one.shape.is_valid
    assert one.shape.area == 100**2 - (40**2 + 40**2 - 20**2)


def test_nothing_nests_in_nothing() -> None:
    assert nest_rings([], []) == []


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_each_ring_has_the_smallest_ring_around_it_as_container(seed) -> None:
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 30))
    rings = [square(*random.integers(0, 60, 2), int(random.integers(1, 60))) for _ in range(count)]
    labels = random.choice([None, "a"], count).tolist()

    found = nest_rings(rings, labels)

    unique = [
        i for i in range(count) if not any(labels[i] == labels[j] and rings[i].equals(rings[j]) for j in range(i))
    ]

    def is_hole(i: int) -> bool:
        around = [j for j in unique if j != i and labels[j] == labels[i] and rings[j].contains(rings[i])]
        # of two rings of one area around a third, the later in order counts
        return bool(around) and not is_hole(min(around, key=lambda j: (rings[j].area, -j)))

    outer = [i for i in unique if not is_hole(i)]
    assert [one.index for one in found] == outer
    assert all(shapely.is_valid(one.shape) for one in found)
    assert sum(len(one.holes) for one in found) == len(unique) - len(outer)
