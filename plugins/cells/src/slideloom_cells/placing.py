"""From points to tiles."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from slideloom import Size, SlideError, SlideInfo, Tiles

Points = NDArray[np.float64]  # (N, 2): x and y in level-0 pixels


def tiles_around(points: Points, info: SlideInfo, footprint: Size, *, edge: Literal["pad", "drop"] = "pad") -> Tiles:
    """One tile around each point on the slide, in the order of the points.

    The top left is the point, rounded, less int(footprint / 2); so `loc_x` and `loc_y` are the rounded point. Points
    outside the slide are left out.

    Args:
        points: (N, 2) x and y in level-0 pixels.
        info: the slide.
        footprint: of a tile in level-0 pixels.
        edge: "drop" leaves out tiles that reach over a side.

    Returns:
        Tiles numbered from 0, with `grid_x` the same number and `grid_y` 0.

    Raises:
        SlideError: there are points, but none is on the slide.
    """
    size = info.size
    centres = np.floor(points.reshape(-1, 2) + 0.5).astype(np.int64)
    on_slide = ((centres >= 0) & (centres < [size.width, size.height])).all(axis=1)
    if len(centres) and not on_slide.any():
        x, y = points[0]
        raise SlideError(
            f"{info.path.name}: none of {len(centres)} cells is on the slide ({size.width} x {size.height} pixels); "
            f"the first is at {x:.0f}, {y:.0f}: check its unit, the pixel size and `bounds`"
        )
    corners = centres[on_slide] - np.array([footprint.width // 2, footprint.height // 2])
    if edge == "drop":
        far = corners + np.array([footprint.width, footprint.height])
        corners = corners[((corners >= 0) & (far <= [size.width, size.height])).all(axis=1)]
    number = np.arange(len(corners))
    return Tiles(
        number, corners[:, 0], corners[:, 1], number, np.zeros_like(number), np.full(len(corners), -1),
        footprint=footprint,
    )  # fmt: skip
