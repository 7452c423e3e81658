"""Out-of-focus areas by averaged edge strength: |Laplace| smoothed by a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Box, Mask, QcResult, Scene, Size, Slide, SlideQc

from slideloom_qc.pictures import resolution_of

Floats = NDArray[np.float64]

# Luminance weights of R, G, B (ITU-R BT.709, four digits) as whole numbers, so that grey values are exact.
WEIGHTS = np.array([2125, 7154, 721], np.float64)
WHITE = 255 * 10_000
# The Gaussian is cut at this many sigmas.
TRUNCATE = 4.0
# The Gaussian's weights are whole multiples of 2^-20, and its first pass is rounded to 2^-14 of that: all sums are
# then whole numbers below 2^53, exact in float64 in any order. So a pixel does not depend on the block it lies in.
_WEIGHT_UNIT, _PASS_UNIT = 2.0**20, 2.0**14
# Pixels are read in chunks of this side on one fixed lattice, for the same reason.
CHUNK_PX = 256


def gaussian_weights(sigma: float) -> Floats:
    """(2 r + 1,) weights with sum 1, r = int(4 sigma + 0.5), as whole multiples of 2^-20."""
    radius = int(TRUNCATE * sigma + 0.5)
    bell = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights = np.rint(bell / bell.sum() * _WEIGHT_UNIT)
    weights[radius] += _WEIGHT_UNIT - weights.sum()
    exact: Floats = weights / _WEIGHT_UNIT
    return exact


def edge_strength(grey: Floats, *, sigma: float) -> Floats:
    """|Laplace| of a picture, averaged by a Gaussian.

    The Laplace operator is 4 x centre - 4 neighbours. Both operators repeat the picture mirrored beyond its edge
    (`d c b a | a b c d`).

    Args:
        grey: (h, w) float64, whole numbers from 0 to 2,550,000 (white).
        sigma: of the Gaussian in pixels, cut at 4 sigma.

    Returns:
        (h, w) float64, where 1 is a Laplacian as large as white.
    """
    # OpenCV's own sign and kernel: [[0, 1, 0], [1, -4, 1], [0, 1, 0]].
    edges = np.abs(cv2.Laplacian(grey, cv2.CV_64F, ksize=1, borderType=cv2.BORDER_REFLECT))
    weights = gaussian_weights(sigma) * _WEIGHT_UNIT
    one = np.ones(1)
    across = cv2.sepFilter2D(edges, cv2.CV_64F, weights, one, borderType=cv2.BORDER_REFLECT)
    rounded = np.rint(across / _PASS_UNIT)
    both = cv2.sepFilter2D(rounded, cv2.CV_64F, one, weights, borderType=cv2.BORDER_REFLECT)
    return np.asarray(both * (_PASS_UNIT / _WEIGHT_UNIT**2 / WHITE), np.float64)


class GreyGrid:
    """The slide in grey on a lattice of square pixels of `mpp`, read chunk by chunk.

    Attributes:
        size: columns and rows; what is left over at the right and the bottom is less than a pixel.
        extent: the level-0 box of the lattice.
    """

    def __init__(self, slide: Slide, mpp: float) -> None:
        stored, whole = resolution_of(slide), slide.info.size
        self._slide = slide
        self._step_x, self._step_y = mpp / stored.x, mpp / stored.y
        self.size = Size(
            max(1, math.floor(whole.width / self._step_x + 1e-6)),
            max(1, math.floor(whole.height / self._step_y + 1e-6)),
        )
        self.extent = Box(0, 0, self.size.width * self._step_x, self.size.height * self._step_y)
        self._chunks: dict[tuple[int, int], NDArray[np.float32]] = {}

    def read(self, left: int, top: int, right: int, bottom: int) -> Floats:
        """(bottom - top, right - left) grey values from 0 to 2,550,000, whole numbers."""
        grey = np.empty((bottom - top, right - left))
        for row in range(top // CHUNK_PX, (bottom - 1) // CHUNK_PX + 1):
            for column in range(left // CHUNK_PX, (right - 1) // CHUNK_PX + 1):
                chunk = self._chunk(column, row)
                x, y = column * CHUNK_PX, row * CHUNK_PX
                x0, x1 = max(left, x), min(right, x + chunk.shape[1])
                y0, y1 = max(top, y), min(bottom, y + chunk.shape[0])
                grey[y0 - top : y1 - top, x0 - left : x1 - left] = chunk[y0 - y : y1 - y, x0 - x : x1 - x]
        return grey

    def _chunk(self, column: int, row: int) -> NDArray[np.float32]:
        if (column, row) in self._chunks:
            return self._chunks[column, row]
        x, y = column * CHUNK_PX, row * CHUNK_PX
        size = Size(min(CHUNK_PX, self.size.width - x), min(CHUNK_PX, self.size.height - y))
        box = Box(x * self._step_x, y * self._step_y, size.width * self._step_x, size.height * self._step_y)
        # Whole numbers below 2^24 are exact in float32.
        chunk = (self._slide.read_at(box, size) @ WEIGHTS).astype(np.float32)
        self._chunks[column, row] = chunk
        return chunk

    def forget(self, *, right: int, bottom: int) -> None:
        """Drop the chunks that lie wholly left of `right` and above `bottom`: no later block reaches there."""
        self._chunks = {
            (column, row): chunk
            for (column, row), chunk in self._chunks.items()
            if (column + 1) * CHUNK_PX > right or (row + 1) * CHUNK_PX > bottom
        }


class BlurQc(SlideQc):
    """Masks what is out of focus."""

    def __init__(self, *, mpp: float | None, sigma: float, threshold: float, block_px: int | None) -> None:
        self._mpp, self._sigma, self._threshold, self._block_px = mpp, sigma, threshold, block_px

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask: averaged edge strength at most the threshold. Glass has no edges and is masked too."""
        wanted = self._mpp if self._mpp is not None else 4 * scene.geometry.mpp
        finest = resolution_of(slide).mean
        notes: tuple[str, ...] = ()
        if wanted < finest * 0.99:
            notes = (f"blur: {wanted:g} um/px is finer than the slide, so {finest:g} is used",)
        mpp = max(wanted, finest) if notes else wanted
        grid = GreyGrid(slide, mpp)
        mask = np.empty((grid.size.height, grid.size.width), np.bool_)
        halo = int(TRUNCATE * self._sigma + 0.5) + 1
        for left, top, right, bottom in _blocks(grid.size, self._block_px):
            x0, y0 = max(0, left - halo), max(0, top - halo)
            grey = grid.read(x0, y0, min(grid.size.width, right + halo), min(grid.size.height, bottom + halo))
            strength = edge_strength(grey, sigma=self._sigma)
            mask[top:bottom, left:right] = strength[top - y0 : bottom - y0, left - x0 : right - x0] <= self._threshold
            last = right == grid.size.width
            grid.forget(right=right + CHUNK_PX if last else right - halo, bottom=bottom - halo)
        metrics = {"masked": float(mask.mean()), "mpp": mpp}
        return QcResult(cast("Mask", mask), "blur", grid.extent, metrics, notes)


def _blocks(size: Size, block_px: int | None) -> Iterator[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each block, row by row; one block if `block_px` is None."""
    side = block_px or max(size.width, size.height)
    for top in range(0, size.height, side):
        for left in range(0, size.width, side):
            yield left, top, min(left + side, size.width), min(top + side, size.height)
