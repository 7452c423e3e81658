"""Outlines that cross themselves and holes that leave theirs, made valid: shells are united, then holes cut."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely

from slideloom_roi.drafts import Mistake
from slideloom_roi.nesting import polygons_only

# Repair takes time by the number of crossings, some 50 microseconds each, and an outline of n sides can have n^2 / 2.
MAX_CROSSINGS = 250_000
_PAIRS_AT_ONCE = 5_000_000


def repaired(shape: Any) -> Any:
    """The area of a polygon or multipolygon that need not be valid, as a valid one, which may be empty.

    A point is inside a ring if the ring goes around it, once or several times. A polygon is what is inside its
    outline and in none of its holes, a multipolygon what is in any of its parts.

    Raises:
        Mistake: an outline crosses itself more than `MAX_CROSSINGS` times, or GEOS gives up.
    """
    try:
        return polygons_only(shapely.union_all([_polygon(part) for part in shapely.get_parts(shape)]))
    except shapely.errors.GEOSException as error:
        raise Mistake(f"the outline cannot be repaired ({error}); draw it anew") from error


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
        raise Mistake(f"the outline crosses itself more than {MAX_CROSSINGS} times; draw it anew")
    return polygons_only(shapely.make_valid(polygon, method="structure", keep_collapsed=False))


def _crossings(ring: Any) -> int:
    """How many pairs of sides meet, neighbours aside; counted until there are too many."""
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
