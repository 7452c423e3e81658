"""Vahadane et al. 2016, IEEE Transactions on Medical Imaging 35(8), 1962-1971.

"Structure-preserving color normalization and sparse stain separation for histological images".

Densities V are factorised into two non-negative stains D and sparse non-negative strengths C:
min over D, C >= 0 of 0.5 |V - C D|^2 + penalty * sum(C), with rows of D of at most unit length. For two stains the best
C for a given D has a closed form (`slideloom_stain.learning.maps_of`), and D is found by block coordinate descent, so
no solver library is needed.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain import lab
from slideloom_stain.base import Method
from slideloom_stain.density import MIN_TISSUE_PX, Table, brightness_table, density_table
from slideloom_stain.fits import Unfit, VahadaneFit
from slideloom_stain.learning import maps_of, strengths_of
from slideloom_stain.loops import STRIP, Floats, Separation

STAIN_LIGHTNESS = 80.0  # stains are learnt from pixels below this L*
TISSUE_LIGHTNESS = 93.0  # pixels below this L* are changed
STAIN_PENALTY = 0.1  # in the factorisation
STRENGTH_PENALTY = 0.01  # for the strengths in the result; a larger one would make it paler
SAMPLE_PX = 16384
ROUNDS = 100
STAIN_PASSES = 5
# Rounding splits a single stain into two about 5 degrees apart; in real tiles two stains are at least 8 degrees apart.
MIN_ANGLE_DEGREES = 6.0
MIN_SHARE = 0.02  # of the strengths; a weaker stain's colour cannot be estimated
# Where learning starts, rows haematoxylin and eosin: Ruifrok and Johnston 2001, Anal Quant Cytol Histol 23, 291-299.
START = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]])


@frozen
class VahadaneStatistics:
    """Statistics of an image for Vahadane's method.

    Attributes:
        brightness: (256,) the new value of each uint8 value, applied first.
        stains: stain matrix (2, 3), rows haematoxylin and eosin, unit length.
    """

    brightness: Table = field(eq=False)
    stains: NDArray[np.float64] = field(eq=False)


class Vahadane(Method[VahadaneStatistics, VahadaneFit]):
    """`vahadane`; it learns stains from at most `sample_px` pixels, spread evenly over the tissue."""

    def __init__(self, name: str, *, sample_px: int = SAMPLE_PX, rounds: int = ROUNDS) -> None:
        super().__init__(name)
        self.sample_px = sample_px
        self.rounds = rounds

    def measure(self, rgb: Rgb) -> VahadaneStatistics:
        """See `Method.measure`."""
        brightness = brightness_table(rgb, standardise=True, loops=self.loops)
        dark = self.loops.darker(rgb, lab.luminance_parts(brightness), lab.luminance_limit(STAIN_LIGHTNESS))
        tissue = np.flatnonzero(dark)
        if tissue.size < MIN_TISSUE_PX:
            raise Unfit(f"{tissue.size} pixels of tissue, at least {MIN_TISSUE_PX} are needed")
        chosen = rgb.reshape(-1, 3)[tissue[sample_ranks(tissue.size, self.sample_px)]]
        planes = np.zeros((3, -(-len(chosen) // STRIP) * STRIP), np.float32)
        planes[:, : len(chosen)] = density_table(brightness).astype(np.float32)[chosen.T]
        stains = self._learnt(planes)
        strengths = _sums_of_strengths(planes, stains)
        if not min(strengths) >= MIN_SHARE * sum(strengths) > 0:
            raise Unfit(f"only one stain: sums of strengths are {[round(of, 1) for of in strengths]}")
        angle = math.degrees(math.acos(min(1.0, float(stains[0] @ stains[1]))))
        if not angle >= MIN_ANGLE_DEGREES:
            raise Unfit(f"only one stain: both colours lie within {angle:.1f} degrees")
        return VahadaneStatistics(brightness, stains)

    def _learnt(self, planes: Floats) -> NDArray[np.float64]:
        """(2, 3) stains of unit length, haematoxylin (more red) first, of densities (3, n)."""
        start = START / np.linalg.norm(START, axis=1, keepdims=True)
        stains = self.loops.learned(planes, start, penalty=STAIN_PENALTY, rounds=self.rounds, passes=STAIN_PASSES)
        stains = stains / np.maximum(np.linalg.norm(stains, axis=1, keepdims=True), 1e-12)
        return stains if stains[0, 0] >= stains[1, 0] else np.ascontiguousarray(stains[::-1])

    def fit_of(self, statistics: VahadaneStatistics) -> VahadaneFit:
        """See `Method.fit_of`."""
        return VahadaneFit(statistics.stains)

    def render(self, rgb: Rgb, statistics: VahadaneStatistics, fit: VahadaneFit, out: Rgb | None = None) -> Rgb:
        """See `Method.render`. Strengths are not scaled, because the presets hold none."""
        out = np.empty(rgb.shape, np.uint8) if out is None else out
        maps = maps_of(statistics.stains.tolist(), STRENGTH_PENALTY)
        if maps is None:  # statistics are measured, or were refused
            raise ValueError(f"the stains {statistics.stains.tolist()} are parallel")
        how = Separation(
            density=density_table(statistics.brightness).astype(np.float32),
            maps=maps,
            stains=(fit.stain_matrix_target / -math.log(2.0)).astype(np.float32),
            luminance=lab.luminance_parts(statistics.brightness),
            limit=lab.luminance_limit(TISSUE_LIGHTNESS),
            bright=np.rint(statistics.brightness).astype(np.uint8),
        )
        self.loops.separated(rgb, how, out)
        return out


def sample_ranks(count: int, wanted: int) -> NDArray[np.int64]:
    """Which of `count` pixels to take: all of them, or `wanted` at equal distances."""
    return np.arange(count) if count <= wanted else np.arange(wanted, dtype=np.int64) * count // wanted


def _sums_of_strengths(planes: Floats, stains: NDArray[np.float64]) -> list[float]:
    maps = maps_of(stains.tolist(), STAIN_PENALTY)
    return [0.0, 0.0] if maps is None else [float(of.sum(dtype=np.float64)) for of in strengths_of(planes, maps)]
