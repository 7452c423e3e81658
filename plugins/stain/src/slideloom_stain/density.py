"""Brightness and optical density, shared by the methods and computed by lookup tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain.fits import Unfit
from slideloom_stain.loops import Floats, Loops
from slideloom_stain.opencv import cv2

Table = NDArray[np.float64]  # (256,)

# A pixel is tissue for Macenko if every channel is at least this dense (Macenko et al. 2009, natural log).
TISSUE_DENSITY = 0.15
# Fewer pixels than this are too few to estimate a stain.
MIN_TISSUE_PX = 100
BRIGHT_PERCENTILE = 90.0

_GREYS = np.arange(256, dtype=np.float64)
IDENTITY = _GREYS.copy()  # the brightness table of an image that keeps its brightness


def brightened(rgb: Rgb, loops: Loops) -> Table:
    """The table that makes the 90th percentile of all values white.

    Args:
        rgb: (h, w, 3) uint8.
        loops: the loops to find the percentile by.

    Returns:
        (256,) float64: the new value of each uint8 value, 0-255, not rounded.

    Raises:
        Unfit: at least 90% of the values are black.
    """
    position = (rgb.size - 1) * BRIGHT_PERCENTILE / 100
    rank = math.floor(position)
    low, high = loops.ranked(rgb, rank)
    bright = low + (high - low) * (position - rank)
    if bright < 1:
        raise Unfit("the image is black")
    return np.minimum(_GREYS * (255.0 / bright), 255.0)


def brightness_table(rgb: Rgb, *, standardise: bool, loops: Loops) -> Table:
    """The table of `brightened`, or the identity if the brightness step is off."""
    return brightened(rgb, loops) if standardise else IDENTITY


def density_table(brightness: Table) -> Table:
    """Natural-log optical density, -ln((value + 1) / 255), of each uint8 value after the brightness table.

    The 1 keeps black finite; clear glass is -0.004.
    """
    return -np.log((brightness + 1.0) / 255.0)


def lookup(
    image: NDArray[np.uint8] | NDArray[np.uint16], table: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """`table[image]` for an image (h, w) or (h, w, channels). Any: the result has the table's dtype."""
    if image.dtype == np.uint8 or _WIDE_LUT:
        found: NDArray[Any] = cv2.LUT(image, table, out)
        return found
    return table.take(image, out=out, mode="clip")  # OpenCV before 4.13 has no tables of 65536 values


def _has_wide_lut() -> bool:
    try:
        return bool(cv2.LUT(np.array([[7]], np.uint16), np.arange(65536, dtype=np.float32))[0, 0] == 7)
    except cv2.error:
        return False


_WIDE_LUT = _has_wide_lut()


def as_bytes(values: Floats, out: Rgb | None = None) -> Rgb:
    """Non-negative values as uint8: rounded to the nearest grey level (halves to even) and clipped to 255."""
    return cv2.convertScaleAbs(values, out)  # type: ignore[no-any-return]
