"""Reinhard et al. 2001, "Color transfer between images", IEEE Computer Graphics and Applications 21(5), 34-41.

The mean and standard deviation of each axis become those of the fit; here in CIE L*a*b*, as is usual in histology.
"""

from __future__ import annotations

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Mask, Rgb

from slideloom_stain import lab
from slideloom_stain.base import Goal, Method, goal_of
from slideloom_stain.density import MIN_TISSUE_PX, Table, brightness_table
from slideloom_stain.fits import ReinhardFit, Unfit
from slideloom_stain.loops import Floats
from slideloom_stain.opencv import cv2
from slideloom_stain.scratch import scratch

TISSUE_LIGHTNESS = 93.0  # a pixel of at least this L* is white
CUT_TOLERANCE = 1e-3  # what a value may lie below a whole number that it is meant to be, in grey levels
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
        return self._measure(self._roots(rgb, brightness), brightness)

    def fit_of(self, statistics: ReinhardStatistics) -> ReinhardFit:
        """See `Method.fit_of`."""
        return ReinhardFit(statistics.means, statistics.stds)

    def render(self, rgb: Rgb, statistics: ReinhardStatistics, fit: ReinhardFit, out: Rgb | None = None) -> Rgb:
        """See `Method.render`."""
        return self._render(rgb, self._roots(rgb, statistics.brightness), statistics, fit, out)

    def normalize(self, rgb: Rgb, goal: Goal, out: Rgb | None = None) -> Rgb:
        """See `Method.normalize`; the roots are computed once for measuring and rendering."""
        brightness = brightness_table(rgb, standardise=self.standardise, loops=self.loops)
        roots = self._roots(rgb, brightness)
        statistics = self._measure(roots, brightness)
        return self._render(rgb, roots, statistics, goal_of(goal, statistics), out)

    def _roots(self, rgb: Rgb, brightness: Table) -> Floats:
        return lab.roots_of(rgb, self._cut(brightness))

    def _cut(self, brightness: Table) -> Table:
        """Whole numbers, as where the presets come from: a pixel at the limit of white is on the same side then."""
        return np.floor(brightness + CUT_TOLERANCE) if self.cuts else brightness

    def _measure(self, roots: Floats, brightness: Table) -> ReinhardStatistics:
        values = lab.lab_of_roots(roots)
        tissue = self._tissue(roots).view(np.uint8)
        if (count := cv2.countNonZero(tissue)) < MIN_TISSUE_PX:
            raise Unfit(f"{count} pixels of tissue, at least {MIN_TISSUE_PX} are needed")
        mask = tissue if self.on_tissue else None
        means, stds = (column.ravel() for column in cv2.meanStdDev(values, mask=mask))
        if (stds < MIN_STD).any():
            raise Unfit(
                f"standard deviations {stds.round(2).tolist()} of L*, a*, b*, at least {MIN_STD.tolist()} are needed"
            )
        return ReinhardStatistics(brightness, means, stds)

    def _render(
        self, rgb: Rgb, roots: Floats, statistics: ReinhardStatistics, fit: ReinhardFit, out: Rgb | None
    ) -> Rgb:
        # New L*a*b* = scale * (old - means) + target means, and both are affine in the roots.
        scale = fit.target_stds / statistics.stds
        matrix = lab.LAB_TO_ROOTS @ (scale[:, None] * lab.ROOTS_TO_LAB)
        shift = scale * (lab.LAB_OFFSET - statistics.means) + fit.target_means - lab.LAB_OFFSET
        change = np.column_stack([matrix, lab.LAB_TO_ROOTS @ shift])
        if not self.masked:
            return lab.rgb_of_roots(roots, change, out)
        changed = lab.rgb_of_roots(roots, change)
        return lab.keep_white(changed, rgb, self._cut(statistics.brightness), self._tissue(roots), out)

    @staticmethod
    def _tissue(roots: Floats) -> Mask:
        root_of_y = cv2.extractChannel(roots, 1, scratch("plane", roots.shape[:2]))
        tissue: Mask = root_of_y < np.float32((TISSUE_LIGHTNESS + 16) / 116)
        return tissue
