"""Linear interpolation of 8-bit images in integer arithmetic: compiled, or in numpy with the same result.

Positions between pixels are rounded to 1/2048, as in OpenCV's `resize`. The results are bit for bit those of `resize`
if it can start at the same position: a row is interpolated to 1/128 grey level (rounded down), two rows to 1/4, and the
result is rounded half up.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, lru_cache

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Rgb
from slideloom.pixels.mosaic import Mosaic

try:
    from slideloom.pixels import _kernels
except ImportError:  # installed without a compiler; `slideloom doctor` says so
    COMPILED = False
else:
    COMPILED = True

_ONE = 2048  # the weight of a pixel that is not interpolated
# Most output pixels to go back to reach a whole source pixel, and the largest distance from it that is accepted.
_LONGEST_LEAD = 64
_LEAD_ERROR = 1 / 128
_CHANNELS = 3


@frozen
class Taps:
    """The source pixels, with their weights, of every output pixel along one axis.

    Attributes:
        first: (n,) int32, the first of two neighbours.
        weight: (n,) int32, weight of the second in 1/2048, 0 to 2047; the first has the rest.
        limit: number of source pixels.
    """

    first: NDArray[np.int32] = field(eq=False)
    weight: NDArray[np.int32] = field(eq=False)
    limit: int

    @property
    def second(self) -> NDArray[np.int32]:
        """(n,) int32, the second neighbour; at the far side, the first again."""
        found: NDArray[np.int32] = np.minimum(self.first + 1, self.limit - 1)
        return found

    @cached_property
    def along(self) -> tuple[NDArray[np.int32], NDArray[np.int16], NDArray[np.int8]]:
        """Columns for the compiled loop: runs of samples that are consecutive in the source, and two forms of weights.

        The first is in 1/65536. The second, (2, samples, 2), splits n/2048 into n // 16 and n % 16, with the weights of
        both pixels for each.
        """
        breaks = np.flatnonzero(np.diff(self.first) != 1) + 1
        starts = np.concatenate([[0], breaks])
        ends = np.concatenate([breaks, [len(self.first)]])
        runs = np.stack([starts, ends, self.first[starts] - starts], axis=1).astype(np.int32) * np.int32(_CHANNELS)
        weight = np.repeat(self.weight, _CHANNELS)
        coarse, fine = weight >> 4, weight & 15
        pairs = np.stack([np.stack([127 - coarse, coarse], axis=1), np.stack([16 - fine, fine], axis=1)])
        return runs, (weight * (65536 // _ONE)).astype(np.uint16).view(np.int16), pairs.astype(np.int8)

    @cached_property
    def across(self) -> tuple[NDArray[np.int32], NDArray[np.int16]]:
        """Rows for the compiled loop: both source rows of every output row, and their weights in 1/2048."""
        rows = np.stack([self.first, self.second], axis=1).astype(np.int32)
        return rows, np.stack([_ONE - self.weight, self.weight], axis=1).astype(np.int16)


@lru_cache(maxsize=2048)  # as many as the tile columns and rows of a wide slide; 10 kB each at 299 pixels
def taps(start: float, step: float, count: int, limit: int) -> Taps:
    """The taps of `count` output pixels, each `step` source pixels wide, starting at `start`; `limit` source pixels.

    The first and last source pixels are repeated beyond the ends.
    """
    found = lead(start, step)
    if found is None:
        position = start + (np.arange(count) + 0.5) * step - 0.5
        first = np.floor(position)
        fraction = (position - first).astype(np.float32)
    else:
        skip, whole = found
        # In the same precision as OpenCV.
        near = ((np.arange(skip, skip + count) + 0.5) * (1 / (1 / step)) - 0.5).astype(np.float32)
        first = np.floor(near)
        fraction = near - first
        first = first + whole
    weight = np.rint(fraction * np.float32(_ONE)).astype(np.int32)
    index = first.astype(np.int32) + (weight == _ONE)
    weight[(weight == _ONE) | (index < 0) | (index >= limit - 1)] = 0
    index = np.clip(index, 0, limit - 1)
    return Taps(index, weight, limit)


@lru_cache(maxsize=2048)
def lead(start: float, step: float) -> tuple[int, int] | None:
    """How many output pixels before `start` there is a whole source pixel, and which one; None if none is close."""
    if step < 1:
        return None
    for skip in range(_LONGEST_LEAD):
        first = start - skip * step
        if abs(first - round(first)) < _LEAD_ERROR:
            return skip, round(first)
    return None


def linear(mosaic: Mosaic, *, x: Taps, y: Taps, out: Rgb) -> None:
    """The window of a mosaic, interpolated at the taps.

    Args:
        mosaic: its window has as many columns and rows as the limits of the taps.
        x: of the columns.
        y: of the rows.
        out: (n of y, n of x, 3) uint8; written to.
    """
    linear_each([(mosaic, x, y, out)])


def linear_each(tasks: Sequence[tuple[Mosaic, Taps, Taps, Rgb]]) -> None:
    """`linear` for many windows: their mosaic, x, y and out. The compiled loop does all without the interpreter.

    Of an `out` with half as many pixels along both axes as there are taps, each is the mean of four interpolated ones,
    rounded half up.
    """
    if COMPILED:
        results = [out if out.flags.c_contiguous else np.empty(out.shape, np.uint8) for *_, out in tasks]
        _kernels.linear(
            [
                (*in_the_kernels(mosaic), x.along, y.across, result, _halves(x, y, result))
                for (mosaic, x, y, _), result in zip(tasks, results, strict=True)
            ]
        )
        for (*_, out), result in zip(tasks, results, strict=True):
            if result is not out:
                out[...] = result
    else:
        for mosaic, x, y, out in tasks:
            fine = linear_in_numpy(mosaic.image(), x=x, y=y)
            out[...] = _halved(fine) if _halves(x, y, out) else fine


def _halves(x: Taps, y: Taps, out: Rgb) -> bool:
    return (len(y.first), len(x.first)) == (2 * out.shape[0], 2 * out.shape[1])


def _halved(rgb: Rgb) -> Rgb:
    wide = rgb.astype(np.uint16)
    rows = wide[::2] + wide[1::2]
    return ((rows[:, ::2] + rows[:, 1::2] + 2) >> 2).astype(np.uint8)


def in_the_kernels(
    mosaic: Mosaic,
) -> tuple[list[Rgb | None], tuple[int, int, int], tuple[int, int, int, int], tuple[int, int]]:
    """A mosaic as the compiled loops take it: its tiles, grid, window and end."""
    tile, window, end = mosaic.tile, mosaic.window, mosaic.end
    grid = (mosaic.columns, tile.height, tile.width)
    return list(mosaic.tiles), grid, (mosaic.left, mosaic.top, window.width, window.height), (end.width, end.height)


def linear_in_numpy(rgb: Rgb, *, x: Taps, y: Taps) -> Rgb:
    """`linear` of a whole image, without the compiled loop."""
    weight = x.weight[None, :, None]
    lines = np.take(rgb, x.first, axis=1) * (_ONE - weight)
    lines += np.take(rgb, x.second, axis=1) * weight
    lines >>= 4
    weight = y.weight[:, None, None]
    above = np.take(lines, y.first, axis=0) * (_ONE - weight) >> 16
    below = np.take(lines, y.second, axis=0) * weight >> 16
    result: Rgb = ((above + below + 2) >> 2).astype(np.uint8)
    return result
