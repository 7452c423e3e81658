"""Regions against tiles: exact geometry, checked against shapely one tile at a time."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Point, Polygon, box
from slideloom.base.geometry import Box, Size
from slideloom.planning.selection import Selection, regions_mask, select_tiles
from slideloom.slides.regions import Region, Regions
from slideloom.slides.tiles import Tiles


def grid(*, extent: int = 1000, footprint: int = 100, stride_div: int = 1, origin: tuple[int, int] = (0, 0)) -> Tiles:
    stride = round(footprint / stride_div)
    x, y = np.meshgrid(
        np.arange(origin[0], extent + 1 - footprint, stride), np.arange(origin[1], extent + 1 - footprint, stride)
    )
    n = np.arange(x.size)
    return Tiles(n, x.ravel(), y.ravel(), n, n * 0, n * 0 - 1, footprint=Size(footprint, footprint))


def regions_of(*shapes: Polygon | MultiPolygon, labels: tuple[str | None, ...] = ()) -> Regions:
    labels = labels or (None,) * len(shapes)
    return Regions(tuple(Region(f"R{i}", s, label) for i, (s, label) in enumerate(zip(shapes, labels, strict=True))))


@st.composite
def polygons(draw: st.DrawFn) -> Polygon:
    """A star-shaped polygon with whole or odd coordinates, often with a hole."""
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(4, 40)))
    centre, radius = random.uniform(-50, 1050, 2), random.uniform(20, 600)
    reach = random.uniform(0.3, 1, len(angles)) * radius

    def ring(scale: float) -> NDArray[np.float64]:
        points = centre + (scale * reach)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
        return np.round(points) if seed % 2 else points

    shape = shapely.make_valid(Polygon(ring(1), [ring(0.5)] if random.random() < 0.6 else []))
    parts = [part for part in shapely.get_parts(shape) if part.geom_type == "Polygon" and part.area > 0]
    return max(parts, key=lambda part: part.area) if parts else box(0, 0, 10, 10)


def brute_centre(tiles: Tiles, regions: Regions, method: str, artifacts: tuple[str, ...]) -> Selection:
    keep, roi = [], []
    wanted = [i for i, region in enumerate(regions.items) if region.label not in artifacts]
    for tile in tiles.boxes():
        centre = Point(tile.x + tile.width / 2, tile.y + tile.height / 2)
        holders = [i for i in wanted if regions.items[i].shape.intersects(centre)]
        spoiled = any(region.shape.intersects(centre) for region in regions.items if region.label in artifacts)
        whole = method == "outside" or not wanted
        good = (not holders if whole else bool(holders)) and not spoiled
        keep.append(good)
        smallest = min(holders, key=lambda i: (regions.items[i].shape.area, regions.items[i].name), default=-1)
        roi.append(smallest if good and not whole else -1)
    return Selection(np.array(keep), np.array(roi))


def brute_shares(
    tiles: Tiles, regions: Regions, method: str, artifacts: tuple[str, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(N,) share that counts, and (N, R) share of each region less the artifacts and less smaller regions."""
    bad = shapely.union_all([region.shape for region in regions.items if region.label in artifacts])
    good: list[Any] = [None] * len(regions.items)
    taken = bad
    for i in sorted(range(len(good)), key=lambda i: (regions.items[i].shape.area, regions.items[i].name)):
        if regions.items[i].label not in artifacts:
            good[i] = regions.items[i].shape.difference(taken)
            taken = taken.union(regions.items[i].shape)
    union = shapely.union_all([r.shape for r in regions.items if r.label not in artifacts]).difference(bad)
    slide = box(-(10**5), -(10**5), 10**5, 10**5)
    whole = all(shape is None for shape in good)
    counted = (
        slide.difference(bad) if whole else slide.difference(union).difference(bad) if method == "outside" else union
    )
    shares, each = [], []
    for tile in tiles.boxes():
        square = box(tile.x, tile.y, tile.right, tile.bottom)
        shares.append(square.intersection(counted).area / square.area)
        each.append([0 if s is None else square.intersection(s).area / square.area for s in good])
    return np.array(shares), np.array(each)


CASES = {
    "shapes": st.lists(polygons(), min_size=0, max_size=5),
    "labels": st.lists(st.sampled_from([None, "tumor", "pen"]), min_size=5, max_size=5),
    "stride_div": st.sampled_from([1, 2, 4]),
    "origin": st.tuples(st.integers(0, 99), st.integers(0, 99)),
    "footprint": st.sampled_from([100, 133]),
    "method": st.sampled_from(["inside", "outside"]),
    "artifacts": st.sampled_from([(), ("pen",)]),
}


@settings(max_examples=150, deadline=None)
@given(**CASES)
def test_centre_mode_is_point_in_polygon_for_every_tile(
    shapes, labels, stride_div, origin, footprint, method, artifacts
) -> None:
    tiles = grid(extent=700, footprint=footprint, stride_div=stride_div, origin=origin)
    regions = regions_of(*shapes, labels=tuple(labels[: len(shapes)]))

    found = select_tiles(tiles, regions, method=method, by="center", artifact_labels=artifacts)

    expected = brute_centre(tiles, regions, method, artifacts)
    assert found.keep.tolist() == expected.keep.tolist()
    assert found.roi.tolist() == expected.roi.tolist()


@settings(max_examples=150, deadline=None)
@given(**CASES, threshold=st.sampled_from([0.0, 0.1, 0.5, 0.75, 0.999]))
def test_proportion_mode_is_the_exact_share_for_every_tile(
    shapes, labels, stride_div, origin, footprint, method, artifacts, threshold
) -> None:
    tiles = grid(extent=600, footprint=footprint, stride_div=stride_div, origin=origin)
    regions = regions_of(*shapes, labels=tuple(labels[: len(shapes)]))

    found = select_tiles(tiles, regions, method=method, by="proportion", threshold=threshold, artifact_labels=artifacts)

    share, each = brute_shares(tiles, regions, method, artifacts)
    clear = abs(share - threshold) > 1e-7
    assert found.keep[clear].tolist() == (share > threshold)[clear].tolist()
    for tile in np.flatnonzero(found.roi >= 0):
        assert each[tile, found.roi[tile]] == pytest.approx(each[tile].max(), abs=1e-7)
    whole = method == "outside" or all(region.label in artifacts for region in regions.items)
    assert ((found.roi >= 0) == (found.keep & (not whole))).all()


@settings(max_examples=150, deadline=None)
@given(
    shapes=CASES["shapes"],
    labels=CASES["labels"],
    method=CASES["method"],
    artifacts=CASES["artifacts"],
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_the_mask_is_point_in_polygon_for_every_pixel_centre(shapes, labels, method, artifacts, shape) -> None:
    extent = Box(20, -30, 700, 800)
    regions = regions_of(*shapes, labels=tuple(labels[: len(shapes)]))

    mask = regions_mask(regions, extent=extent, shape=shape, method=method, artifact_labels=artifacts)

    rows, columns = np.mgrid[: shape[0], : shape[1]]
    centres = shapely.points(20 + (columns + 0.5) * 700 / shape[1], -30 + (rows + 0.5) * 800 / shape[0])
    good = [region.shape for region in regions.items if region.label not in artifacts]
    bad = shapely.union_all([region.shape for region in regions.items if region.label in artifacts])
    inside = shapely.intersects(shapely.union_all(good), centres)
    expected = shapely.intersects(bad, centres) | ((inside if method == "outside" else ~inside) & bool(good))
    edges = shapely.union_all([region.shape.boundary for region in regions.items])
    clear = ~(shapely.distance(edges, centres) < 1e-6)  # the distance to nothing is nan
    assert mask.shape == shape
    assert (mask == expected)[clear].all()


def test_a_centre_on_the_boundary_is_inside() -> None:
    # centres at 50, 150, ... : the square from 150 to 350 has three of them on each side
    found = select_tiles(grid(), regions_of(box(150, 150, 350, 350)), method="inside", by="center")

    assert found.keep.sum() == 9
    outside = select_tiles(grid(), regions_of(box(150, 150, 350, 350)), method="outside", by="center")
    assert (outside.keep == ~found.keep).all()


def test_an_odd_footprint_has_its_centre_on_a_half() -> None:
    tiles = grid(extent=101, footprint=101)  # one tile, centre 50.5

    assert select_tiles(tiles, regions_of(box(50.5, 0, 60, 101)), method="inside", by="center").keep.tolist() == [True]
    assert select_tiles(tiles, regions_of(box(50.6, 0, 60, 101)), method="inside", by="center").keep.tolist() == [False]


@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
@pytest.mark.parametrize("by", ["center", "proportion"])
def test_where_regions_overlap_the_smallest_has_the_tile_in_any_order(by, order) -> None:
    shapes = (box(0, 0, 300, 300), box(0, 0, 200, 300), box(0, 0, 100, 300))
    regions = Regions(tuple(Region(f"R{i}", shapes[i], label=f"class {i}") for i in order))

    found = select_tiles(grid(extent=300), regions, method="inside", by=by)

    names = [regions.items[roi].name for roi in found.roi.reshape(3, 3)[0]]
    assert names == ["R2", "R1", "R0"]


@pytest.mark.parametrize("by", ["center", "proportion"])
@pytest.mark.parametrize("names", ["ab", "ba"])
def test_of_regions_of_one_size_the_name_that_sorts_first_has_the_tile(by, names) -> None:
    corners = [(0, 0), (100, 0), (100, 100), (0, 100)]
    # the same square from another corner on, and one that is smaller by less than anybody can draw
    shapes = (Polygon(corners), Polygon([*corners[2:], *corners[:2]]), box(0, 0, 100, 100 - 1e-8))
    regions = Regions(tuple(Region(name, shape) for name, shape in zip(f"{names}c", shapes, strict=True)))

    found = select_tiles(grid(extent=100), regions, method="inside", by=by)

    assert regions.items[found.roi[0]].name == "a"


def test_by_proportion_what_lies_in_a_smaller_region_is_not_counted_for_the_larger() -> None:
    tiles = grid(extent=100)
    around, within = box(-500, -500, 600, 600), box(0, 0, 51, 100)

    # of the tile 51 % belong to the small region, 49 % to the one around it, which covers all of it
    assert select_tiles(tiles, regions_of(around, within), method="inside", by="proportion").roi.tolist() == [1]
    within = box(0, 0, 49, 100)
    assert select_tiles(tiles, regions_of(around, within), method="inside", by="proportion").roi.tolist() == [0]


def test_by_proportion_the_region_with_the_largest_share_has_the_tile() -> None:
    tiles = grid(extent=100)
    regions = regions_of(box(0, 0, 60, 100), box(60, 0, 100, 100), labels=("a", "b"))

    assert select_tiles(tiles, regions, method="inside", by="proportion").roi.tolist() == [0]
    # the centre is on neither edge: the same region by centre
    assert select_tiles(tiles, regions, method="inside", by="center").roi.tolist() == [0]


@pytest.mark.parametrize(("width", "kept"), [(50, False), (50.001, True), (49.999, False)])
def test_a_share_equal_to_the_threshold_is_not_enough(width, kept) -> None:
    tiles = grid(extent=100)
    regions = regions_of(box(0, 0, width, 100))

    assert select_tiles(tiles, regions, method="inside", by="proportion").keep.tolist() == [kept]
    regions = regions_of(box(width, 0, 100, 100))
    assert select_tiles(tiles, regions, method="outside", by="proportion").keep.tolist() == [kept]


def test_overlapping_regions_are_not_counted_twice() -> None:
    tiles = grid(extent=100)
    regions = regions_of(box(0, 0, 40, 100), box(10, 0, 45, 100))

    assert not select_tiles(tiles, regions, method="inside", by="proportion").keep.any()
    assert select_tiles(tiles, regions, method="inside", by="proportion", threshold=0.44).keep.all()


def test_artifacts_alone_leave_the_rest_of_the_slide() -> None:
    tiles = grid(extent=300)
    regions = regions_of(box(0, 0, 150.0, 300), labels=("pen",))

    for method in ("inside", "outside"):
        centre = select_tiles(tiles, regions, method=method, by="center", artifact_labels={"pen"})
        # the boundary at 150 runs through the middle column's centres, and is inside the artifact
        assert centre.keep.reshape(3, 3)[0].tolist() == [False, False, True]
        share = select_tiles(tiles, regions, method=method, by="proportion", threshold=0.4, artifact_labels={"pen"})
        assert share.keep.reshape(3, 3)[0].tolist() == [False, True, True]
        assert (share.roi == -1).all()


def test_a_hole_rejects_the_tiles_in_it() -> None:
    ring = Polygon([(0, 0), (900, 0), (900, 900), (0, 900)], [[(300, 300), (600, 300), (600, 600), (300, 600)]])

    for by in ("center", "proportion"):
        keep = select_tiles(grid(extent=900), regions_of(ring), method="inside", by=by).keep.reshape(9, 9)
        assert keep.sum() == 81 - 9
        assert not keep[3:6, 3:6].any()


def test_no_region_or_no_tile_is_an_answer() -> None:
    assert select_tiles(grid(), Regions(), method="inside", by="center").keep.all()
    assert select_tiles(grid(), Regions(), method="outside", by="proportion").keep.all()
    none = grid().take(slice(0, 0))
    for by in ("center", "proportion"):
        assert len(select_tiles(none, regions_of(box(0, 0, 1, 1)), method="inside", by=by).keep) == 0
    mask = regions_mask(Regions(), extent=Box(0, 0, 10, 10), shape=(3, 4), method="inside")
    assert mask.shape == (3, 4)
    assert not mask.any()


def test_a_threshold_that_is_no_share_is_refused() -> None:
    with pytest.raises(ValueError, match=r"from 0 to 1, not 1\.5"):
        select_tiles(grid(), Regions(), method="inside", by="proportion", threshold=1.5)


def test_a_boundary_of_many_vertices_gives_the_same_shares_as_shapely() -> None:
    angles = np.linspace(0, 2 * np.pi, 5_001)[:-1]
    radius = 400 + 40 * np.sin(37 * angles) + np.cos(501 * angles)
    shape = Polygon(np.stack([500 + radius * np.cos(angles), 500 + radius * np.sin(angles)], axis=1))
    tiles = grid(stride_div=4)

    for threshold in (0.1, 0.5, 0.9):
        found = select_tiles(tiles, regions_of(shape), method="inside", by="proportion", threshold=threshold)
        squares = shapely.box(tiles.x, tiles.y, tiles.x + 100, tiles.y + 100)
        share = shapely.area(shapely.intersection(shape, squares)) / 10_000
        assert found.keep.tolist() == (share > threshold).tolist()


def test_ten_thousand_polygons_and_twenty_thousand_tiles_are_handled() -> None:
    random = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 21)[:-1]
    centres, radii = random.uniform(0, 27_000, (10_000, 2)), random.uniform(20, 150, 10_000)
    points = centres[:, None] + radii[:, None, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    shapes = shapely.polygons(points)
    regions = regions_of(*shapes)
    tiles = grid(extent=27_000, footprint=190)

    centre = select_tiles(tiles, regions, method="inside", by="center")
    share = select_tiles(tiles, regions, method="inside", by="proportion", threshold=0.3)

    assert len(tiles) > 20_000
    tree = shapely.STRtree(shapes)
    for i in random.integers(0, len(tiles), 300):
        x, y = int(tiles.x[i]), int(tiles.y[i])
        square = box(x, y, x + 190, y + 190)
        near = shapely.union_all(shapes[tree.query(square)])
        assert centre.keep[i] == near.intersects(Point(x + 95, y + 95))
        assert share.keep[i] == (near.intersection(square).area / 190**2 > 0.3)
