"""Turns points into tiles."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from slideloom import Placed, Size, SlideError, SlideInfo, Tiles

Points = NDArray[np.float64]  # (N, 2): x and y in level-0 pixels


def placed_around(points: Points, info: SlideInfo, footprint: Size, *, edge: Literal["pad", "drop"] = "pad") -> Placed:
    """One tile around each point on the slide, in the order of the points, and how many points get none.

    The top left of a tile is the rounded point minus int(footprint / 2), so `loc_x` and `loc_y` are the rounded point.
    Points outside the slide get no tile; points that are not numbers count as outside.

    Args:
        points: (N, 2) x and y in level-0 pixels.
        info: the slide.
        footprint: of a tile in level-0 pixels.
        edge: "drop" leaves out tiles that extend beyond the slide.

    Returns:
        Tiles numbered from 0, with `grid_x` the same number and `grid_y` 0. Metrics: `cells` (N) is the sum of the
        number of tiles, `off_slide` and `over_edge`.

    Raises:
        SlideError: there are points, but none is on the slide.
    """
    size = info.size
    whole = f"{size.width} x {size.height} pixels"
    rounded = np.floor(points.reshape(-1, 2) + 0.5)
    on_slide = ((rounded >= 0) & (rounded < [size.width, size.height])).all(axis=1)
    count, off = len(rounded), int(np.count_nonzero(~on_slide))
    x, y = points[~on_slide][0] if off else (0.0, 0.0)
    if count and off == count:
        raise SlideError(
            f"{info.path.name}: none of {count} cells is on the slide ({whole}); "
            f"the first is at {x:.0f}, {y:.0f}: check its unit, the pixel size and `bounds`"
        )
    notes = []
    if off:
        notes.append(
            f"{off} of {count} cells lie off the slide ({whole}) and get no tile, the first at {x:.0f}, {y:.0f}; "
            "check their unit, the pixel size and `bounds`"
        )
    corners = rounded[on_slide].astype(np.int64) - np.array([footprint.width // 2, footprint.height // 2])
    over = 0
    if edge == "drop":
        far = corners + np.array([footprint.width, footprint.height])
        fits = ((corners >= 0) & (far <= [size.width, size.height])).all(axis=1)
        corners, over = corners[fits], int(np.count_nonzero(~fits))
    if over:
        notes.append(f"{over} of {count} cells get no tile, because it would extend beyond the slide (edge = 'drop')")
    number = np.arange(len(corners))
    tiles = Tiles(
        number, corners[:, 0], corners[:, 1], number, np.zeros_like(number), np.full(len(corners), -1),
        footprint=footprint,
    )  # fmt: skip
    return Placed(tiles, tuple(notes), {"cells": count, "off_slide": off, "over_edge": over})
