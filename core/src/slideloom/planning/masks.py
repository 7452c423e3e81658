"""Masks of slide quality control: how much of each tile they cover, and their union; never as a whole in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Box, Mask, Size
from slideloom.base.packed_masks import PackedMask, rows_of, strips
from slideloom.slides.tiles import Tiles
from slideloom.steps.slide_qc import QcResult

# Rows of a small mask that are made at a time.
_BAND_ROWS = 32
# Longer side of the small masks that normalizers get and that pictures show.
LOW_RESOLUTION_PX = 1024

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
Edge = tuple[Whole, Floats]  # of each tile, along one axis of a mask: the pixel in which it lies, and how far in it
RowsOfMasks = Callable[[int, int], Sequence[Mask]]  # (start, stop) to (stop - start, w) bool of each mask


def masked_share(mask: Mask | PackedMask, extent: Box | None, tiles: Tiles, slide_size: Size) -> Floats:
    """How much of each tile is masked.

    The share is the masked area divided by the area of the footprint *inside the slide*, both exact: a mask pixel that
    is partly in the tile counts in proportion. Area outside `extent` counts as not masked. A tile entirely outside the
    slide has nothing to keep, and its share is 1.

    Args:
        mask: (h, w) bool, True = masked.
        extent: the level-0 box that the mask covers, stretched independently along each axis; None = the whole slide.
        tiles: N tiles.
        slide_size: of level 0.

    Returns:
        (N,) float64 from 0 to 1, rounded to 12 decimals so that a share equal to a threshold compares as equal.

    Raises:
        ValueError: the mask has no pixels or is not two-dimensional.
    """
    if len(mask.shape) != 2 or mask.size == 0:
        raise ValueError(f"a mask is (h, w) with at least one pixel, not {mask.shape}")
    shape = (mask.shape[0], mask.shape[1])
    (share,) = masked_shares(lambda start, stop: [rows_of(mask, start, stop)], shape, extent, tiles, slide_size)
    return share


def masked_shares(
    rows: RowsOfMasks, shape: tuple[int, int], extent: Box | None, tiles: Tiles, slide_size: Size
) -> list[Floats]:
    """`masked_share` for several masks of one shape that are made while they are read, a strip at a time.

    Args:
        rows: called as rows(start, stop) for strips from top to bottom; returns these rows of each mask.
        shape: (h, w) of the masks.
        extent, tiles, slide_size: as of `masked_share`.
    """
    covered = extent or Box(0, 0, slide_size.width, slide_size.height)
    left, right, width = clipped(tiles.x, tiles.footprint.width, slide_size.width)
    top, bottom, height = clipped(tiles.y, tiles.footprint.height, slide_size.height)
    pixel_x, pixel_y = covered.width / shape[1], covered.height / shape[0]
    x = [_split((edge - covered.x) / pixel_x, shape[1]) for edge in (left, right)]
    y = [_split((edge - covered.y) / pixel_y, shape[0]) for edge in (top, bottom)]
    area = width * height
    shares = []
    for corners in _corners(rows, shape, rows_at=_both(y), columns_at=_both(x)):
        masked = _box_sums(corners, *x, *y) * (pixel_x * pixel_y)
        share = np.divide(masked, area, out=np.ones_like(area), where=area > 0)
        shares.append(cast("Floats", np.round(np.clip(share, 0, 1), 12)))
    return shares


def clipped(start: Whole, length: int, limit: int) -> tuple[Floats, Floats, Floats]:
    """First and last edge of each footprint inside the slide along one axis, and their distance (0 if outside)."""
    first = np.clip(start, 0, limit).astype(np.float64)
    last = np.clip(start + length, 0, limit).astype(np.float64)
    return first, last, last - first


def _split(position: Floats, count: int) -> Edge:
    """A position in mask pixels, clipped to the mask, as whole pixels and the fraction of the next one."""
    held = np.clip(position, 0, count)
    # Never the last edge itself, so that a next pixel always exists; its fraction is then 1.
    whole = np.minimum(np.floor(held), count - 1).astype(np.int64)
    return whole, held - whole


def _both(edges: Sequence[Edge]) -> Whole:
    """Ascending pixels in which edges lie, and the next of each."""
    return np.unique(np.concatenate([whole + step for whole, _ in edges for step in (0, 1)]))


@frozen
class _Corners:
    """What exact areas need to know of a mask, only for the rows and columns in which edges of tiles lie.

    A table of all corners would take many times the memory of the mask.

    Attributes:
        rows, columns: ascending.
        sums: (rows, columns), number of masked pixels above and left of a pixel's corner.
        pixels: (rows, columns) bool, the pixel itself.
    """

    rows: Whole
    columns: Whole
    sums: NDArray[np.integer[Any]]
    pixels: Mask

    def above(self, y: Whole, x: Whole) -> Whole:
        """Sums at some corners."""
        return self.sums[np.searchsorted(self.rows, y), np.searchsorted(self.columns, x)].astype(np.int64)

    def pixel(self, y: Whole, x: Whole) -> Mask:
        """Some pixels."""
        return self.pixels[np.searchsorted(self.rows, y), np.searchsorted(self.columns, x)]


def _corners(rows: RowsOfMasks, shape: tuple[int, int], *, rows_at: Whole, columns_at: Whole) -> list[_Corners]:
    """The corners of each mask at ascending rows and columns, in one pass over the masks."""
    kind = np.int32 if shape[0] * shape[1] < 2**31 else np.int64
    table, inner = (len(rows_at), len(columns_at)), columns_at[columns_at < shape[1]]
    count = len(rows(0, 1))
    found = [_Corners(rows_at, columns_at, np.zeros(table, kind), np.zeros(table, np.bool_)) for _ in range(count)]
    above = np.zeros((count, shape[1] + 1), kind)  # masked pixels of each column, the first of which is empty
    reached = 0
    for number, row in enumerate(rows_at.tolist()):
        for start, stop in strips(reached, row):
            for sums, mask in zip(above, rows(start, stop), strict=True):
                sums[1:] += _counted(mask)
        reached = row
        for corners, sums in zip(found, above, strict=True):
            corners.sums[number] = np.cumsum(sums)[columns_at]
        if row < shape[0]:
            for corners, mask in zip(found, rows(row, row + 1), strict=True):
                corners.pixels[number, : len(inner)] = mask[0, inner]
    return found


def _box_sums(corners: _Corners, left: Edge, right: Edge, top: Edge, bottom: Edge) -> Floats:
    """Masked area of each box in mask pixels. Large sums are subtracted as integers, before fractions enter."""
    (x0, fx0), (x1, fx1), (y0, fy0), (y1, fy1) = left, right, top, bottom
    whole = corners.above
    total = (whole(y1, x1) - whole(y0, x1) - whole(y1, x0) + whole(y0, x0)).astype(np.float64)
    for sign, x, fx in ((1, x1, fx1), (-1, x0, fx0)):
        strip = whole(y1, x + 1) - whole(y1, x) - whole(y0, x + 1) + whole(y0, x)
        total += sign * fx * strip
    for sign, y, fy in ((1, y1, fy1), (-1, y0, fy0)):
        strip = whole(y + 1, x1) - whole(y, x1) - whole(y + 1, x0) + whole(y, x0)
        total += sign * fy * strip
        total += sign * fy * (fx1 * corners.pixel(y, x1) - fx0 * corners.pixel(y, x0))
    return total


def _counted(mask: Mask) -> NDArray[np.integer[Any]]:
    """(w,) number of True in each column."""
    # In bytes if they are large enough: four times as fast as wider sums.
    kind = np.uint8 if len(mask) < 256 else np.int64
    count: NDArray[np.integer[Any]] = np.add.reduce(mask.view(np.uint8), axis=0, dtype=kind)
    return count


def low_resolution(slide_size: Size) -> tuple[int, int]:
    """(h, w) of a small mask over the whole slide: 1024 pixels along the longer side, or level 0 if that is less."""
    scale = min(1.0, LOW_RESOLUTION_PX / max(slide_size.width, slide_size.height))
    return max(1, round(slide_size.height * scale)), max(1, round(slide_size.width * scale))


def union_mask(results: Sequence[QcResult], slide_size: Size, shape: tuple[int, int] | None = None) -> Mask:
    """What any of the results discards, on one grid over the whole slide.

    A pixel is True if at least half of its area is masked by a single result; areas masked by different results do not
    add up. A result masks nothing outside its extent.

    Args:
        results: of any kind, each with its own mask size and extent; their order does not matter.
        slide_size: of level 0.
        shape: (h, w) of the grid; by default 1024 pixels along the longer side.

    Returns:
        (h, w) bool.
    """
    shape = shape or low_resolution(slide_size)
    union = np.zeros(shape, np.bool_)
    for result in results:
        for top in range(0, shape[0], _BAND_ROWS):
            band = slice(top, min(top + _BAND_ROWS, shape[0]))
            union[band] |= _coverage(result, slide_size, shape, band) >= 0.5 - 1e-9
    return union


def _coverage(result: QcResult, slide_size: Size, shape: tuple[int, int], band: slice) -> Floats:
    """(rows, w) masked share of each pixel of some rows of a grid over the whole slide."""
    covered = result.extent or Box(0, 0, slide_size.width, slide_size.height)
    rows, columns = result.shape
    y = (np.linspace(0, slide_size.height, shape[0] + 1) - covered.y) * (rows / covered.height)
    x = (np.linspace(0, slide_size.width, shape[1] + 1) - covered.x) * (columns / covered.width)
    # One axis at a time: the running sum, interpolated at the grid's edges, gives the exact area between them.
    by_row = _between(result.stored, y[band.start : band.stop + 1])
    both = _between(np.ascontiguousarray(by_row.T), x).T
    pixel = (slide_size.height / shape[0] * rows / covered.height) * (
        slide_size.width / shape[1] * columns / covered.width
    )
    share: Floats = both / pixel
    return share


def _between(values: Floats | Mask | PackedMask, edges: Floats) -> Floats:
    """Sums of `values` along axis 0 between neighbouring edges, given in pixels."""
    whole, fraction = _split(edges, values.shape[0])
    sums: Floats = np.empty((len(edges) - 1, values.shape[1]))
    # Edge by edge: a running sum over all rows would take 4 to 8 bytes for every pixel of a large mask.
    for row, ((start, end), (before, after)) in enumerate(
        zip(pairwise(whole.tolist()), pairwise(fraction.tolist()), strict=True)
    ):
        part = values.rows(start, end + 1) if isinstance(values, PackedMask) else values[start : end + 1]
        np.multiply(part[-1], after, out=sums[row])
        sums[row] -= part[0] * before
        part = part[:-1]
        sums[row] += _counted(cast("Mask", part)) if part.dtype == np.bool_ else part.sum(axis=0)
    return sums
