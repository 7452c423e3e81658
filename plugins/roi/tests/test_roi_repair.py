"""Outlines that cross themselves and holes that leave theirs: shells are united, then holes cut."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon, box
from slideloom import RoiError, Size
from slideloom_roi import GeoJson, QuPathCsv
from slideloom_roi.repairing import MAX_CROSSINGS, repaired
from slideloom_testing import info_of


def ring(x: float, y: float, width: float, height: float) -> list[tuple[float, float]]:
    return [(x, y), (x + width, y), (x + width, y + height), (x, y + height)]


SQUARE = ring(100, 100, 600, 600)

# The area is that of the definition: what is in any part, and a part is its outline without its holes.
CASES: dict[str, tuple[Any, float]] = {
    "parts overlap": (MultiPolygon([box(100, 100, 300, 300), box(200, 200, 400, 400)]), 70_000),
    "a part within a part": (MultiPolygon([box(100, 100, 700, 700), box(300, 300, 500, 500)]), 360_000),
    "a part in the hole of another stays": (
        MultiPolygon([Polygon(SQUARE, [ring(200, 200, 400, 400)]), box(300, 300, 650, 400)]),
        360_000 - 160_000 + 300 * 100,
    ),
    "a hole touches the outline along an edge": (Polygon(SQUARE, [ring(100, 300, 200, 200)]), 320_000),
    "a hole sticks out of the outline": (Polygon(SQUARE, [ring(0, 300, 300, 200)]), 320_000),
    "a hole lies beside the outline": (Polygon(ring(100, 100, 300, 300), [ring(600, 600, 200, 200)]), 90_000),
    "a hole is the outline": (Polygon(SQUARE, [SQUARE]), 0),
    "two holes overlap": (Polygon(SQUARE, [ring(200, 200, 200, 200), ring(300, 300, 200, 200)]), 290_000),
    "two holes share an edge": (Polygon(SQUARE, [ring(200, 200, 200, 200), ring(400, 200, 200, 200)]), 280_000),
    "a hole crosses itself": (Polygon(SQUARE, [[(200, 200), (400, 400), (400, 200), (200, 400)]]), 340_000),
    "a bow has both its loops": (Polygon([(0, 0), (100, 100), (100, 0), (0, 100)]), 5_000),
    "an outline drawn twice over": (Polygon([*ring(0, 0, 100, 100), *ring(0, 0, 100, 100)]), 10_000),
    "a spur has no area": (Polygon([(0, 0), (100, 0), (100, 100), (200, 100), (100, 100), (0, 100)]), 10_000),
}


@pytest.mark.parametrize(("shape", "area"), CASES.values(), ids=CASES)
def test_the_area_is_that_of_the_definition(shape: Any, area: float) -> None:
    found = repaired(shape)

    assert found.is_valid
    assert found.geom_type in ("Polygon", "MultiPolygon")
    assert found.area == pytest.approx(area)


def winding(points: NDArray[np.float64], x: float, y: float) -> int:
    """How often a ring goes around a point: by the signs of its sides' crossings of a ray to the right."""
    count = 0
    for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0), strict=True):
        if (y0 <= y) != (y1 <= y) and x0 + (y - y0) * (x1 - x0) / (y1 - y0) > x:
            count += 1 if y1 > y0 else -1
    return count


@settings(max_examples=400, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_inside_is_what_the_ring_goes_around(seed: int) -> None:
    random = np.random.default_rng(seed)
    points = random.integers(0, 20, (int(random.integers(3, 14)), 2)).astype(np.float64)

    found = repaired(Polygon(points))

    for x, y in random.uniform(0, 20, (40, 2)):
        if shapely.distance(shapely.linearrings(points), shapely.points(x, y)) > 1e-6:
            assert bool(shapely.contains_xy(found, x, y)) == (winding(points, x, y) != 0)


def test_a_freehand_loop_that_overshoots_its_start_has_no_hole_there(tmp_path) -> None:
    angles = np.linspace(0, 2 * np.pi * 1.12, 120)
    reach = 380 - 6 * angles  # spirals inwards a bit, so that the second time runs within the first
    points = np.stack([700 + reach * np.cos(angles), 500 + reach * np.sin(angles)], axis=1)

    found = repaired(Polygon(points))

    assert found.geom_type == "Polygon"
    assert not found.interiors
    assert all(found.buffer(1e-6).contains(shapely.points(points)))


def test_a_ring_that_runs_through_outline_and_hole_keeps_the_hole(tmp_path) -> None:
    """Old scripts list all points of a region as one ring; outline and hole run in opposite directions there."""
    outline, hole = ring(100, 100, 300, 300), ring(200, 200, 100, 100)[::-1]
    rows = [f"a,{x},{y}" for x, y in (*outline, outline[0], *hole, hole[0])]
    (tmp_path / "s.csv").write_text("\n".join(["ROI_Name,X_base,Y_base", *rows]))

    (region,) = QuPathCsv(folder=tmp_path).build().regions(info_of("s", size=Size(1000, 800))).items

    assert region.shape.equals(Polygon(outline, [hole]))


def jagged(count: int, *, along: float, across: float) -> NDArray[np.float64]:
    """An outline around a circle of 1000 pixels with noise along it (in turns) and across (in radii)."""
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + random.normal(0, along, count)
    reach = 1000 * (1 + random.normal(0, across, count))
    return np.stack([2000 + reach * np.cos(angles), 2000 + reach * np.sin(angles)], axis=1)


def test_a_jagged_outline_of_twenty_thousand_vertices_is_repaired() -> None:
    """It crosses itself 15,000 times; joining the lines and taking every other face would take minutes."""
    points = jagged(20_000, along=0.001, across=0.01)

    found = repaired(Polygon(points))

    assert found.is_valid
    assert found.area == pytest.approx(np.pi * 1000**2, rel=0.01)
    tree = shapely.STRtree(shapely.get_parts(found))
    assert len(set(tree.query(shapely.points([(2000, 2000), (1500, 2000)]), predicate="within")[0])) == 2


def test_a_scribble_is_refused_before_it_takes_hours(tmp_path) -> None:
    # Some 200 million crossings; counting stops at the limit.
    points = np.random.default_rng(0).uniform(0, 700, (20_000, 2)).tolist()
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [points]}, "properties": {}}
    (tmp_path / "s.geojson").write_text(json.dumps(feature))

    with pytest.raises(RoiError, match=f"feature 1: the outline crosses itself more than {MAX_CROSSINGS} times; draw"):
        GeoJson(folder=tmp_path).build().regions(info_of("s", size=Size(1000, 800)))


def test_what_is_valid_is_left_as_it_was(tmp_path) -> None:
    holes = {"type": "Polygon", "coordinates": [[*SQUARE, SQUARE[0]], ring(200, 200, 9, 9)]}
    (tmp_path / "s.geojson").write_text(json.dumps({"type": "Feature", "geometry": holes, "properties": {}}))

    found = GeoJson(folder=tmp_path).build().regions(info_of("s", size=Size(1000, 800)))

    assert found.items[0].shape.wkt == Polygon(SQUARE, [ring(200, 200, 9, 9)]).wkt
    assert found.notes == ()
