"""Macenko et al. 2009, "A method for normalizing histology slides for quantitative analysis", ISBI, 1107-1110.

The stain colours of an image are the two extreme directions of its optical densities within the plane of the two main
eigenvectors; concentrations are found by least squares. All sizes and constants: docs/explanation/stain.md.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain.base import Method
from slideloom_stain.density import MIN_TISSUE_PX, TISSUE_DENSITY, Table, brightness_table, density_table
from slideloom_stain.fits import MacenkoFit, Unfit
from slideloom_stain.loops import Floats, Ranks
from slideloom_stain.scratch import scratch

ANGLE_PERCENTILE = 1.0  # and 99
STRENGTH_PERCENTILE = 99.0
# Below this angle the two stain vectors are the same stain: least squares would amplify noise twentyfold.
MIN_ANGLE_DEGREES = 3.0
# A weaker 99th percentile of concentrations would be scaled up more than tenfold.
MIN_STRENGTH = 0.1
_AHEAD = 1e-6
_UNIT = 2.0**-18  # of densities as whole numbers; the highest one, of black, is below 2^21
_LOG_WHITE = math.log(255.0)
_MOST_EXPONENT = 80.0  # the exponential of more, or its inverse, is no float32 any more


@frozen
class MacenkoStatistics:
    """Statistics of an image for Macenko's method.

    Attributes:
        brightness: (256,) the new value of each uint8 value, applied first.
        density: (256,), the optical density of each value after that.
        stains: stain matrix (3, 2), rows R, G, B, columns haematoxylin and eosin, unit length.
        unmix: (2, 3), the pseudo-inverse of the stain matrix, which gives concentrations from densities.
        strengths: (2,), the 99th percentile of each stain's concentration.
    """

    brightness: Table = field(eq=False)
    density: Table = field(eq=False)
    stains: NDArray[np.float64] = field(eq=False)
    unmix: NDArray[np.float64] = field(eq=False)
    strengths: NDArray[np.float64] = field(eq=False)


class Macenko(Method[MacenkoStatistics, MacenkoFit]):
    """`macenko`, and `macenko-fast` without the brightness step."""

    def __init__(self, name: str, *, standardise: bool) -> None:
        super().__init__(name)
        self.standardise = standardise

    def measure(self, rgb: Rgb) -> MacenkoStatistics:
        """See `Method.measure`."""
        brightness = brightness_table(rgb, standardise=self.standardise, loops=self.loops)
        density = density_table(brightness)
        # Density falls as the value rises, so "at least this dense" means "no value above the brightest of tissue".
        brightest = int(np.count_nonzero(density >= TISSUE_DENSITY)) - 1
        whole = np.rint(density / _UNIT).astype(np.float32)
        least = float(whole[max(brightest, 0)])
        planes = np.asarray(scratch("planes", (3, rgb.shape[0] * rgb.shape[1])), np.float32)
        moments = self.loops.densities(rgb, whole, least, planes)
        count = moments[0] if brightest >= 0 else 0
        if count < MIN_TISSUE_PX:
            raise Unfit(f"{count} pixels of tissue, at least {MIN_TISSUE_PX} are needed")
        stains = self._stains(planes, moments, least)
        unmix = _pseudo_inverse(stains)
        ranks = Ranks.of_percentile(planes.shape[1], STRENGTH_PERCENTILE)
        found = self.loops.largest(planes, np.ascontiguousarray(unmix * _UNIT, np.float32), ranks)
        strengths = np.array([ranks.between(pair) for pair in found])
        if strengths.min() < MIN_STRENGTH:
            raise Unfit(f"stain strengths {strengths.round(3).tolist()}, at least {MIN_STRENGTH} are needed")
        return MacenkoStatistics(brightness, density, stains, unmix, strengths)

    def fit_of(self, statistics: MacenkoStatistics) -> MacenkoFit:
        """See `Method.fit_of`."""
        return MacenkoFit(statistics.stains, statistics.strengths)

    def render(self, rgb: Rgb, statistics: MacenkoStatistics, fit: MacenkoFit, out: Rgb | None = None) -> Rgb:
        """See `Method.render`.

        A channel's new value is the exponential of a sum with one term for each of the pixel's three values, so it is a
        product of three numbers from tables. In float32 it is within 1e-4 grey levels before it is rounded.
        """
        out = np.empty(rgb.shape, np.uint8) if out is None else out
        scaled = fit.stain_matrix_target * (fit.target_concentrations / statistics.strengths)
        through = scaled @ statistics.unmix  # (of the result, of the pixel)
        exponents = np.zeros((3, 256, 4))
        np.multiply(-through.T[:, None, :], statistics.density[:, None], out=exponents[:, :, :3])
        exponents[0, :, :3] += _LOG_WHITE
        if statistics.density[0] * np.abs(through).sum() + _LOG_WHITE > _MOST_EXPONENT:
            return _far_exponentials(rgb, exponents[:, :, :3], out)
        factors = np.exp(exponents, out=exponents).astype(np.float32)
        self.loops.multiplied(rgb, factors, out)
        return out

    def _stains(self, planes: Floats, moments: list[int], least: float) -> NDArray[np.float64]:
        """The stain matrix (3, 2) of the tissue's densities."""
        plane = _principal_plane(moments)
        directions = np.ascontiguousarray(plane.T * _UNIT, np.float32)
        ranks = Ranks.of_percentile(moments[0], 100 - ANGLE_PERCENTILE)
        # The slope increases with the angle and costs far less to compute.
        slopes = self.loops.largest_slopes(planes, directions, ranks, least=least, ahead=_AHEAD)
        if slopes is None:
            high, low = (ranks.between(pair) for pair in _largest_angles(planes, directions, ranks, least))
        else:
            high, low = (ranks.between(map(math.atan, pair)) for pair in slopes.tolist())
        low = -low
        if high - low < math.radians(MIN_ANGLE_DEGREES):
            raise Unfit(f"only one stain: both colours lie within {math.degrees(high - low):.1f} degrees")
        ends: NDArray[np.float64] = plane @ np.array([[math.cos(low), math.cos(high)], [math.sin(low), math.sin(high)]])
        # Haematoxylin absorbs more red light than eosin.
        return ends if ends[0, 0] > ends[0, 1] else ends[:, ::-1]


def _principal_plane(moments: list[int]) -> NDArray[np.float64]:
    """(3, 2) the two main directions of the tissue's densities; the first points towards higher density."""
    count, *sums = moments[:4]
    products = iter(moments[4:])
    covariance = np.zeros((3, 3))
    for row in range(3):
        for column in range(row, 3):
            # Of whole numbers, so exact before it becomes a float.
            scatter = count * next(products) - sums[row] * sums[column]
            covariance[column, row] = scatter / count**2 * _UNIT**2
    main: NDArray[np.float64] = np.linalg.eigh(covariance)[1][:, :0:-1]  # of the lower triangle, largest first
    main[:, 0] *= 1 if main[:, 0].sum() >= 0 else -1
    return main


def _largest_angles(planes: Floats, directions: Floats, ranks: Ranks, least: float) -> NDArray[np.float64]:
    """`Loops.largest_slopes` for angles, which may be of any size."""
    tissue = planes[:, (planes >= np.float32(least)).all(axis=0)]
    along, across = ((tissue[0] * x + tissue[1] * y) + tissue[2] * z for x, y, z in directions)
    angles = np.sort(np.arctan2(across.astype(np.float64), along))
    wanted = [ranks.first, ranks.need - 1]
    return np.stack([angles[::-1][wanted], -angles[wanted]])


def _pseudo_inverse(stains: NDArray[np.float64]) -> NDArray[np.float64]:
    """(2, 3) the pseudo-inverse of a matrix (3, 2) whose columns are not parallel: the normal equations."""
    (a, b), (_, c) = (stains.T @ stains).tolist()
    inverse: NDArray[np.float64] = np.array([[c, -b], [-b, a]]) @ stains.T / (a * c - b * b)
    return inverse


def _far_exponentials(rgb: Rgb, exponents: NDArray[np.float64], out: Rgb) -> Rgb:
    """What the product of exponentials is where some of them are no float32: stains that are nearly the same."""
    total = sum(exponents[channel].take(rgb[..., channel], axis=0) for channel in range(3))
    out[...] = np.rint(np.exp(np.minimum(total, _LOG_WHITE)))
    return out
