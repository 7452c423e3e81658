"""Vahadane's stains by block coordinate descent, in numpy; the compiled form does the same in the same order.

Sums over densities are made in eight sums side by side in each strip of 1024, in float32, which are then added in
float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from slideloom_stain.loops import STRIP, Floats

Row = list[float]
_BESIDE = 8
_STILL = 1e-6  # stains that change less are done


def learned(
    planes: Floats, stains: NDArray[np.float64], *, penalty: float, rounds: int, passes: int
) -> NDArray[np.float64]:
    """See `slideloom_stain.loops.Loops.learned`."""
    first, second = stains.tolist()
    for _ in range(rounds):
        maps = maps_of((first, second), penalty)
        if maps is None:
            break
        with_first, between, *rest = _products(planes, maps)
        pull_first, with_second, pull_second = rest[:3], rest[3], rest[4:]
        before = [*first, *second]
        for _ in range(passes):
            first = _improved(first, second, pull_first, with_first, between)
            second = _improved(second, first, pull_second, with_second, between)
        if max(abs(new - old) for new, old in zip([*first, *second], before, strict=True)) < _STILL:
            break
    return np.array([first, second])


def maps_of(stains: Sequence[Row], penalty: float) -> Floats | None:
    """Affine maps from a density (and 1); the sparse strength is the lesser of two of them, at least 0.

    Strengths c >= 0 minimise 0.5 |v - c D|^2 + penalty * sum(c). `free` is the minimum without the condition c >= 0;
    `alone` is the minimum with the other stain at zero. Because D >= 0, `free` is below `alone` exactly where the
    other stain is positive.

    Args:
        stains: the two stains, not negative.
        penalty: at least 0.

    Returns:
        (4, 4) float32: `free` of both stains, then `alone` of both. None if the stains are parallel or nothing.
    """
    first, second = stains
    a, b, c = _dot(first, first), _dot(first, second), _dot(second, second)
    det = a * c - b * b
    if not (a > 0 and c > 0 and det > 0):
        return None
    pairs = list(zip(first, second, strict=True))
    return np.array(
        [
            [*((c * x - b * y) / det for x, y in pairs), (b - c) * penalty / det],
            [*((a * y - b * x) / det for x, y in pairs), (b - a) * penalty / det],
            [*(x / a for x in first), -penalty / a],
            [*(y / c for y in second), -penalty / c],
        ]
    ).astype(np.float32)


def strengths_of(planes: Floats, maps: Floats) -> tuple[Floats, Floats]:
    """Both strengths of densities (3, ...): the lesser of two maps, at least 0."""
    free_first, free_second, alone_first, alone_second = (_affine(planes, row) for row in maps)
    return _lesser(free_first, alone_first), _lesser(free_second, alone_second)


def _lesser(free: Floats, alone: Floats) -> Floats:
    found: Floats = np.maximum(np.minimum(free, alone), np.float32(0))
    return found


def _affine(planes: Floats, row: Floats) -> Floats:
    value: Floats = planes[0] * row[0]
    value += planes[1] * row[1]
    value += planes[2] * row[2]
    value += row[3]
    return value


def _products(planes: Floats, maps: Floats) -> Row:
    """Sums of the first strength's products with itself, the second and R, G, B, and the second's likewise."""
    first, second = strengths_of(planes, maps)
    red, green, blue = planes
    factors = ([first] * 5 + [second] * 4, [first, second, red, green, blue, second, red, green, blue])
    products = np.stack(factors[0]) * np.stack(factors[1])
    rows = products.reshape(len(products), -1, STRIP // _BESIDE, _BESIDE)
    strips = np.add.accumulate(rows, axis=2)[:, :, -1].reshape(len(products), -1)
    totals: Row = np.add.accumulate(strips.astype(np.float64), axis=1)[:, -1].tolist()
    return totals


def _improved(row: Row, other: Row, pull: Row, with_itself: float, with_other: float) -> Row:
    """The best row while the other one is kept: not negative, and of at most unit length."""
    if not with_itself > 1e-12:  # a stain without strength is not changed
        return row
    wanted = [max((p - with_other * o) / with_itself, 0.0) for p, o in zip(pull, other, strict=True)]
    length = max(math.sqrt(_dot(wanted, wanted)), 1.0)
    return [w / length for w in wanted]


def _dot(a: Row, b: Row) -> float:
    return (a[0] * b[0] + a[1] * b[1]) + a[2] * b[2]
