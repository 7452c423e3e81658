"""The loops of `slideloom_stain.loops` in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain.density import lookup
from slideloom_stain.loops import SAMPLED, Floats, Ranks
from slideloom_stain.opencv import cv2
from slideloom_stain.scratch import scratch

_STRIP = 1 << 11  # pixels whose sums of products are exact in float64: 2^21 * 2^21 * 2^11
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_COUNTED = 1 << 24  # values that OpenCV counts exactly, in float32


class NumpyLoops:
    """See `slideloom_stain.loops.Loops`."""

    def ranked(self, rgb: Rgb, rank: int) -> tuple[int, int]:
        """See `Loops.ranked`."""
        values = np.ascontiguousarray(rgb).reshape(1, -1)
        counts = np.zeros(256, np.int64)
        for start in range(0, values.size, _COUNTED):
            found = cv2.calcHist([values[:, start : start + _COUNTED]], [0], None, [256], [0, 256])
            counts += found.ravel().astype(np.int64)
        below = np.cumsum(counts)
        first, second = np.searchsorted(below, [rank, min(rank + 1, values.size - 1)], side="right")
        return int(first), int(second)

    def densities(self, rgb: Rgb, table: Floats, least: float, planes: Floats) -> list[int]:
        """See `Loops.densities`."""
        for channel, plane in zip(cv2.split(rgb), planes, strict=True):
            lookup(channel, table, plane.reshape(channel.shape))
        tissue = _tissue_of(planes, least).astype(np.float64)
        totals = [tissue.shape[1], *(int(sum_) for sum_ in tissue.sum(axis=1)), *[0] * 6]
        for start in range(0, tissue.shape[1], _STRIP):
            part = tissue[:, start : start + _STRIP]
            products = part @ part.T
            for place, (row, column) in enumerate(_PAIRS, start=4):
                totals[place] += int(products[row, column])
        return totals

    def largest(self, planes: Floats, directions: Floats, ranks: Ranks) -> Floats:
        """See `Loops.largest`."""
        return np.stack([_two_largest(_projected(planes, direction), ranks) for direction in directions])

    def largest_slopes(
        self, planes: Floats, directions: Floats, ranks: Ranks, *, least: float, ahead: float
    ) -> Floats | None:
        """See `Loops.largest_slopes`."""
        tissue = _tissue_of(planes, least)
        along, across = (_projected(tissue, direction) for direction in directions)
        if not (along > np.float32(ahead)).all():
            return None
        slopes = across / along
        return np.stack([_two_largest(slopes, ranks), _two_largest(-slopes, ranks)])

    def multiplied(self, rgb: Rgb, factors: Floats, out: Rgb) -> None:
        """See `Loops.multiplied`."""
        channels = cv2.split(rgb)
        value, other = scratch("value", rgb.shape[:2]), scratch("channels", rgb.shape[:2])
        for k in range(3):
            lookup(channels[0], np.ascontiguousarray(factors[0, :, k]), value)
            for channel in (1, 2):
                lookup(channels[channel], np.ascontiguousarray(factors[channel, :, k]), other)
                np.multiply(value, other, out=value)
            np.minimum(value, np.float32(255), out=value)
            out[..., k] = np.rint(value, out=value)


def _tissue_of(planes: Floats, least: float) -> Floats:
    """(3, n) the densities of the tissue's pixels."""
    lowest = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    tissue: Floats = planes.take(np.flatnonzero(lowest >= np.float32(least)), axis=1)
    return tissue


def _projected(planes: Floats, direction: Floats) -> Floats:
    value: Floats = planes[0] * direction[0]
    value += planes[1] * direction[1]
    value += planes[2] * direction[2]
    return value


def _two_largest(values: NDArray[np.float32], ranks: Ranks) -> Floats:
    """(2,) the values of both ranks.

    Selecting among all values would read them several times. Instead, a sample gives a bound that almost surely lies
    below the wanted ones, and only the values above it are sorted. If the bound is too high, all values are sorted.
    """
    sample = values[::SAMPLED]
    top = values
    if ranks.margin <= sample.size:
        bound = np.partition(sample, sample.size - ranks.margin)[sample.size - ranks.margin]
        top = values[np.flatnonzero(values >= bound)]
    if top.size < ranks.need:
        top = values
    top = np.sort(top)[::-1]
    return top[[ranks.first, ranks.need - 1]]
