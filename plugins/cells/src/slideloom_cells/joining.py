"""Joins peaks of the same nucleus: two peaks belong together if the ridge between them hardly dips."""

from __future__ import annotations

from typing import Self

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

# As a share of the lower of two peaks: a ridge that dips less joins them. Touching nuclei dip more, chromatin less.
RIDGE_SHARE = 0.85

Numbers = NDArray[np.int64]


@frozen(eq=False)
class Peaks:
    """Peaks, and pairs of them that may be one nucleus; positions are whole working pixels of the slide.

    Attributes:
        x, y: (N,) of each peak.
        pairs: (M, 4) x and y of the first and the second peak of each pair.
        ridge: (M,) lowest point between them, as a share of the lower peak.
    """

    x: Numbers
    y: Numbers
    pairs: Numbers
    ridge: NDArray[np.float64]

    @classmethod
    def none(cls) -> Self:
        """Nothing."""
        empty = np.zeros(0, np.int64)
        return cls(empty, empty, np.zeros((0, 4), np.int64), np.zeros(0))

    def extended(self, other: Self) -> Self:
        """Both."""
        return type(self)(
            np.concatenate([self.x, other.x]),
            np.concatenate([self.y, other.y]),
            np.concatenate([self.pairs, other.pairs]),
            np.concatenate([self.ridge, other.ridge]),
        )


def joined(peaks: Peaks, *, longest: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Centres x and y: the mean of the peaks of each nucleus.

    The flattest ridges are joined first, but never to a nucleus longer than `longest`. The result does not depend on
    the order of peaks or pairs.
    """
    order = np.lexsort((peaks.x, peaks.y))
    x, y = peaks.x[order], peaks.y[order]
    number = {place: i for i, place in enumerate(zip(x.tolist(), y.tolist(), strict=True))}
    groups = [[i] for i in range(len(x))]
    home = list(range(len(x)))
    ranked = np.lexsort((*peaks.pairs.T, -peaks.ridge))
    for x0, y0, x1, y1 in peaks.pairs[ranked].tolist():
        # The block of the second peak may not have found it, if float rounding decided a tie there.
        first, second = number.get((x0, y0)), number.get((x1, y1))
        if first is None or second is None or home[first] == home[second]:
            continue
        both = groups[home[first]] + groups[home[second]]
        if np.hypot(np.ptp(x[both]), np.ptp(y[both])) > longest:
            continue
        gone = home[second]
        groups[home[first]] = both
        for member in groups[gone]:
            home[member] = home[first]
        groups[gone] = []
    kept = [group for group in groups if group]
    return np.array([x[group].mean() for group in kept]), np.array([y[group].mean() for group in kept])
