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

STRIP = 1024
# 2^x for -0.5 to 0.5, within 2.6e-6; the least largest relative error of degree 4.
POWERS = np.array([0.99999926, 0.69312181, 0.24024745, 0.05591786, 0.0095701], np.float32)
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
        return math.ceil(expected + 3 * math.sqrt(expected)) + 2

    def between(self, pair: Any) -> float:
        """The percentile out of both values."""
        first, second = map(float, pair)
        return first + (second - first) * self.share


@frozen
class White:
    """The pixels that are only brightened.

    Attributes:
        limit: they are those with a root of Y of at least this.
        rgb: (h, w, 3), the original pixels.
        bright: (256,) the new value of each of their values.
    """

    limit: float
    rgb: Rgb
    bright: NDArray[np.uint8]


@frozen
class Separation:
    """How pixels are separated into two stains and put together from two others.

    Attributes:
        density: (256,) the optical density of each value.
        maps: (4, 4) `free` of both stains and `alone` of both; see `slideloom_stain.learning.maps_of`.
        stains: (2, 3) the densities of the result's stains, times -1 / ln 2.
        luminance: (3, 256) int32, what each value of each channel adds to the luminance.
        limit: pixels with at least this luminance are only brightened.
        bright: (256,) uint8, what their values become.
    """

    density: Floats
    maps: Floats
    stains: Floats
    luminance: NDArray[np.int32]
    limit: int
    bright: NDArray[np.uint8]


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

    def roots(self, rgb: Rgb, linear: Floats, limit: float, planes: Floats, *, on_tissue: bool) -> list[int]:
        """Moments of the cube roots of X, Y and Z (with the linear toe of L*a*b*), as whole numbers of 2^-20.

        Args:
            rgb: (h, w, 3).
            linear: (256,) the linear light of each value, 0-1.
            limit: a pixel is tissue if the root of Y is below this.
            planes: (3, h * w), filled with the roots, which are within 7e-7 of the exact ones.
            on_tissue: whether only tissue counts.

        Returns:
            The number of pixels of tissue; of the pixels that count, sums of the roots of X, Y, Z, and sums of squares
            of those of Y, of X - Y and of Y - Z.
        """

    def colours(self, planes: Floats, change: Floats, out: Rgb, white: White | None) -> None:
        """Write to `out` the sRGB colours of the roots after an affine change.

        Args:
            planes: (3, h * w), the roots.
            change: (3, 4), the matrix and constant of the affine change.
            out: (h, w, 3), contiguous; colours outside sRGB are clipped per channel.
            white: pixels that are not changed.
        """

    def darker(self, rgb: Rgb, luminance: NDArray[np.int32], limit: int) -> NDArray[np.bool_]:
        """(h, w) bool, True where the luminance is below `limit`.

        Args:
            rgb: (h, w, 3).
            luminance: (3, 256) what each value of each channel adds to it, 0 to 2^28.
            limit: in its units.
        """

    def learned(
        self, planes: Floats, stains: NDArray[np.float64], *, penalty: float, rounds: int, passes: int
    ) -> NDArray[np.float64]:
        """(2, 3) stains after block coordinate descent; see `slideloom_stain.vahadane`.

        Args:
            planes: (3, n) the densities, n a multiple of 1024; zeros do not count.
            stains: (2, 3) where learning starts.
            penalty: weight of the sum of strengths.
            rounds: largest number of rounds; each updates the strengths, then the stains.
            passes: over both stains in a round.
        """

    def separated(self, rgb: Rgb, separation: Separation, out: Rgb) -> None:
        """Write to `out` (h, w, 3), contiguous, the pixels of `rgb` (h, w, 3) put together anew."""
