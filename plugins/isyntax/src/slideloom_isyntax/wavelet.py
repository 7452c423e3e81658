"""Pixels from wavelet coefficients: the integer transform Le Gall 5/3, and colours in YCoCg-R.

A level's low coefficient k belongs to the pixel 2k + 2, and its high one to the pixel 2k + 1.

Source: Le Gall and Tabatabai 1988; ISO/IEC 15444-1, annex F (reversible 5/3); Malvar and Sullivan 2003 (YCoCg-R).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

Plane = NDArray[np.int32]


def merged(low: Plane, high: NDArray[np.int32]) -> Plane:
    """Pixels of a part of a level from as many coefficients of its four bands.

    Args:
        low: (h, w), low along both axes.
        high: (3, h, w), high along x only, along y only, along both.

    Returns:
        (2h - 4, 2w - 4): if the first coefficients have the numbers k, pixels from 2k + 3 on along either axis.
    """
    # Along x first. Rounding makes the order matter.
    upper, lower = _merged_along_x(low, high[0]), _merged_along_x(high[1], high[2])
    return _merged_along_x(upper.T, lower.T).T


def _merged_along_x(low: Plane, high: Plane) -> Plane:
    even = low[:, :-1] - ((high[:, :-1] + high[:, 1:] + 2) >> 2)  # pixels 2k + 2
    pixels = np.empty((low.shape[0], 2 * low.shape[1] - 4), np.int32)
    pixels[:, 0::2] = high[:, 1:-1] + ((even[:, :-1] + even[:, 1:]) >> 1)  # pixels 2k + 1
    pixels[:, 1::2] = even[:, 1:]
    return pixels


def in_rgb(planes: NDArray[np.int32]) -> Rgb:
    """(h, w, 3) of Y, Co and Cg, (3, h, w). What lies outside of 0 to 255 becomes the nearest of these."""
    # Scanners' files may have Y below 0, where what counts is how far.
    y, orange, green = np.abs(planes[0]), planes[1], planes[2]
    rest = y - (green >> 1)
    blue = rest - (orange >> 1)
    rgb: Rgb = np.clip(np.stack([blue + orange, rest + green, blue], axis=-1), 0, 255).astype(np.uint8)
    return rgb
