"""Finds nuclei by their haematoxylin: dark areas of nuclear size, split where they narrow or lighten."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, sqrt

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Placed, Placement, Scene, Slide

from slideloom_cells.blocks import Block, Lattice, Tissue, blocks_of, lattice_of, read_block, tissue_of
from slideloom_cells.joining import RIDGE_SHARE, Peaks, joined
from slideloom_cells.placing import Points, placed_around
from slideloom_cells.settings import Nuclei
from slideloom_cells.stain import Density, haematoxylin

BLOCK_PX = 1536
_SMOOTH_UM = 0.7
_LONGEST_UM = 15.0  # the largest length of a nucleus
_HOLE_UM = 8.0  # the largest width of lighter areas within a nucleus
_LEAST_BODY_UM = 0.6  # the lowest score of a nucleus; anything lower is a speck
# Microns of depth that weigh as much as one unit of the Laplacian's response. On synthetic tissue with known nuclei, F1
# within 4 microns is 0.84 without it, and 0.90 for values from 8 to 14.
_BLOB_WEIGHT = 8.0
_OTSU_SHARE = 0.85  # rims of nuclei, and pale chromatin, are below the threshold that divides best
# Dense eosin passes that threshold too, but a nucleus stands out: the mean density of its centre, plus half of what it
# is above the mean around, is well above the threshold. On 14 fields of many labs, counted by eye, this takes the mean
# F1 from 0.61 to 0.74 (docs/how-to/cells.md).
_CENTRE_UM, _NEAR_UM = 1.5, 6.0
_STANDING_OUT = 0.5
_CENTRE_SHARE = 1.1
_AROUND_UM = 15.0
_SHARE_OF_AROUND = 1.05
_SAMPLES = 48
_SAMPLE_PX = 256
_LEAST_DENSITY = 0.12  # on a hardly stained slide, Otsu's method would divide noise
_RIDGE_POINTS = 9


def find_nuclei(slide: Slide, settings: Nuclei | None = None, *, block_px: int = BLOCK_PX) -> Points:
    """Centres of the nuclei of an H&E slide.

    Args:
        slide: open, with known microns per pixel.
        settings: what counts as a nucleus.
        block_px: size of the blocks; the result does not depend on it.

    Returns:
        (N, 2) float64 x and y in level-0 pixels, from top to bottom.

    Raises:
        SlideError: pixels cannot be read.
    """
    options = settings or Nuclei()
    lattice = lattice_of(slide, options.mpp)
    tissue = tissue_of(slide, lattice)
    if not tissue.mask.any():
        return np.zeros((0, 2))
    if options.density is not None:
        level = centre_level = options.density
    else:
        otsu = _otsu_density(slide, lattice, tissue)
        level, centre_level = _OTSU_SHARE * otsu, _CENTRE_SHARE * otsu
    finder = _Finder(options, lattice.um, level, centre_level)
    found = Peaks.none()
    for block in blocks_of(lattice, side=block_px, margin=finder.margin):
        if tissue.within(block):
            found = found.extended(finder.peaks(read_block(slide, lattice, block), block, tissue))
    x, y = joined(found, longest=_LONGEST_UM / lattice.um)
    # The centre of pixel 0 is half a pixel from the slide's edge.
    points = np.stack([(x + 0.5) * lattice.step_x - 0.5, (y + 0.5) * lattice.step_y - 0.5], axis=1)
    ordered: Points = points[np.lexsort((points[:, 0], points[:, 1]))]
    return ordered


class NucleiPlacement(Placement):
    """A tile around each nucleus."""

    def __init__(self, settings: Nuclei) -> None:
        self._settings = settings

    def place(self, slide: Slide, scene: Scene) -> Placed:
        """See `Placement.place`."""
        points = find_nuclei(slide, self._settings)
        return placed_around(points, slide.info, scene.geometry.footprint, edge=self._settings.edge)


class _Finder:
    """Scores how likely each pixel is the centre of a nucleus, and finds the peaks of the score."""

    def __init__(self, options: Nuclei, um: float, level: float, centre_level: float) -> None:
        self._um, self._level, self._centre_level = um, level, centre_level
        # A disk of radius r responds most to the Laplacian of a Gaussian of r / sqrt(2) (Lindeberg 1998).
        self._sigma = options.radius_um / um / sqrt(2)
        self._smooth = _SMOOTH_UM / um
        self._deepest_um = options.max_radius_um
        self._apart = max(1, round(options.min_distance_um / um))
        self._longest = _LONGEST_UM / um
        self._window = 2 * round(_AROUND_UM / um) + 1
        # The distance from which pixels can affect a score, plus the longest pair.
        reach_um = 2 * self._deepest_um + _HOLE_UM + _LONGEST_UM + _AROUND_UM + 2
        self.margin = ceil(reach_um / um + 4 * (self._sigma + self._smooth))

    def peaks(self, rgb: NDArray[np.uint8], block: Block, tissue: Tissue) -> Peaks:
        """Peaks in the block's core, and their ridges to all nearby peaks."""
        density = haematoxylin(rgb)
        score = self._score(density)
        is_peak = (score >= _LEAST_BODY_UM) & (score >= cv2.dilate(score, _disk(self._apart)))
        is_peak &= self._standing_out(density) >= self._centre_level
        row, column = np.nonzero(is_peak)
        x, y = column + block.left - block.margin, row + block.top - block.margin
        height, width = tissue.lattice.size.height, tissue.lattice.size.width
        on_tissue = (x >= 0) & (y >= 0) & (x < width) & (y < height) & tissue.at(x, y)
        row, column, x, y = row[on_tissue], column[on_tissue], x[on_tissue], y[on_tissue]
        first, second, ridge = self._ridges(score, column, row)
        # A pair belongs to the block of its first peak; both peaks are within the margin of that block.
        own = block.holds(x[first], y[first]) & (ridge >= RIDGE_SHARE)
        first, second = first[own], second[own]
        pairs = np.stack([x[first], y[first], x[second], y[second]], axis=1)
        in_core = block.holds(x, y)
        return Peaks(x[in_core], y[in_core], pairs, ridge[own])

    def _score(self, density: Density) -> Density:
        """(h, w) depth in microns within a dark area, higher if it is a blob of nuclear size; -1 outside."""
        smooth = cv2.GaussianBlur(density, (0, 0), self._smooth, borderType=cv2.BORDER_REPLICATE)
        # In tissue that is dark everywhere, nuclei are darker than the tissue around them.
        around = cv2.blur(density, (self._window, self._window), borderType=cv2.BORDER_REPLICATE)
        is_dark = (smooth >= self._level) & (smooth >= np.float32(_SHARE_OF_AROUND) * around)
        body = _filled(is_dark.astype(np.uint8), _HOLE_UM / self._um)
        body = np.asarray(cv2.morphologyEx(body, cv2.MORPH_OPEN, _disk(max(1, round(0.5 / self._um)))), np.uint8)
        depth = cv2.distanceTransform(body, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) * np.float32(self._um)
        # Ink, folds and pigment are far larger than a nucleus; neither they nor their rims contain any.
        too_deep = (depth >= self._deepest_um).astype(np.uint8)
        if too_deep.any():
            body[cv2.dilate(too_deep, _disk(ceil(self._deepest_um / self._um))) > 0] = 0
        depth = cv2.GaussianBlur(np.minimum(depth, self._deepest_um), (0, 0), self._smooth)
        wide = cv2.GaussianBlur(density, (0, 0), self._sigma, borderType=cv2.BORDER_REPLICATE)
        blob = cv2.Laplacian(wide, cv2.CV_32F) * np.float32(-(self._sigma**2))
        score = depth + np.float32(_BLOB_WEIGHT) * np.maximum(blob, np.float32(-0.5))
        return np.where(body > 0, score, np.float32(-1)).astype(np.float32)

    def _standing_out(self, density: Density) -> Density:
        """(h, w) mean density nearby, and more where it is above that of the neighbourhood."""
        near, around = (
            cv2.GaussianBlur(density, (0, 0), um / self._um, borderType=cv2.BORDER_REPLICATE)
            for um in (_CENTRE_UM, _NEAR_UM)
        )
        raised: Density = np.asarray(near + np.float32(_STANDING_OUT) * (near - around), np.float32)
        return raised

    def _ridges(
        self, score: Density, column: NDArray[np.int64], row: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """Pairs of nearby peaks, and the lowest point on the line between them as a share of the lower peak."""
        first, second = _near_pairs(column, row, self._longest)
        if not len(first):
            return first, second, np.zeros(0)
        share = np.linspace(0, 1, _RIDGE_POINTS)[1:-1, None]
        # Not np.rint, which rounds half to even: the result would depend on where the block starts.
        xs = np.floor(column[first] + share * (column[second] - column[first]) + 0.5).astype(int)
        ys = np.floor(row[first] + share * (row[second] - row[first]) + 0.5).astype(int)
        lowest = score[ys, xs].min(axis=0)
        lower = np.minimum(score[row[first], column[first]], score[row[second], column[second]])
        return first, second, (lowest / lower).astype(np.float64)


def _disk(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _filled(body: NDArray[np.uint8], widest: float) -> NDArray[np.uint8]:
    """The mask with holes closed that are at most `widest` pixels wide and high."""
    _, labels, boxes, _ = cv2.connectedComponentsWithStats(1 - body, connectivity=4)
    is_hole = (boxes[:, cv2.CC_STAT_WIDTH] <= widest) & (boxes[:, cv2.CC_STAT_HEIGHT] <= widest)
    is_hole[0] = False  # the dark area itself
    filled: NDArray[np.uint8] = body | is_hole[labels].astype(np.uint8)
    return filled


def _near_pairs(
    column: NDArray[np.int64], row: NDArray[np.int64], reach: float
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs of points at most `reach` apart, the first above (or left of) the second."""
    order = np.lexsort((column, row))
    x, y = column[order], row[order]
    ends = np.searchsorted(y, y + reach, side="right")
    counts = ends - np.arange(len(y)) - 1
    first = np.repeat(np.arange(len(y)), counts)
    second = first + 1 + np.arange(len(first)) - np.repeat(np.cumsum(counts) - counts, counts)
    near = np.hypot(x[second] - x[first], y[second] - y[first]) <= reach
    return order[first[near]], order[second[near]]


def _otsu_density(slide: Slide, lattice: Lattice, tissue: Tissue) -> float:
    """The haematoxylin density that separates nuclei from the rest, from samples spread over the tissue."""
    counts = np.zeros(256)
    top = 3.0
    for block in _sample_blocks(lattice, tissue):
        density = haematoxylin(read_block(slide, lattice, block))
        smooth = cv2.GaussianBlur(density, (0, 0), _SMOOTH_UM / lattice.um)
        counts += np.histogram(smooth[smooth > _LEAST_DENSITY / 2], bins=256, range=(0, top))[0]
    if not counts.any():
        return _LEAST_DENSITY
    return max(_LEAST_DENSITY, _otsu(counts) * top / 256)


def _sample_blocks(lattice: Lattice, tissue: Tissue) -> Iterator[Block]:
    places = [block for block in blocks_of(lattice, side=_SAMPLE_PX, margin=0) if tissue.within(block)]
    step = max(1, len(places) // _SAMPLES)
    yield from places[::step]


def _otsu(counts: NDArray[np.float64]) -> float:
    """The bin that best divides a histogram (Otsu, IEEE Trans SMC 1979)."""
    bins = np.arange(len(counts)) + 0.5
    below, total = np.cumsum(counts), counts.sum()
    mass = np.cumsum(counts * bins)
    above = total - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (mass / below - (mass[-1] - mass) / above) ** 2
    return float(np.nanargmax(between)) + 1
