"""Reinhard et al. 2001, "Color transfer between images", IEEE Computer Graphics and Applications 21(5), 34-41.

The mean and standard deviation of each axis become those of the fit; here in CIE L*a*b*, as is usual in histology.
"""

from __future__ import annotations

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain import density, lab
from slideloom_stain.base import Goal, Method, goal_of
from slideloom_stain.density import MIN_TISSUE_PX, Table, brightness_table
from slideloom_stain.fits import ReinhardFit, Unfit
from slideloom_stain.loops import Floats, White
from slideloom_stain.scratch import scratch

TISSUE_LIGHTNESS = 93.0  # a pixel of at least this L* is white
CUT_TOLERANCE = 1e-3  # what a value may lie below a whole number that it is meant to be, in grey levels
_LIMIT = (TISSUE_LIGHTNESS + 16) / 116  # of the root of Y
_LAB_SCALE = np.array([116.0, 500.0, 200.0]) * 2.0**-20
_LINEAR = lab.linear_light(density.IDENTITY / 255.0).astype(np.float32)
# An image with less contrast is empty or of one colour, and its noise would be turned into stain.
MIN_STD = np.array([3.0, 0.75, 0.75])


@frozen
class ReinhardStatistics:
    """Statistics of an image for Reinhard's method.

    Attributes:
        brightness: (256,) the new value of each uint8 value, applied first.
        means: (3,) means of L*, a*, b*.
        stds: (3,) population standard deviations of L*, a*, b*.
    """

    brightness: Table = field(eq=False)
    means: NDArray[np.float64] = field(eq=False)
    stds: NDArray[np.float64] = field(eq=False)


class Reinhard(Method[ReinhardStatistics, ReinhardFit]):
    """`reinhard` and its forms.

    Args:
        name: of the method.
        standardise: with the brightness step.
        masked: white pixels stay as they are.
        on_tissue: they do not count for the statistics either.
    """

    def __init__(self, name: str, *, standardise: bool, masked: bool = False, on_tissue: bool = False) -> None:
        super().__init__(name)
        self.standardise = standardise
        self.masked = masked
        self.on_tissue = on_tissue
        self.cuts = standardise and masked and not on_tissue

    def measure(self, rgb: Rgb) -> ReinhardStatistics:
        """See `Method.measure`."""
        brightness = brightness_table(rgb, standardise=self.standardise, loops=self.loops)
        return self._statistics(self._roots(rgb, brightness), rgb.size // 3, brightness)

    def fit_of(self, statistics: ReinhardStatistics) -> ReinhardFit:
        """See `Method.fit_of`."""
        return ReinhardFit(statistics.means, statistics.stds)

    def render(self, rgb: Rgb, statistics: ReinhardStatistics, fit: ReinhardFit, out: Rgb | None = None) -> Rgb:
        """See `Method.render`."""
        self._roots(rgb, statistics.brightness)
        return self._render(rgb, statistics, fit, out)

    def normalize(self, rgb: Rgb, goal: Goal, out: Rgb | None = None) -> Rgb:
        """See `Method.normalize`; the roots are computed once for measuring and rendering."""
        statistics = self.measure(rgb)
        return self._render(rgb, statistics, goal_of(goal, statistics), out)

    def _cut(self, brightness: Table) -> Table:
        """Whole numbers, as where the presets come from: a pixel at the limit of white is on the same side then."""
        return np.floor(brightness + CUT_TOLERANCE) if self.cuts else brightness

    def _roots(self, rgb: Rgb, brightness: Table) -> list[int]:
        """Their moments; the roots themselves are left in this thread's scratch memory, for `_render`."""
        unchanged = brightness is density.IDENTITY
        linear = _LINEAR if unchanged else lab.linear_light(self._cut(brightness) / 255.0).astype(np.float32)
        return self.loops.roots(rgb, linear, _LIMIT, _planes(rgb), on_tissue=self.on_tissue)

    def _statistics(self, moments: list[int], count: int, brightness: Table) -> ReinhardStatistics:
        tissue, x, y, z, *squares = moments
        if tissue < MIN_TISSUE_PX:
            raise Unfit(f"{tissue} pixels of tissue, at least {MIN_TISSUE_PX} are needed")
        count = tissue if self.on_tissue else count
        # L*, a* and b* are these differences of roots, in units of 2^-20, times a scale.
        sums = (y, x - y, y - z)
        means = np.array([of / count for of in sums]) * _LAB_SCALE + lab.LAB_OFFSET
        # Of whole numbers, so exact before it becomes a float.
        variances = [(count * square - of * of) / count**2 for of, square in zip(sums, squares, strict=True)]
        stds = np.sqrt(variances) * _LAB_SCALE
        if (stds < MIN_STD).any():
            raise Unfit(
                f"standard deviations {stds.round(2).tolist()} of L*, a*, b*, at least {MIN_STD.tolist()} are needed"
            )
        return ReinhardStatistics(brightness, means, stds)

    def _render(self, rgb: Rgb, statistics: ReinhardStatistics, fit: ReinhardFit, out: Rgb | None) -> Rgb:
        # New L*a*b* = scale * (old - means) + target means, and both are affine in the roots.
        scale = fit.target_stds / statistics.stds
        matrix = lab.LAB_TO_ROOTS @ (scale[:, None] * lab.ROOTS_TO_LAB)
        shift = scale * (lab.LAB_OFFSET - statistics.means) + fit.target_means - lab.LAB_OFFSET
        change = np.column_stack([matrix, lab.LAB_TO_ROOTS @ shift]).astype(np.float32)
        out = np.empty(rgb.shape, np.uint8) if out is None else out
        white = None
        if self.masked:
            bright = np.rint(self._cut(statistics.brightness)).astype(np.uint8)
            white = White(_LIMIT, rgb, bright)
        self.loops.colours(_planes(rgb), change, out, white)
        return out


def _planes(rgb: Rgb) -> Floats:
    return np.asarray(scratch("planes", (3, rgb.shape[0] * rgb.shape[1])), np.float32)
