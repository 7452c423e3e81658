"""The mean over each output pixel's footprint, with exact weights: compiled, or in numpy with the same result.

Both forms compute in float32, rows first, tap by tap; every product and sum is rounded by itself.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Rgb
from slideloom.pixels.linear import COMPILED, in_the_kernels
from slideloom.pixels.mosaic import Mosaic

if COMPILED:
    from slideloom.pixels import _kernels


@frozen
class Footprints:
    """The source pixels, with their weights, of every output pixel along one axis.

    Attributes:
        index: (n, taps) int32, within the source.
        weight: (n, taps) float32; each row's sum is 1.
    """

    index: NDArray[np.int32] = field(eq=False)
    weight: NDArray[np.float32] = field(eq=False)


def footprints(start: float, length: float, *, count: int, limit: int) -> Footprints:
    """The footprints of `count` output pixels in `length` source pixels from `start`; `limit` source pixels.

    If pixels grow, the taps are those of linear interpolation at their centres. The first and last source pixels are
    repeated beyond the ends.
    """
    step = length / count
    edges = start + step * np.arange(count + 1, dtype=np.float64)
    if step < 1:
        centre = (edges[:-1] + edges[1:]) / 2 - 0.5
        first = np.floor(centre).astype(np.intp)
        fraction = (centre - first).astype(np.float32)
        pairs = [(first, 1 - fraction), (first + 1, fraction)]
    else:
        first = np.floor(edges[:-1]).astype(np.intp)
        pairs = []
        for tap in range(math.ceil(step) + 1):
            left = np.maximum(edges[:-1], first + tap)
            right = np.minimum(edges[1:], first + tap + 1)
            pairs.append((first + tap, (np.maximum(right - left, 0) / step).astype(np.float32)))
    used = [(np.clip(index, 0, limit - 1), weight) for index, weight in pairs if weight.any()]
    index, weight = (np.stack(column, axis=1) for column in zip(*used, strict=True))
    return Footprints(index.astype(np.int32), weight)


def area(mosaic: Mosaic, *, x: Footprints, y: Footprints, out: Rgb) -> None:
    """The weighted means of the window of a mosaic, rounded half up.

    Args:
        mosaic: its window has as many columns and rows as the limits of the footprints.
        x: of the columns.
        y: of the rows.
        out: (n of y, n of x, 3) uint8; written to.
    """
    if COMPILED:
        columns, rows = ((axis.index, axis.weight, axis.index.shape[1]) for axis in (x, y))
        result = out if out.flags.c_contiguous else np.empty(out.shape, np.uint8)
        _kernels.area(*in_the_kernels(mosaic), columns, rows, result)
        if result is not out:
            out[...] = result
    else:
        out[...] = area_in_numpy(mosaic.image(), x=x, y=y)


def area_in_numpy(rgb: Rgb, *, x: Footprints, y: Footprints) -> Rgb:
    """`area` of a whole image, without the compiled loop."""
    exact = _summed(_summed(rgb.astype(np.float32), y, axis=0), x, axis=1)
    rounded: Rgb = np.clip(np.floor(exact + np.float32(0.5)), 0, 255).astype(np.uint8)
    return rounded


def _summed(image: NDArray[np.float32], footprints: Footprints, *, axis: int) -> NDArray[np.float32]:
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    index, weight = footprints.index, footprints.weight
    total: NDArray[np.float32] = np.take(image, index[:, 0], axis=axis) * weight[:, 0].reshape(shape)
    for tap in range(1, index.shape[1]):
        total += np.take(image, index[:, tap], axis=axis) * weight[:, tap].reshape(shape)
    return total
