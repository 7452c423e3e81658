"""Blocks of a slide at a working resolution, on one lattice, so that results do not depend on the blocks."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

import cv2
import numpy as np
from attrs import frozen
from slideloom import Box, Mask, Rgb, Size, Slide, SlideError

_TISSUE_UM = 8.0  # resolution of the tissue mask
_TISSUE_MOST_PX = 4096
# Optical density (natural log) above which something is on the glass. It only spares looking for nuclei on glass, so it
# takes in far more than the tests by which QC drops tiles (docs/explanation/qc.md).
_TISSUE_DENSITY = 0.08


@frozen
class Lattice:
    """A slide at a working resolution.

    Attributes:
        size: in working pixels.
        step_x: level-0 pixels per working pixel along x; `step_y` along y.
        um: microns per working pixel.
    """

    size: Size
    step_x: float
    step_y: float
    um: float


@frozen
class Block:
    """A part of the lattice: its core, and the core with a margin around it, in working pixels."""

    left: int
    top: int
    right: int
    bottom: int
    margin: int

    def holds(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """True for points of the core; every point of the slide is in one core."""
        inside: np.ndarray = (x >= self.left) & (x < self.right) & (y >= self.top) & (y < self.bottom)
        return inside


def lattice_of(slide: Slide, mpp: float) -> Lattice:
    """The slide at `mpp` microns per pixel, or at its own resolution if that is coarser.

    Raises:
        SlideError: the slide's microns per pixel are not known.
    """
    info = slide.info
    if info.mpp is None:
        raise SlideError(f"{info.path.name}: cells are detected by size, so microns per pixel must be known")
    step_x, step_y = max(1.0, mpp / info.mpp.x), max(1.0, mpp / info.mpp.y)
    size = Size(max(1, ceil(info.size.width / step_x - 1e-6)), max(1, ceil(info.size.height / step_y - 1e-6)))
    return Lattice(size, step_x, step_y, info.mpp.mean * (step_x + step_y) / 2)


def blocks_of(lattice: Lattice, *, side: int, margin: int) -> Iterator[Block]:
    """Blocks whose cores cover the lattice, row by row."""
    for top in range(0, lattice.size.height, side):
        for left in range(0, lattice.size.width, side):
            right, bottom = min(left + side, lattice.size.width), min(top + side, lattice.size.height)
            yield Block(left, top, right, bottom, margin)


def read_block(slide: Slide, lattice: Lattice, block: Block) -> Rgb:
    """The block with its margin, (h, w, 3) uint8; background outside the slide."""
    left, top = block.left - block.margin, block.top - block.margin
    size = Size(block.right - left + block.margin, block.bottom - top + block.margin)
    x, y = lattice.step_x, lattice.step_y
    return slide.read_at(Box(left * x, top * y, size.width * x, size.height * y), size)


@frozen
class Tissue:
    """Where there is something on the glass, at low resolution.

    Attributes:
        mask: (h, w) bool over the whole slide.
        lattice: the lattice of the points.
    """

    mask: Mask
    lattice: Lattice

    def at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(N,) True where points of the lattice are on tissue."""
        height, width = self.mask.shape
        column = np.clip((x + 0.5) * width / self.lattice.size.width, 0, width - 1).astype(int)
        row = np.clip((y + 0.5) * height / self.lattice.size.height, 0, height - 1).astype(int)
        found: np.ndarray = self.mask[row, column]
        return found

    def within(self, block: Block) -> bool:
        """True if there is any tissue in the block's core."""
        height, width = self.mask.shape
        scale_x, scale_y = width / self.lattice.size.width, height / self.lattice.size.height
        rows = slice(int(block.top * scale_y), max(int(block.top * scale_y) + 1, ceil(block.bottom * scale_y)))
        columns = slice(int(block.left * scale_x), max(int(block.left * scale_x) + 1, ceil(block.right * scale_x)))
        return bool(self.mask[rows, columns].any())


def tissue_of(slide: Slide, lattice: Lattice) -> Tissue:
    """Where the slide is darker than glass, from its smallest levels, with a margin."""
    whole = slide.info.size
    um = max(_TISSUE_UM, max(whole.width, whole.height) * lattice.um / lattice.step_x / _TISSUE_MOST_PX)
    rgb = slide.thumbnail(mpp=um)
    darkest = np.maximum(cv2.blur(rgb, (3, 3)).min(axis=2), 1).astype(np.float32)
    density = -np.log(darkest / np.float32(245))
    dark = (density > _TISSUE_DENSITY).astype(np.uint8)
    mask = cv2.dilate(dark, np.ones((5, 5), np.uint8)).astype(np.bool_)
    return Tissue(mask, lattice)
