"""Determines which rings are holes of which others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import shapely
from attrs import frozen
from numpy.typing import NDArray

from slideloom_roi.drafts import Shapes

# Containers queried at once; bounds the number of pairs in memory if many rings are within many others.
_ASKED = 256


@frozen
class Nested:
    """A ring that is not a hole, with its holes cut out.

    Attributes:
        index: of the ring.
        shape: a valid polygon or multipolygon.
        holes: indices of the rings cut out.
    """

    index: int
    shape: Any
    holes: tuple[int, ...]


def nest_rings(rings: Sequence[Any], labels: Sequence[str | None]) -> list[Nested]:
    """The outer rings, in the order given, with the rings within them cut out as holes.

    Only rings of the same label cut each other. The container of a ring is the smallest ring that contains it. A ring
    without a container is an outer ring, a ring within an outer ring is a hole, and a ring within a hole is an outer
    ring again. So if rings do not cross, depths alternate. Of identical rings, only the first is used.

    Args:
        rings: N valid polygons (or multipolygons), not empty.
        labels: N labels.
    """
    shapes = np.empty(len(rings), dtype=object)
    shapes[:] = rings
    if not len(shapes):
        return []
    parent, is_double = _containers(shapes, labels)
    is_hole = np.zeros(len(shapes), bool)
    holes: dict[int, list[int]] = {}
    for i in _by_area(shapes).tolist():  # a container comes before what it contains
        if parent[i] >= 0 and not is_double[i] and not is_hole[parent[i]]:
            is_hole[i] = True
            holes.setdefault(int(parent[i]), []).append(i)
    found = []
    for i in np.flatnonzero(~is_hole & ~is_double).tolist():
        cut = tuple(sorted(holes.get(i, ())))
        shape = _cut_out(shapes[i], shapes[list(cut)]) if cut else shapes[i]
        if not shape.is_empty:
            found.append(Nested(i, shape, cut))
    return found


def _by_area(shapes: Shapes) -> NDArray[np.int64]:
    """Indices from the largest to the smallest; equals in the order given."""
    order: NDArray[np.int64] = np.argsort(-shapely.area(shapes), kind="stable")
    return order


def _containers(shapes: Shapes, labels: Sequence[str | None]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(N,) index of the smallest shape of the same label around each, or -1; (N,) True for a repeated shape."""
    codes: dict[str | None, int] = {}
    label = np.array([codes.setdefault(text, len(codes)) for text in labels])
    order = _by_area(shapes)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    parent = np.full(len(shapes), -1, np.int64)
    is_double = np.zeros(len(shapes), bool)
    tree, bounds = shapely.STRtree(shapes), shapely.bounds(shapes)
    for start in range(0, len(order), _ASKED):
        asked = order[start : start + _ASKED]
        outer, inner = tree.query(shapes[asked])
        outer = asked[outer]
        fits = (rank[outer] < rank[inner]) & (label[outer] == label[inner])
        fits &= (bounds[outer, :2] <= bounds[inner, :2]).all(axis=1) & (bounds[outer, 2:] >= bounds[inner, 2:]).all(
            axis=1
        )
        outer, inner = outer[fits], inner[fits]
        shapely.prepare(shapes[outer])
        fits = shapely.contains(shapes[outer], shapes[inner])
        shapely.destroy_prepared(shapes[outer])
        outer, inner = outer[fits], inner[fits]
        is_same = shapely.equals(shapes[outer], shapes[inner])
        is_double[inner[is_same]] = True
        # Containers are ordered from large to small, and the last assignment wins. A repeated shape contains nothing.
        lasting = ~is_same & ~is_double[outer]
        rows = np.flatnonzero(lasting)[np.argsort(rank[outer[lasting]], kind="stable")]
        parent[inner[rows]] = outer[rows]
    return parent, is_double


def _cut_out(outer: Any, holes: Shapes) -> Any:
    are_rings = shapely.get_type_id(outer) == 3 and (shapely.get_type_id(holes) == 3).all()
    if are_rings and not shapely.get_num_interior_rings(np.append(holes, outer)).any():
        # Unlike a difference, this keeps every vertex where it was.
        shape = shapely.polygons(shapely.get_exterior_ring(outer), shapely.get_exterior_ring(holes))
        if shapely.is_valid(shape):
            return shape
    return polygons_only(shapely.difference(outer, shapely.union_all(holes)))


def polygons_only(shape: Any) -> Any:
    """The polygons in a geometry of any kind, as one valid polygon or multipolygon, which may be empty."""
    parts = shapely.get_parts(shapely.get_parts(np.array([shape], dtype=object)))
    parts = shapely.get_parts(parts)
    parts = parts[(shapely.get_type_id(parts) == 3) & (shapely.area(parts) > 0)]
    if len(parts) == 1:
        return parts[0]
    together = shapely.multipolygons(parts)
    return together if shapely.is_valid(together) else polygons_only(shapely.union_all(parts))
