"""The loops over pixels, compiled where a compiler was there at installation, else in numpy, with the same results.

Both forms give the same bits. Every product, sum and quotient of a pixel is rounded to float32 by itself and in the
order written here; what is added over pixels are whole numbers, whose sum does not depend on the order.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Rgb

Floats = NDArray[np.float32]

SAMPLED = 64  # a bound for the largest values is found among one pixel in this many


@frozen
class Ranks:
    """Which of many values are wanted, counted from the largest, to interpolate between them.

    Attributes:
        first: 0 is the largest value.
        need: how many values there must be: one more than the last wanted rank.
        share: the percentile lies this share of the way from the first value to the second, 0-1.
    """

    first: int
    need: int
    share: float

    @classmethod
    def of_percentile(cls, count: int, percent: float) -> Ranks:
        """The ranks of a percentile of `count` values, with linear interpolation like numpy's."""
        position = (count - 1) * (1 - percent / 100)
        first = math.floor(position)
        return cls(first, min(first + 2, count), position - first)

    @property
    def margin(self) -> int:
        """How many sampled values a bound is to leave above it, so that it almost surely is below the wanted ones."""
        expected = self.need / SAMPLED
        return math.ceil(expected + 4 * math.sqrt(expected)) + 4

    def between(self, pair: Any) -> float:
        """The percentile out of both values."""
        first, second = map(float, pair)
        return first + (second - first) * self.share


class Loops(Protocol):
    """What both forms have."""

    def ranked(self, rgb: Rgb, rank: int) -> tuple[int, int]:
        """The values of `rank`, 0 for the smallest, and of the next one, if there is one, among all values."""

    def densities(self, rgb: Rgb, table: Floats, least: float, planes: Floats) -> list[int]:
        """Number, sums and sums of products over the tissue's densities.

        Args:
            rgb: (h, w, 3).
            table: (256,) the density of each value, a whole number below 2^21.
            least: a pixel is tissue if the density of every channel is at least this.
            planes: (3, h * w), filled with the densities of all pixels.

        Returns:
            The number of pixels; sums of R, G, B; sums of RR, RG, RB, GG, GB, BB.
        """

    def largest(self, planes: Floats, directions: Floats, ranks: Ranks) -> Floats:
        """(2, 2): for each direction, the values of both ranks among the projections of all pixels.

        Args:
            planes: (3, n).
            directions: (2, 3).
            ranks: of the values.
        """

    def largest_slopes(
        self, planes: Floats, directions: Floats, ranks: Ranks, *, least: float, ahead: float
    ) -> Floats | None:
        """(2, 2): the values of both ranks among the tissue's slopes, and among the opposites of these.

        The slope is the projection on the second direction divided by that on the first.

        Args:
            planes: (3, n).
            directions: (2, 3).
            ranks: of the values, of which there must be enough.
            least: as for `densities`.
            ahead: above 0.

        Returns:
            None if a pixel's projection on the first direction is not above `ahead`.
        """

    def multiplied(self, rgb: Rgb, factors: Floats, out: Rgb) -> None:
        """Write to `out` the nearest bytes of factors[0, red] * factors[1, green] * factors[2, blue], at most 255.

        Args:
            rgb: (h, w, 3).
            factors: (3, 256, 4), not negative, with finite products; the last column is not used.
            out: (h, w, 3), contiguous.
        """
