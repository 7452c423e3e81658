"""Polygons with holes from a mask, along the edges of its pixels."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from shapely import make_valid
from shapely.geometry import MultiPolygon, Polygon
from shapely.geometry.base import BaseGeometry
from slideloom import Mask

_TOP, _RIGHT, _BOTTOM, _LEFT = range(4)
# For each side of a pixel, walking with the pixel on the right: the start of the walk, the neighbour ahead, and the one
# ahead to the left, each as (dx, dy).
_START = np.array([(0, 0), (1, 0), (1, 1), (0, 1)])
_AHEAD = np.array([(1, 0), (0, 1), (-1, 0), (0, -1)])
_AHEAD_LEFT = np.array([(1, -1), (1, 1), (-1, 1), (-1, -1)])


def polygons_of(mask: Mask, *, min_px: float) -> list[Polygon]:
    """One polygon per connected area (pixels that share a side), top to bottom.

    Args:
        mask: (h, w) bool.
        min_px: smaller areas are left out and smaller holes are filled.

    Returns:
        Polygons in pixels; their area is the number of pixels, plus that of the holes filled.
    """
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    kept = stats[:, cv2.CC_STAT_AREA] >= min_px
    kept[0] = False
    if not kept.any():
        return []
    rings, owners = trace(kept[labels])
    shells: dict[int, NDArray[np.int64]] = {}
    holes: dict[int, list[NDArray[np.int64]]] = {number: [] for number in range(count)}
    for ring, (row, column) in zip(rings, owners, strict=True):
        x, y = ring.T
        area = (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2
        number = int(labels[row, column])
        if area > 0:
            shells[number] = ring
        elif -area >= min_px:
            holes[number].append(ring)
    return [Polygon(shell, holes[number]) for number, shell in sorted(shells.items())]


def trace(mask: Mask) -> tuple[list[NDArray[np.int64]], list[tuple[int, int]]]:
    """The closed outlines of a mask, and for each a pixel (row, column) to which it belongs.

    Returns:
        Corners (N, 2) of every outline as x, y; clockwise on screen around an area, counter-clockwise around a hole.
    """
    padded = np.pad(mask, 1)
    blank_beside = np.stack(
        [~padded[:-2, 1:-1], ~padded[1:-1, 2:], ~padded[2:, 1:-1], ~padded[1:-1, :-2]]
    )  # above, right, below, left
    side, row, column = np.nonzero(blank_beside & mask)
    keys = (side * mask.shape[0] + row) * mask.shape[1] + column  # ascending, as returned by nonzero
    following = np.searchsorted(keys, _next_keys(padded, side, row, column)).tolist()
    start = np.stack([column, row], axis=1) + _START[side]
    sides = side.tolist()
    rings, owners = [], []
    seen = bytearray(len(keys))
    for first in range(len(keys)):
        if seen[first]:
            continue
        corners, at, before = [], first, -1
        while not seen[at]:
            seen[at] = 1
            if sides[at] != before:
                corners.append(at)
            before, at = sides[at], following[at]
        if before == sides[first]:
            corners.pop(0)  # the walk started in the middle of a straight line
        rings.append(start[corners].astype(np.int64))
        owners.append((int(row[first]), int(column[first])))
    return rings, owners


def _next_keys(
    padded: Mask, side: NDArray[np.int64], row: NDArray[np.int64], column: NDArray[np.int64]
) -> NDArray[np.int64]:
    """The key of the edge after each edge: around the same pixel's corner, straight on, or around the next corner.

    Trying the same pixel first keeps areas apart that touch only at a corner.
    """
    ahead, left = _AHEAD[side], _AHEAD_LEFT[side]
    has_ahead = padded[row + 1 + ahead[:, 1], column + 1 + ahead[:, 0]]
    has_left = padded[row + 1 + left[:, 1], column + 1 + left[:, 0]] & has_ahead
    next_side = np.where(has_left, (side + 3) % 4, np.where(has_ahead, side, (side + 1) % 4))
    next_row = row + np.where(has_left, left[:, 1], np.where(has_ahead, ahead[:, 1], 0))
    next_column = column + np.where(has_left, left[:, 0], np.where(has_ahead, ahead[:, 0], 0))
    height, width = padded.shape[0] - 2, padded.shape[1] - 2
    keys: NDArray[np.int64] = (next_side * height + next_row) * width + next_column
    return keys


def valid_parts(shape: BaseGeometry, *, min_area: float) -> list[Polygon]:
    """The polygons of a shape after repair, without those smaller than `min_area`, largest first."""
    repaired = shape if shape.is_valid else make_valid(shape)
    parts = getattr(repaired, "geoms", [repaired])
    flat = [polygon for part in parts for polygon in (part.geoms if isinstance(part, MultiPolygon) else [part])]
    found = [part for part in flat if isinstance(part, Polygon) and part.area >= max(min_area, 1e-9)]
    return sorted(found, key=lambda part: -part.area)
