"""Which tiles the regions keep, and the same decision as a mask; exact geometry without a loop over tiles."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

import numpy as np
import shapely
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Box, IntArray, Mask
from slideloom.slides.outlines import Outlines
from slideloom.slides.regions import Regions
from slideloom.slides.tiles import Tiles

Shapes = NDArray[Any]  # (N,) of shapely geometries, which are plain objects to numpy
Side = Literal["inside", "outside"]

# Shares of a tile closer than this are equal: areas of clipped polygons have rounding errors of about 1e-12.
SHARE_TOLERANCE = 1e-9
# A polygon with more vertices than this is clipped to the neighbourhood of its tiles before it is clipped to each tile.
_CUT_VERTICES = 256
_CUT_TILES = 16


@frozen
class Selection:
    """The regions' decision on N tiles.

    Attributes:
        keep: (N,) bool.
        roi: (N,) int64, index into `regions.items` of the region that accepted the tile; -1 for tiles that are not
            kept, and for those kept because no region covers them.
    """

    keep: NDArray[np.bool_] = field(eq=False)
    roi: IntArray = field(eq=False)


def select_tiles(
    tiles: Tiles,
    regions: Regions,
    *,
    method: Side,
    by: Literal["center", "proportion"],
    threshold: float = 0.5,
    artifact_labels: Collection[str] = (),
) -> Selection:
    """The tiles that lie inside (or outside) the regions.

    Where regions overlap, each point of the slide belongs to the smallest region that contains it, whatever their order
    and labels. If areas are equal to nine digits, it belongs to the region whose name sorts first.

    With "center", a tile is judged by the point x + width / 2, y + height / 2 of its footprint, halves included; a
    point on a boundary counts as inside. The tile belongs to the region of this point.

    With "proportion", a tile is kept if the share of its area that is covered by regions (outside: that is not covered)
    is *greater* than `threshold`, to within 1e-9. It belongs to the region that covers most of it; of equals, to the
    smallest.

    Regions whose label is in `artifact_labels` are never accepted: a tile with its centre in one is rejected, and their
    area counts neither as covered nor as uncovered. If there is no other region, the whole slide counts as inside and
    as outside.

    Args:
        tiles: N tiles.
        regions: valid shapes in level-0 pixels.
        method: keep what is inside or what is outside.
        by: the rule.
        threshold: share of the tile, 0-1; only for "proportion".
        artifact_labels: labels to exclude.

    Raises:
        ValueError: `threshold` is not from 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be from 0 to 1, not {threshold!r}")
    wanted, artifacts = _split(regions, artifact_labels)
    shapes = np.array([region.shape for region in regions.items], dtype=object)
    everything = method == "outside" or len(wanted) == 0
    if by == "center":
        in_artifact = _owner_of_centres(tiles, shapes[artifacts]) >= 0
        owner = _owner_of_centres(tiles, shapes[wanted])
        keep = (owner < 0 if everything else owner >= 0) & ~in_artifact
    elif everything:
        keep = ~_covers_more(_pieces(tiles, shapes), tiles, 1 - threshold - SHARE_TOLERANCE)
        owner = np.full(len(tiles), -1)
    else:
        pieces = _pieces(tiles, shapes[wanted])
        pieces = _without(pieces, _pieces(tiles, shapes[artifacts]), len(tiles))
        keep = _covers_more(pieces, tiles, threshold + SHARE_TOLERANCE)
        owner = _owner_of_areas(pieces.take(keep[pieces.tile]), tiles)
    # `wanted` is in order of priority, so the first region that contains a point owns it.
    found = keep & (owner >= 0) & (not everything)
    roi = np.full(len(tiles), -1, np.int64)
    roi[found] = wanted[owner[found]]
    return Selection(keep=keep, roi=roi)


def _split(regions: Regions, artifact_labels: Collection[str]) -> tuple[IntArray, IntArray]:
    """Indices of the regions of interest, smallest first, and of the artifacts."""
    is_artifact = np.array([region.label in artifact_labels for region in regions.items], dtype=bool)
    # Rounded, so that the start vertex of an outline does not decide between two identical shapes.
    areas = [float(f"{region.shape.area:.9g}") for region in regions.items]
    wanted = np.flatnonzero(~is_artifact).tolist()
    wanted.sort(key=lambda i: (areas[i], regions.items[i].name))
    return np.array(wanted, np.int64), np.flatnonzero(is_artifact)


def _owner_of_centres(tiles: Tiles, shapes: Shapes) -> IntArray:
    """(N,) index of the first shape that contains the tile's centre, or -1."""
    owner = np.full(len(tiles), len(shapes), np.int64)
    if len(shapes) and len(tiles):
        centres = shapely.points(tiles.x + tiles.footprint.width / 2, tiles.y + tiles.footprint.height / 2)
        # Polygons query a tree of points, not the other way round: the querying geometry is prepared only once.
        shape, tile = shapely.STRtree(centres).query(shapes, predicate="intersects")
        np.minimum.at(owner, tile, shape)
    return np.where(owner < len(shapes), owner, -1)


@frozen
class _Pieces:
    """The parts of tiles that shapes cover: one row per pair of tile and shape that overlap."""

    tile: IntArray = field(eq=False)
    shape: IntArray = field(eq=False)
    part: Shapes = field(eq=False)

    def take(self, which: NDArray[Any]) -> _Pieces:
        return _Pieces(self.tile[which], self.shape[which], self.part[which])


def _pieces(tiles: Tiles, shapes: Shapes) -> _Pieces:
    if not len(shapes) or not len(tiles):
        none = np.zeros(0, np.int64)
        return _Pieces(none, none, np.zeros(0, object))
    left, top = tiles.x, tiles.y
    right, bottom = left + tiles.footprint.width, top + tiles.footprint.height
    boxes = shapely.box(left, top, right, bottom)
    tree = shapely.STRtree(boxes)
    shape, tile = tree.query(shapes, predicate="intersects")
    full_shape, full_tile = tree.query(shapes, predicate="covers")
    is_full = np.isin(shape * len(tiles) + tile, full_shape * len(tiles) + full_tile)

    bounds = shapely.bounds(shapes)[shape]
    is_within = (bounds[:, 0] >= left[tile]) & (bounds[:, 1] >= top[tile])
    is_within &= (bounds[:, 2] <= right[tile]) & (bounds[:, 3] <= bottom[tile])

    part = boxes[tile]
    part[is_within] = shapes[shape[is_within]]
    cut = ~is_full & ~is_within
    is_large = cut & (shapely.get_num_coordinates(shapes)[shape] > _CUT_VERTICES)
    simple = np.flatnonzero(cut & ~is_large)
    part[simple] = shapely.intersection(shapes[shape[simple]], part[simple])
    rows = np.flatnonzero(is_large)
    rows = rows[np.argsort(shape[rows], kind="stable")]
    for group in np.split(rows, np.flatnonzero(np.diff(shape[rows])) + 1):
        if len(group):
            _cut_large(shapes[shape[group[0]]], part, group)
    pieces = _Pieces(tile, shape, part)
    return pieces.take(shapely.area(part) > 0)


def _cut_large(shape: Any, part: Shapes, rows: IntArray) -> None:
    """Replace the boxes `part[rows]` by their parts that `shape` covers.

    Splits the tiles in half and clips the shape to each half, so a boundary of V vertices costs V log(tiles), not
    V * tiles.
    """
    boxes = part[rows]
    if len(rows) <= _CUT_TILES or shapely.get_num_coordinates(shape) <= _CUT_VERTICES:
        part[rows] = shapely.intersection(shape, boxes)
        return
    bounds = shapely.bounds(boxes)
    spread = np.ptp(bounds, axis=0)
    order = np.argsort(bounds[:, 0 if spread[0] >= spread[1] else 1], kind="stable")
    for half in (order[: len(order) // 2], order[len(order) // 2 :]):
        window = shapely.box(*bounds[half, :2].min(axis=0), *bounds[half, 2:].max(axis=0))
        _cut_large(shapely.intersection(shape, window), part, rows[half])


def _without(pieces: _Pieces, artifacts: _Pieces, count: int) -> _Pieces:
    """`pieces` without the area that artifacts cover in the same tiles."""
    if not len(artifacts.tile):
        return pieces
    artifact = np.full(count, None, dtype=object)
    affected, joined = _joined(artifacts)
    artifact[affected] = joined
    hit = np.flatnonzero(shapely.is_geometry(artifact)[pieces.tile])
    part = pieces.part.copy()
    part[hit] = shapely.difference(part[hit], artifact[pieces.tile[hit]])
    less = _Pieces(pieces.tile, pieces.shape, part)
    return less.take(shapely.area(part) > 0)


def _joined(pieces: _Pieces) -> tuple[IntArray, Shapes]:
    """The tiles that have pieces, and the union of the pieces of each."""
    order = np.argsort(pieces.tile, kind="stable")
    tile, first, counts = np.unique(pieces.tile[order], return_index=True, return_counts=True)
    joined = pieces.part[order][first]
    # Tiles with similar numbers of pieces share one table, padded with None, which a union ignores.
    classes = np.ceil(np.log2(np.maximum(counts, 1))).astype(np.int64)
    for exponent in np.unique(classes[counts > 1]):
        rows = np.flatnonzero((classes == exponent) & (counts > 1))
        columns = np.arange(2**exponent)
        is_there = columns < counts[rows, None]
        table = np.full(is_there.shape, None, dtype=object)
        table[is_there] = pieces.part[order][(first[rows, None] + columns)[is_there]]
        joined[rows] = shapely.union_all(table, axis=1)
    return tile, joined


def _covers_more(pieces: _Pieces, tiles: Tiles, share: float) -> NDArray[np.bool_]:
    """(N,) True where the pieces together cover more than this share of a tile."""
    limit = share * tiles.footprint.area
    area = shapely.area(pieces.part)
    total = np.bincount(pieces.tile, weights=area, minlength=len(tiles))
    # Pieces may overlap, but together they cover at least the largest and at most their sum.
    more = np.zeros(len(tiles), bool)
    more[pieces.tile[area > limit]] = True
    unsure = (total > limit) & ~more
    tile, joined = _joined(pieces.take(unsure[pieces.tile]))
    more[tile] = shapely.area(joined) > limit
    return more


def _owner_of_areas(pieces: _Pieces, tiles: Tiles) -> IntArray:
    """(N,) shape to which most of a tile belongs, where each point belongs to the first shape; of equals, the first."""
    pieces = pieces.take(np.lexsort((pieces.shape, pieces.tile)))
    share = shapely.area(_less_earlier(pieces)) / tiles.footprint.area
    order = np.lexsort((-pieces.shape, np.round(share / SHARE_TOLERANCE), pieces.tile))
    owner = np.full(len(tiles), -1, np.int64)
    owner[pieces.tile[order]] = pieces.shape[order]  # the last assignment to a tile wins
    return owner


def _less_earlier(pieces: _Pieces) -> Shapes:
    """The part of each piece that no earlier piece of the same tile covers; `pieces` are sorted by tile."""
    part = pieces.part.copy()
    tile, joined = _joined(pieces)
    total = np.bincount(pieces.tile, weights=shapely.area(part))[tile]
    overlapping = np.isin(pieces.tile, tile[total > shapely.area(joined) * (1 + SHARE_TOLERANCE)])
    starts = np.flatnonzero(np.diff(pieces.tile, prepend=-1))
    number = np.arange(len(part)) - np.repeat(starts, np.diff(starts, append=len(part)))  # within its tile
    covered = part.copy()
    for step in range(1, int(number.max(initial=0)) + 1):
        rows = np.flatnonzero(overlapping & (number == step))
        part[rows] = shapely.difference(part[rows], covered[rows - 1])
        covered[rows] = shapely.union(covered[rows], covered[rows - 1])
    return part


def regions_mask(
    regions: Regions,
    *,
    extent: Box,
    shape: tuple[int, int],
    method: Side,
    artifact_labels: Collection[str] = (),
) -> Mask:
    """The regions as a mask, True where the slide should be discarded, judged by pixel centres.

    A centre exactly on a boundary is inside if the region is to its right, or below it for a horizontal edge. As in
    `select_tiles`, everything except artifacts is kept if there are no other regions.

    Args:
        regions: valid shapes in level-0 pixels.
        extent: the level-0 box the mask covers.
        shape: (h, w) of the mask.
        method: keep what is inside or what is outside.
        artifact_labels: labels that are always discarded.

    Returns:
        (h, w) bool.
    """
    wanted, artifacts = _split(regions, artifact_labels)
    discard = Outlines.of(regions.items[i].shape for i in artifacts).mask(extent=extent, shape=shape)
    if len(wanted):
        inside = Outlines.of(regions.items[i].shape for i in wanted).mask(extent=extent, shape=shape)
        discard |= inside if method == "outside" else ~inside
    return discard
