# ruff: noqa: D102 - operations are named as numpy names them
"""Functions on tensors, written once for PyTorch and TensorFlow: `Ops` gives each operation in the library's own form.

Images are planar, (B, 3, N) float32 with values 0-255; a fit is a vector, (B or 1, n), in the order of `draws.flat`.
All shapes are known beforehand and nothing branches on values, so PyTorch can compile the functions and TensorFlow can
trace them. Tiles that cannot be measured give `ok` False and finite values that are not used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Protocol

from slideloom_stain.density import BRIGHT_PERCENTILE

Tensor = Any  # a tensor of PyTorch or TensorFlow; neither can be named here without importing it

NEVER = -1e30  # stands for minus infinity, whose gradients would be NaN


class Ops(Protocol):
    """The operations that the methods need. Names and meanings are numpy's unless stated otherwise."""

    def exp(self, x: Tensor) -> Tensor: ...
    def log(self, x: Tensor) -> Tensor: ...
    def sqrt(self, x: Tensor) -> Tensor: ...
    def cos(self, x: Tensor) -> Tensor: ...
    def sin(self, x: Tensor) -> Tensor: ...
    def floor(self, x: Tensor) -> Tensor: ...
    def arctan2(self, y: Tensor, x: Tensor) -> Tensor: ...
    def minimum(self, x: Tensor, y: Tensor) -> Tensor: ...
    def maximum(self, x: Tensor, y: Tensor) -> Tensor: ...
    def where(self, condition: Tensor, x: Tensor, y: Tensor) -> Tensor: ...
    def matmul(self, x: Tensor, y: Tensor) -> Tensor: ...
    def transpose(self, x: Tensor) -> Tensor:
        """The last two axes swapped."""

    def stack(self, parts: list[Tensor], axis: int) -> Tensor: ...
    def concatenate(self, parts: list[Tensor], axis: int) -> Tensor: ...
    def reshape(self, x: Tensor, shape: tuple[int, ...]) -> Tensor: ...
    def sum(self, x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor: ...
    def amax(self, x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor: ...
    def amin(self, x: Tensor, axis: int, *, keepdims: bool = False) -> Tensor: ...
    def cumsum(self, x: Tensor) -> Tensor:
        """Along the last axis."""

    def eigenvectors(self, x: Tensor) -> Tensor:
        """Eigenvectors of symmetric matrices as columns, in order of increasing eigenvalue."""

    def single(self, x: Tensor) -> Tensor:
        """As float32."""

    def double(self, x: Tensor) -> Tensor:
        """As float64."""

    def integer(self, x: Tensor) -> Tensor:
        """As int64."""

    def constant(self, values: Any, like: Tensor) -> Tensor:
        """float32, on the device of `like`."""

    def arange(self, count: int, like: Tensor) -> Tensor:
        """(1, count) int64, on the device of `like`."""

    def length(self, x: Tensor) -> Any:
        """The size of the last axis: an int, or a scalar tensor where a graph does not know it."""

    def top(self, x: Tensor, count: Any) -> Tensor:
        """The largest `count` values along the last axis, largest first."""

    def at(self, x: Tensor, index: Tensor) -> Tensor:
        """`x[i, index[i]]` for x (B, n) and index (B,) or (B, m)."""

    def counts(self, x: Tensor) -> Tensor:
        """(B, 256) int64, how often each value 0-255 occurs in each row of (B, n) whole-numbered floats."""

    def find(self, sorted_rows: Tensor, values: Tensor) -> Tensor:
        """Per row, the first position whose entry is at least the value; (B, n), (B, m) -> (B, m) int64."""

    def repeat(self, rounds: int, step: Any, state: Tensor) -> Tensor:
        """`state = step(state)`, `rounds` times."""

    def xor(self, x: Tensor, y: Tensor) -> Tensor: ...
    def still(self, x: Tensor) -> Tensor:
        """The same values, without a gradient."""

    def whole(self, x: Any) -> Any:
        """A Python number or scalar tensor, truncated to an integer."""


def upper_percentile(ops: Ops, values: Tensor, *, count: Tensor, percent: float) -> Tensor:
    """Exact high percentiles, with linear interpolation like numpy's.

    Args:
        ops: operations of the tensor library.
        values: (B, n); values that do not count are `NEVER`.
        count: (B,) float, number of values that count.
        percent: which percentile, 50-100.

    Returns:
        (B,).
    """
    length = ops.length(values)
    share = 1 - percent / 100
    # Two values are needed, and a third because float32 may round the position down by one.
    top = ops.top(values, ops.whole(ops.single(length - 1) * share) + 3)
    position = ops.maximum((count - 1) * share, 0.0 * count)
    whole = ops.floor(position)
    high, low = (
        ops.at(top, ops.integer(whole)),
        ops.at(top, ops.integer(ops.minimum(whole + 1, ops.maximum(count - 1, whole)))),
    )
    return high + (low - high) * (position - whole)


def all_count(ops: Ops, values: Tensor) -> Tensor:
    """(B,) float: the number of values in each row."""
    return 0.0 * values[:, 0] + ops.single(ops.length(values))


def each(x: Tensor) -> Tensor:
    """(B,) as (B, 1, 1)."""
    return x[:, None, None]


def power(ops: Ops, x: Tensor, exponent: float) -> Tensor:
    """`x ** exponent` for positive numbers, faster than either library's own."""
    return ops.exp(ops.log(x) * exponent)


def bright_scale(ops: Ops, x: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
    """(B,) the factor that makes the 90th percentile white, and (B,) bool where there is one.

    Args:
        ops: operations of the tensor library.
        x: (B, 3, N).
        whole: whether all values are whole numbers, which can be counted instead of ranked.
    """
    values = ops.reshape(x, (-1, 3 * ops.length(x)))
    count = all_count(ops, values)
    if whole:
        total = ops.cumsum(ops.counts(values))
        position = (count - 1) * (BRIGHT_PERCENTILE / 100)
        below = ops.floor(position)
        # The value at a rank is the number of values whose cumulative count does not exceed the rank.
        low, high = (ops.sum(ops.single(total <= ops.integer(rank)[:, None]), 1) for rank in (below, below + 1))
        bright = low + (high - low) * (position - below)
    else:
        bright = upper_percentile(ops, values, count=count, percent=BRIGHT_PERCENTILE)
    return 255.0 / ops.maximum(bright, 0.0 * bright + 1), bright >= 1


def brightened(ops: Ops, x: Tensor, scale: Tensor) -> Tensor:
    """Values after the brightness step, 0-255."""
    return ops.minimum(x * each(scale), 0.0 * x + 255)


def density(ops: Ops, x: Tensor) -> Tensor:
    """Natural-log optical density of values 0-255."""
    return -ops.log((x + 1.0) / 255.0)


def linear_light(ops: Ops, value: Tensor) -> Tensor:
    """Linear light 0-1 of sRGB values 0-1."""
    return ops.where(value <= 0.04045, value / 12.92, power(ops, (value + 0.055) / 1.055, 2.4))


def hsv_shifted(ops: Ops, x: Tensor, shifts: Tensor) -> Tensor:
    """See `slideloom_stain.hsv.shifted`; x (B, 3, N) 0-255, shifts (B, 3)."""
    red, green, blue = x[:, 0] / 255.0, x[:, 1] / 255.0, x[:, 2] / 255.0
    value, least = ops.amax(x, 1) / 255.0, ops.amin(x, 1) / 255.0
    delta = value - least
    safe = ops.where(delta > 0, delta, 0.0 * delta + 1)
    sector = ops.where(
        value == red,
        (green - blue) / safe,
        ops.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    sector = sector + 6 * shifts[:, 0, None]
    saturation = delta / ops.where(value > 0, value, 0.0 * value + 1) * (1 + shifts[:, 1, None])
    saturation = ops.minimum(saturation, 0.0 * saturation + 1)
    value = ops.minimum(value * (1 + shifts[:, 2, None]), 0.0 * value + 1)

    def channel(number: int) -> Tensor:
        place = (sector + number) % 6
        ramp = ops.minimum(ops.minimum(place, 4 - place), 0.0 * place + 1)
        return value - value * saturation * ops.maximum(ramp, 0.0 * ramp)

    return 255.0 * ops.stack([channel(number) for number in (5, 3, 1)], 1)


def drawn_uniform(ops: Ops, seed: int, slide: int, index: Tensor, count: int) -> Tensor:
    """Like `draws.uniform`; index (B,) int64 -> (B, count) float64."""
    from slideloom_stain.draws import uniform_bits

    bits = uniform_bits((seed & 0xFFFFFFFF, slide, index[:, None]), arange=ops.arange(count, index), xor=ops.xor)
    return (ops.double(bits) + 0.5) / 2.0**32


def drawn_flat_fits(ops: Ops, centre: Tensor, spread: Sequence[Tensor], uniform: Tensor) -> Tensor:
    """Random targets (B, n) float32 as `draws.drawn_fit` makes them.

    Args:
        ops: the library.
        centre: (B or 1, n).
        spread: deviation, lowest and share of a `draws.Spread`, each (n,).
        uniform: (B, 2 n).
    """
    deviation, lowest, share = spread
    count = centre.shape[-1]
    normal = ops.sqrt(-2 * ops.log(uniform[:, :count])) * ops.cos(2 * math.pi * uniform[:, count:])
    drawn = centre + deviation * ops.single(normal)
    return ops.maximum(drawn, lowest + share * centre + 0.0 * drawn)
