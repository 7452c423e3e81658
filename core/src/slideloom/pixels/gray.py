"""Counts pixels without colour, in a compiled loop if there is one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from slideloom.base.geometry import IntArray, RgbBatch

_CountGray = Callable[[RgbBatch, int, int, IntArray], None]

count_gray: _CountGray | None
try:
    from slideloom.pixels._kernels import count_gray
except ImportError:  # no compiler at installation
    count_gray = None

_MOST_BIAS = 255
_FACTORS = 300  # to try: beyond this, a table is no longer close to a straight line


def gray_counter(least: NDArray[np.uint8]) -> Callable[[RgbBatch], IntArray] | None:
    """A function that counts, per image of a batch, the pixels whose lowest channel is at least `least[highest]`.

    Args:
        least: (256,) uint8, for each value of a pixel's highest channel; close to a straight line through 0, as for a
            limit of the HSV saturation.

    Returns:
        A function of (B, H, W, 3) uint8 that returns (B,) int64. None if nothing was compiled, or if the compiled loop,
        which computes the line in 16 bits, cannot reproduce the table exactly.
    """
    compiled, line = count_gray, _line_of(least)
    if compiled is None or line is None:
        return None
    factor, bias = line

    def count(batch: RgbBatch) -> IntArray:
        counts: IntArray = np.zeros(len(batch), np.int64)
        if batch.size:
            compiled(np.ascontiguousarray(batch), factor, bias, counts)
        return counts

    return count


def _line_of(least: NDArray[np.uint8]) -> tuple[int, int] | None:
    """(factor, bias) for which lowest * 256 + bias > highest * factor / 256 agrees with the whole table."""
    table = least.astype(np.int64)
    highest = np.arange(256)
    if (table > highest).any():
        return None
    start = max(0, int(65536 * (table[255] - 1) / 255))
    for factor in range(start, min(start + _FACTORS, 65536)):
        line = highest * 256 * factor >> 16
        lowest_bias = max(1, int((line - table * 256).max()) + 1)
        if lowest_bias <= min(_MOST_BIAS, int((line - (table - 1) * 256).min())):
            return factor, lowest_bias
    return None
