"""Vahadane et al. 2016, IEEE Transactions on Medical Imaging 35(8), 1962-1971.

"Structure-preserving color normalization and sparse stain separation for histological images".

Densities V are factorised into two non-negative stains D and sparse non-negative strengths C:
min over D, C >= 0 of 0.5 |V - C D|^2 + penalty * sum(C), with rows of D of at most unit length. For two stains the best
C for a given D has a closed form, and D is found by block coordinate descent, so no solver library is needed.
"""

from __future__ import annotations

import math

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Rgb

from slideloom_stain import lab
from slideloom_stain.base import Method
from slideloom_stain.density import (
    MIN_TISSUE_PX,
    Table,
    as_bytes,
    brightness_table,
    density_table,
    lookup,
)
from slideloom_stain.fits import Unfit, VahadaneFit
from slideloom_stain.loops import Floats
from slideloom_stain.opencv import cv2
from slideloom_stain.scratch import scratch

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
        tissue = np.flatnonzero(lab.darker_than(rgb, brightness, STAIN_LIGHTNESS))
        if tissue.size < MIN_TISSUE_PX:
            raise Unfit(f"{tissue.size} pixels of tissue, at least {MIN_TISSUE_PX} are needed")
        chosen = tissue[sample_ranks(tissue.size, self.sample_px)]
        density = density_table(brightness).take(rgb.reshape(-1, 3)[chosen])
        stains = learn_stains(density, rounds=self.rounds)
        strengths = sparse_strengths(density.T, stains, STAIN_PENALTY).sum(axis=1)
        if not strengths.min() >= MIN_SHARE * strengths.sum() > 0:
            raise Unfit(f"only one stain: sums of strengths are {strengths.round(1).tolist()}")
        angle = math.degrees(math.acos(min(1.0, float(stains[0] @ stains[1]))))
        if not angle >= MIN_ANGLE_DEGREES:
            raise Unfit(f"only one stain: both colours lie within {angle:.1f} degrees")
        return VahadaneStatistics(brightness, stains)

    def fit_of(self, statistics: VahadaneStatistics) -> VahadaneFit:
        """See `Method.fit_of`."""
        return VahadaneFit(statistics.stains)

    def render(self, rgb: Rgb, statistics: VahadaneStatistics, fit: VahadaneFit, out: Rgb | None = None) -> Rgb:
        """See `Method.render`. Strengths are not scaled, because the presets hold none."""
        table = density_table(statistics.brightness).astype(np.float32)
        strengths = _strengths(lookup(rgb, table, scratch("density", rgb.shape)), statistics.stains)
        through = np.column_stack([-fit.stain_matrix_target.T, np.zeros(3), np.full(3, math.log(255.0))])
        value = cv2.transform(strengths, through, scratch("density", rgb.shape))
        changed = as_bytes(cv2.exp(value, value))
        tissue = lab.darker_than(rgb, statistics.brightness, TISSUE_LIGHTNESS)
        return lab.keep_white(changed, rgb, statistics.brightness, tissue, out)


def sample_ranks(count: int, wanted: int) -> NDArray[np.int64]:
    """Which of `count` pixels to take: all of them, or `wanted` at equal distances."""
    return np.arange(count) if count <= wanted else np.arange(wanted, dtype=np.int64) * count // wanted


def learn_stains(density: NDArray[np.float64], *, rounds: int, penalty: float = STAIN_PENALTY) -> NDArray[np.float64]:
    """(2, 3) stains of unit length, haematoxylin (more red) first.

    Args:
        density: (n, 3) optical densities.
        rounds: largest number of rounds; each updates the strengths, then the stains.
        penalty: weight of the sum of strengths.
    """
    stains = START / np.linalg.norm(START, axis=1, keepdims=True)
    columns = np.ascontiguousarray(density.T)
    for _ in range(rounds):
        strengths = sparse_strengths(columns, stains, penalty)
        gram, pull = strengths @ strengths.T, strengths @ density
        before = stains
        stains = _better_stains(stains, gram, pull)
        if np.abs(stains - before).max() < 1e-6:
            break
    stains = stains / np.maximum(np.linalg.norm(stains, axis=1, keepdims=True), 1e-12)
    ordered: NDArray[np.float64] = stains if stains[0, 0] >= stains[1, 0] else stains[::-1]
    return ordered


def _better_stains(
    stains: NDArray[np.float64], gram: NDArray[np.float64], pull: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Block coordinate descent over non-negative rows of at most unit length."""
    stains = stains.copy()
    for _ in range(STAIN_PASSES):
        for row, other in ((0, 1), (1, 0)):
            if gram[row, row] > 1e-12:  # a stain without strength is not changed
                wanted = np.maximum((pull[row] - gram[row, other] * stains[other]) / gram[row, row], 0)
                stains[row] = wanted / max(float(np.linalg.norm(wanted)), 1.0)
    return stains


def strength_maps(stains: NDArray[np.float64], penalty: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Two affine maps (2, 4) from a density (and 1); the sparse strength is the smaller of their values, at least 0.

    Strengths c >= 0 minimise 0.5 |v - c D|^2 + penalty * sum(c). `free` is the minimum without the condition c >= 0;
    `alone` is the minimum with the other stain at zero. Because D >= 0, `free` is below `alone` exactly where the
    other stain is positive.

    Args:
        stains: (2, 3), non-negative and not parallel.
        penalty: at least 0.

    Returns:
        `free` and `alone`.
    """
    gram = stains @ stains.T
    pull = np.column_stack([stains, [-penalty, -penalty]])  # stains @ v - penalty
    return np.asarray(np.linalg.inv(gram) @ pull), pull / np.diag(gram)[:, None]


def sparse_strengths(density: NDArray[np.float64], stains: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """(2, n) strengths of densities (3, n); see `strength_maps`."""
    free, alone = strength_maps(stains, penalty)
    lesser = np.minimum(free[:, :3] @ density + free[:, 3:], alone[:, :3] @ density + alone[:, 3:])
    return np.maximum(lesser, 0.0)


def _strengths(density: Floats, stains: NDArray[np.float64]) -> Floats:
    """(h, w, 3) float32: both strengths of each pixel, and 0."""
    # A third row of zeros, because OpenCV maps 3 channels to 3 faster than to 2.
    free, alone = (np.vstack([rows, np.zeros(4)]) for rows in strength_maps(stains, STRENGTH_PENALTY))
    lesser, other = scratch("value", density.shape), scratch("channels", density.shape)
    cv2.min(cv2.transform(density, free, lesser), cv2.transform(density, alone, other), lesser)
    return np.asarray(cv2.max(lesser, 0, lesser), np.float32)
