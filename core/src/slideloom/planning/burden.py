"""The blur burden: how much of the tissue is out of focus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import numpy as np
from attrs import frozen

from slideloom.base.geometry import Box, Mask, Size
from slideloom.base.packed_masks import PackedMask, rows_of
from slideloom.planning.masks import Whole, clipped, masked_shares
from slideloom.slides.tiles import Tiles
from slideloom.steps.slide_qc import QcResult

# Masks of different sizes are compared on one grid; a finer grid would not change any reported digit.
MAX_GRID_PX = 8192


def blur_burden(
    blur: Sequence[QcResult],
    background: Sequence[QcResult],
    tiles_considered: Tiles,
    slide_size: Size,
    *,
    filter_threshold: float = 0.6,
) -> float | None:
    """The share of tissue that is out of focus, from 0 to 1.

    Let G be the union of all background masks, F the union of all blur masks, t the footprint of a tile inside the
    slide, and T the tiles with |t and G| / |t| <= `filter_threshold`::

        blur burden = sum over T of |t and F and not G|  /  sum over T of |t and not G|

    So only tiles that background QC keeps are considered, and in them only tissue: empty glass looks out of focus to a
    blur QC but is not counted. Unions do not depend on the order of the steps. Other kinds (pen) are not included.
    Where tiles overlap, tissue counts once per tile.

    Masks are compared on the finest of their grids (at most 8192 pixels along a side), each sampled at the centres of
    the grid pixels; areas on that grid are exact.

    Args:
        blur: results of kind "blur".
        background: results of kind "background".
        tiles_considered: the planned tiles that the regions of interest select.
        slide_size: of level 0.
        filter_threshold: a tile with more background than this is not a tissue tile.

    Returns:
        None if there is no blur result, no background result, or no tissue in any tile.
    """
    if not blur or not background or not len(tiles_considered):
        return None
    shape = _finest_shape([*blur, *background], slide_size)
    glass = [_Sampled.of(result, slide_size, shape) for result in background]
    unsharp = [_Sampled.of(result, slide_size, shape) for result in blur]

    def compared(start: int, stop: int) -> tuple[Mask, Mask]:
        """Rows of two masks on the grid: glass, and unsharp without glass."""
        is_glass = _union(glass, start, stop, shape[1])
        return is_glass, _union(unsharp, start, stop, shape[1]) & ~is_glass

    glass_share, unsharp_tissue = masked_shares(compared, shape, None, tiles_considered, slide_size)
    _, _, width = clipped(tiles_considered.x, tiles_considered.footprint.width, slide_size.width)
    _, _, height = clipped(tiles_considered.y, tiles_considered.footprint.height, slide_size.height)
    area = width * height
    kept = (glass_share <= filter_threshold) & (area > 0)
    tissue = float((area * (1 - glass_share))[kept].sum())
    if tissue <= 0:
        return None
    return float(np.clip((area * unsharp_tissue)[kept].sum() / tissue, 0, 1))


def _finest_shape(results: Sequence[QcResult], slide_size: Size) -> tuple[int, int]:
    rows = columns = 1
    for result in results:
        covered = result.extent or Box(0, 0, slide_size.width, slide_size.height)
        height, width = result.shape
        rows = max(rows, round(height * slide_size.height / covered.height))
        columns = max(columns, round(width * slide_size.width / covered.width))
    return min(rows, MAX_GRID_PX), min(columns, MAX_GRID_PX)


@frozen
class _Sampled:
    """A mask sampled at the centres of a grid over the whole slide.

    Attributes:
        mask: the mask.
        rows, columns: the pixel of the mask for each row and column of the grid, ascending; outside of the mask at
            both ends.
    """

    mask: Mask | PackedMask
    rows: Whole
    columns: Whole

    @classmethod
    def of(cls, result: QcResult, slide_size: Size, shape: tuple[int, int]) -> _Sampled:
        covered = result.extent or Box(0, 0, slide_size.width, slide_size.height)
        height, width = result.shape
        return cls(
            result.stored,
            _centres(slide_size.height, shape[0], covered.y, height / covered.height),
            _centres(slide_size.width, shape[1], covered.x, width / covered.width),
        )

    def add_to(self, union: Mask, start: int) -> None:
        """OR rows of the grid from `start` on into a mask."""
        y = self.rows[start : start + len(union)]
        in_y, in_x = _held_by(y, self.mask.shape[0]), _held_by(self.columns, self.mask.shape[1])
        y, x = y[in_y], self.columns[in_x]
        if not len(y) or not len(x):
            return
        seen = rows_of(self.mask, int(y[0]), int(y[-1]) + 1)
        # First the columns, of which a row that stands for several on the grid is then taken once.
        seen = seen[:, x[0] : x[-1] + 1] if _counts_by_one(x) else seen.take(x, axis=1)
        union[in_y, in_x] |= seen if _counts_by_one(y) else seen.take(y - y[0], axis=0)


def _union(sampled: Sequence[_Sampled], start: int, stop: int, columns: int) -> Mask:
    """(stop - start, columns) bool, rows of the union of masks on the grid."""
    union = np.zeros((stop - start, columns), np.bool_)
    for one in sampled:
        one.add_to(union, start)
    return union


def _counts_by_one(index: Whole) -> bool:
    return index[-1] - index[0] == len(index) - 1 and bool((np.diff(index) == 1).all())


def _centres(length: int, count: int, start: float, scale: float) -> Whole:
    centres = (np.arange(count) + 0.5) * (length / count)
    return cast("Whole", np.floor((centres - start) * scale).astype(np.int64))


def _held_by(index: Whole, count: int) -> slice:
    """Where an ascending index is from 0 to below `count`."""
    first, last = np.searchsorted(index, [0, count])
    return slice(int(first), int(last))
