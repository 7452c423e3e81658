"""Brightness, optical density and exact percentiles: what the methods share, at the speed of tables."""

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
# Fewer pixels than this do not say what a stain looks like.
MIN_TISSUE_PX = 100
BRIGHT_PERCENTILE = 90.0
_SAMPLED = 64  # one value in so many gives the bound of `upper_percentile`

_GREYS = np.arange(256, dtype=np.float64)
_IDENTITY = _GREYS.copy()


def exact_percentile_of_counts(counts: NDArray[np.float32], percent: float) -> float:
    """The percentile (linear interpolation, as numpy's) of values given as a histogram.

    Args:
        counts: (256,) how often each value 0-255 occurs.
        percent: 0-100.
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
        (256,) float64: what each value becomes, 0-255, not rounded.

    Raises:
        Unfit: at least 90% of the values are black.
    """
    counts = cv2.calcHist([rgb.reshape(rgb.shape[0], -1)], [0], None, [256], [0, 256])
    bright = exact_percentile_of_counts(counts.ravel(), BRIGHT_PERCENTILE)
    if bright < 1:
        raise Unfit("the image is black")
    return np.minimum(_GREYS * (255.0 / bright), 255.0)


def brightness_table(rgb: Rgb, *, standardise: bool) -> Table:
    """`brightened` or, without the step, the values themselves."""
    return brightened(rgb) if standardise else _IDENTITY


def density_table(brightness: Table) -> Table:
    """Natural-log optical density, -ln((value + 1) / 255), of each uint8 value after the brightness table.

    The 1 keeps black finite; clear glass is -0.004.
    """
    return -np.log((brightness + 1.0) / 255.0)


def lookup(
    image: NDArray[np.uint8] | NDArray[np.uint16], table: NDArray[Any], out: NDArray[Any] | None = None
) -> NDArray[Any]:
    """`table[image]` for an image (h, w) or (h, w, channels). Any: of the table's type."""
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
    """A high percentile of the `count` finite values, exact (linear interpolation, as numpy's).

    A selection among all would read them several times. Instead a sample gives a bound that is nearly sure to lie
    below the percentile; only what is above is sorted. If the bound was too high, everything is.

    Args:
        values: (n,) float32; those that do not count are -inf.
        count: how many count.
        percent: 50-100.
        transform: a rising function; the percentile is that of the transformed values.
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
    """Values of at least 0 as uint8: rounded to the nearest grey level (halves to even), cut to 255."""
    return cv2.convertScaleAbs(values, out)  # type: ignore[no-any-return]
