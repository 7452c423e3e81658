"""Repairs outlines that cross themselves and holes that leave theirs: shells are united, then holes are cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from slideloom_roi.drafts import Mistake
from slideloom_roi.nesting import polygons_only

# Repair takes about 50 microseconds per crossing, and an outline with n sides can have n^2 / 2 crossings.
MAX_CROSSINGS = 250_000
_PAIRS_AT_ONCE = 5_000_000


def repaired(shape: Any) -> Any:
    """A valid polygon or multipolygon, possibly empty, with the area of one that may be invalid.

    A point is inside a ring if the ring goes around it, once or several times. It is in a polygon if it is inside the
    outline and in none of the holes, and in a multipolygon if it is in any of the parts.

    Raises:
        Mistake: an outline crosses itself more than `MAX_CROSSINGS` times, or GEOS gives up.
    """
    try:
        return polygons_only(shapely.union_all([_polygon(part) for part in shapely.get_parts(shape)]))
    except shapely.errors.GEOSException as error:
        raise Mistake(f"the outline cannot be repaired ({error}); draw it again") from error


def _polygon(polygon: Any) -> Any:
    if shapely.is_valid(polygon):
        return polygon
    outline, *holes = [_inside(ring) for ring in shapely.get_rings(polygon)]
    return shapely.difference(outline, shapely.union_all(holes)) if holes else outline


def _inside(ring: Any) -> Any:
    polygon = shapely.polygons(ring)
    if shapely.is_valid(polygon):
        return polygon
    if _crossings(ring) > MAX_CROSSINGS:
        raise Mistake(f"the outline crosses itself more than {MAX_CROSSINGS} times; draw it again")
    return polygons_only(shapely.make_valid(polygon, method="structure", keep_collapsed=False))


def _crossings(ring: Any) -> int:
    """How many pairs of non-adjacent sides meet; counting stops when there are too many."""
    points = shapely.get_coordinates(ring)
    if len(points) ** 2 / 2 < MAX_CROSSINGS:
        return 0
    sides = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1))
    tree = shapely.STRtree(sides)
    step = max(1, _PAIRS_AT_ONCE // len(sides))
    found = 0
    for start in range(0, len(sides), step):
        first, second = tree.query(sides[start : start + step], predicate="intersects")
        found += int(np.count_nonzero(first + start + 1 < second))
        if found > MAX_CROSSINGS:
            break
    return found
