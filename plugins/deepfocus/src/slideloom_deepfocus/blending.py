"""One map from the predictions of tiles that may overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slideloom_deepfocus.naming import ModelError
from slideloom_deepfocus.strided_grid import StridedGrid

# The output of a model that predicts pixels is averaged to at most this many values per step and axis.
_MAX_CELLS_PER_STEP = 16


class Blend:
    """Weighted mean of the predictions of all tiles that cover a cell, whatever their order."""

    def __init__(self, grid: StridedGrid) -> None:
        self._grid = grid
        self.fine = 1  # values per step and axis
        self._total: NDArray[np.float64] | None = None
        self._weight: NDArray[np.float64] | None = None

    def add(self, places: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Add (B,) or (B, h, w) scores of the tiles at (B, 2) rows and columns."""
        steps = self._grid.stride_div
        maps = scores[:, None, None] if scores.ndim == 1 else scores
        if self._total is None or self._weight is None:
            self.fine = 1 if scores.ndim == 1 else _values_per_step(maps.shape[1], steps)
            shape = (self._grid.cells.height * self.fine, self._grid.cells.width * self.fine)
            self._total, self._weight = np.zeros(shape), np.zeros(shape)
        side = steps * self.fine
        taper = _taper(side)
        for (row, column), values in zip((places * self.fine).tolist(), _resized(maps, side), strict=True):
            window = np.s_[row : row + side, column : column + side]
            self._total[window] += values * taper
            self._weight[window] += taper

    def values(self) -> NDArray[np.float32]:
        """(h, w) float32, NaN where there was no tile."""
        if self._total is None or self._weight is None:
            return np.full((self._grid.cells.height, self._grid.cells.width), np.nan, np.float32)
        with np.errstate(invalid="ignore"):
            blended: NDArray[np.float32] = (self._total / self._weight).astype(np.float32)
        return blended


class ClassBlend:
    """The class with the highest blended score in each cell; of equals, the first."""

    def __init__(self, grid: StridedGrid, *, classes: int) -> None:
        self._maps = [Blend(grid) for _ in range(classes)]

    @property
    def fine(self) -> int:
        """Values per step and axis."""
        return self._maps[0].fine

    def add(self, places: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Add (B, classes) or (B, h, w, classes) scores of the tiles at (B, 2) rows and columns."""
        for number, one in enumerate(self._maps):
            one.add(places, scores[..., number])

    def values(self) -> NDArray[np.float32]:
        """(h, w) float32, the number of the class, NaN where there was no tile."""
        best = self._maps[0].values()
        number = np.where(np.isnan(best), np.float32(np.nan), np.float32(0))
        for value, one in enumerate(self._maps[1:], start=1):
            scores = one.values()
            is_higher = scores > best  # never where both are NaN
            number[is_higher], best[is_higher] = value, scores[is_higher]
        return number


def _taper(side: int) -> NDArray[np.float64]:
    """(side, side) weights, largest in the middle and above 0 everywhere."""
    line = np.minimum(np.arange(side), np.arange(side)[::-1]) + 1.0
    weights: NDArray[np.float64] = np.outer(line, line) / line.max() ** 2
    return weights


def _values_per_step(side: int, steps: int) -> int:
    """How many values per step a model's own map of `side` provides, at most `_MAX_CELLS_PER_STEP`."""
    if side % steps:
        return 1
    per_step = side // steps
    return max(d for d in range(1, min(per_step, _MAX_CELLS_PER_STEP) + 1) if per_step % d == 0)


def _resized(maps: NDArray[np.float32], side: int) -> NDArray[np.float64]:
    """(B, side, side): means of equal parts, or the value repeated."""
    count, high, wide = maps.shape
    if high == wide == 1:
        return np.broadcast_to(maps.astype(np.float64), (count, side, side))
    if high % side or wide % side:
        raise ModelError(f"the model returned maps of {high} x {wide}, which do not divide into {side} x {side}")
    parts = maps.reshape(count, side, high // side, side, wide // side)
    means: NDArray[np.float64] = parts.mean(axis=(2, 4), dtype=np.float64)
    return means
