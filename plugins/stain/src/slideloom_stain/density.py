"""Brightness, optical density and exact percentiles, shared by the methods and computed by lookup tables."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain.fits import Unfit
from slideloom_stain.opencv import cv2

Table = NDArray[np.float64]  # (256,)
Floats = NDArray[np.float32]

# A pixel is tissue for Macenko if every channel is at least this dense (Macenko et al. 2009, natural log).
TISSUE_DENSITY = 0.15
# Fewer pixels than this are too few to estimate a stain.
MIN_TISSUE_PX = 100
BRIGHT_PERCENTILE = 90.0
_SAMPLED = 64  # `upper_percentile` takes one value in this many for its bound

_GREYS = np.arange(256, dtype=np.float64)
_IDENTITY = _GREYS.copy()


def exact_percentile_of_counts(counts: NDArray[np.float32], percent: float) -> float:
    """The percentile of values given as a histogram, with linear interpolation like numpy's.

    Args:
        counts: (256,) how often each value 0-255 occurs.
        percent: which percentile, 0-100.
    """
    total = np.cumsum(counts, dtype=np.float64)
    position = (total[-1] - 1) * percent / 100
    below = math.floor(position)
    low, high = np.searchsorted(total, [below, min(below + 1, total[-1] - 1)], side="right")
    return float(low + (high - low) * (position - below))


def brightened(rgb: Rgb) -> Table:
    """The table that makes the 90th percentile of all values white.

    Args:
        rgb: (h, w, 3) uint8.

    Returns:
        (256,) float64: the new value of each uint8 value, 0-255, not rounded.

    Raises:
        Unfit: at least 90% of the values are black.
    """
    counts = cv2.calcHist([rgb.reshape(rgb.shape[0], -1)], [0], None, [256], [0, 256])
    bright = exact_percentile_of_counts(counts.ravel(), BRIGHT_PERCENTILE)
    if bright < 1:
        raise Unfit("the image is black")
    return np.minimum(_GREYS * (255.0 / bright), 255.0)


def brightness_table(rgb: Rgb, *, standardise: bool) -> Table:
    """The table of `brightened`, or the identity if the brightness step is off."""
    return brightened(rgb) if standardise else _IDENTITY


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


def upper_percentile(
    values: Floats, *, count: int, percent: float, transform: Callable[[float], float] = float
) -> float:
    """A high percentile of the `count` finite values, exact, with linear interpolation like numpy's.

    Selecting among all values would read them several times. Instead, a sample gives a bound that almost surely lies
    below the percentile, and only the values above it are sorted. If the bound is too high, all values are sorted.

    Args:
        values: (n,) float32; values that do not count are -inf.
        count: number of values that count.
        percent: which percentile, 50-100.
        transform: an increasing function; the result is the percentile of the transformed values.
    """
    position = (count - 1) * (1 - percent / 100)  # from the largest value down
    whole = math.floor(position)
    need = min(whole + 2, count)
    sample = values[::_SAMPLED]
    expected = need / _SAMPLED
    margin = min(sample.size, math.ceil(expected + 4 * math.sqrt(expected)) + 4)
    bound = np.partition(sample, sample.size - margin)[sample.size - margin]
    top = values[np.flatnonzero(values >= bound)]
    if top.size < need:
        top = values
    top = np.sort(top)[::-1]
    high, low = transform(float(top[whole])), transform(float(top[need - 1]))
    return high + (low - high) * (position - whole)


def as_bytes(values: Floats, out: Rgb | None = None) -> Rgb:
    """Non-negative values as uint8: rounded to the nearest grey level (halves to even) and clipped to 255."""
    return cv2.convertScaleAbs(values, out)  # type: ignore[no-any-return]
