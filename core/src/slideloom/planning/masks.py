"""Masks of slide quality control: how much of each tile they cover, their union, and the blur burden."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from slideloom.base.geometry import Box, Mask, Size
from slideloom.slides.tiles import Tiles
from slideloom.steps.slide_qc import QcResult

# The blur burden compares masks of different sizes on one grid; a finer grid would not change any reported digit.
MAX_GRID_PX = 8192
# Longer side of the small masks that normalizers get and that pictures show.
LOW_RESOLUTION_PX = 1024

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


def masked_share(mask: Mask, extent: Box | None, tiles: Tiles, slide_size: Size) -> Floats:
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
    if mask.ndim != 2 or mask.size == 0:
        raise ValueError(f"a mask is (h, w) with at least one pixel, not {mask.shape}")
    rows, columns = mask.shape
    covered = extent or Box(0, 0, slide_size.width, slide_size.height)
    left, right, width = _clipped(tiles.x, tiles.footprint.width, slide_size.width)
    top, bottom, height = _clipped(tiles.y, tiles.footprint.height, slide_size.height)
    pixel_x, pixel_y = covered.width / columns, covered.height / rows

    def along_x(edge: Floats) -> tuple[Whole, Floats]:
        return _split((edge - covered.x) / pixel_x, columns)

    def along_y(edge: Floats) -> tuple[Whole, Floats]:
        return _split((edge - covered.y) / pixel_y, rows)

    masked = _box_sums(mask, along_x(left), along_x(right), along_y(top), along_y(bottom)) * (pixel_x * pixel_y)
    area = width * height
    share = np.divide(masked, area, out=np.ones_like(area), where=area > 0)
    rounded: Floats = np.round(np.clip(share, 0, 1), 12)
    return rounded


def _clipped(start: Whole, length: int, limit: int) -> tuple[Floats, Floats, Floats]:
    """First and last edge of each footprint inside the slide along one axis, and their distance (0 if outside)."""
    first = np.clip(start, 0, limit).astype(np.float64)
    last = np.clip(start + length, 0, limit).astype(np.float64)
    return first, last, last - first


def _split(position: Floats, count: int) -> tuple[Whole, Floats]:
    """A position in mask pixels, clipped to the mask, as whole pixels and the fraction of the next one."""
    held = np.clip(position, 0, count)
    # Never the last edge itself, so that a next pixel always exists; its fraction is then 1.
    whole = np.minimum(np.floor(held), count - 1).astype(np.int64)
    return whole, held - whole


def _box_sums(
    mask: Mask,
    left: tuple[Whole, Floats],
    right: tuple[Whole, Floats],
    top: tuple[Whole, Floats],
    bottom: tuple[Whole, Floats],
) -> Floats:
    """Masked area of each box in mask pixels. Large sums are subtracted as integers, before fractions enter."""
    (x0, fx0), (x1, fx1), (y0, fy0), (y1, fy1) = left, right, top, bottom
    rows = np.unique(np.concatenate([y0, y0 + 1, y1, y1 + 1]))
    sums = _integral(mask, rows)

    def whole(y: Whole, x: Whole) -> Whole:
        return sums[np.searchsorted(rows, y), x].astype(np.int64)

    total = (whole(y1, x1) - whole(y0, x1) - whole(y1, x0) + whole(y0, x0)).astype(np.float64)
    for sign, x, fx in ((1, x1, fx1), (-1, x0, fx0)):
        strip = whole(y1, x + 1) - whole(y1, x) - whole(y0, x + 1) + whole(y0, x)
        total += sign * fx * strip
    for sign, y, fy in ((1, y1, fy1), (-1, y0, fy0)):
        strip = whole(y + 1, x1) - whole(y, x1) - whole(y + 1, x0) + whole(y, x0)
        total += sign * fy * strip
        total += sign * fy * (fx1 * mask[y, x1] - fx0 * mask[y, x0])
    return total


def _integral(mask: Mask, rows: Whole) -> NDArray[np.integer[Any]]:
    """(n, w + 1) number of masked pixels above each of n ascending rows and left of each pixel corner.

    Only for rows at which tiles start or end: a table of all corners takes longer than the masks themselves.
    """
    kind = np.int32 if mask.size < 2**31 else np.int64
    sums = np.zeros((len(rows), mask.shape[1] + 1), kind)
    above: NDArray[np.integer[Any]] = np.zeros(mask.shape[1], kind)
    start = 0
    for number, row in enumerate(rows.tolist()):
        above += _counted(mask[start:row])
        start = row
        np.cumsum(above, out=sums[number, 1:])
    return sums


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
        union |= _coverage(result, slide_size, shape) >= 0.5 - 1e-9
    return union


def _coverage(result: QcResult, slide_size: Size, shape: tuple[int, int]) -> Floats:
    """(h, w) masked share of each pixel of a grid over the whole slide."""
    covered = result.extent or Box(0, 0, slide_size.width, slide_size.height)
    rows, columns = result.mask.shape
    y = (np.linspace(0, slide_size.height, shape[0] + 1) - covered.y) * (rows / covered.height)
    x = (np.linspace(0, slide_size.width, shape[1] + 1) - covered.x) * (columns / covered.width)
    # One axis at a time: the running sum, interpolated at the grid's edges, gives the exact area between them.
    by_row = _between(result.mask, y)
    both = _between(np.ascontiguousarray(by_row.T), x).T
    pixel = (slide_size.height / shape[0] * rows / covered.height) * (
        slide_size.width / shape[1] * columns / covered.width
    )
    share: Floats = both / pixel
    return share


def _between(values: Floats | Mask, edges: Floats) -> Floats:
    """Sums of `values` along axis 0 between neighbouring edges, given in pixels."""
    whole, fraction = _split(edges, values.shape[0])
    sums: Floats = np.empty((len(edges) - 1, values.shape[1]))
    # Edge by edge: a running sum over all rows would take 4 to 8 bytes for every pixel of a large mask.
    for row, ((start, end), (before, after)) in enumerate(
        zip(pairwise(whole.tolist()), pairwise(fraction.tolist()), strict=True)
    ):
        np.multiply(values[end], after, out=sums[row])
        sums[row] -= values[start] * before
        part = values[start:end]
        sums[row] += _counted(cast("Mask", part)) if part.dtype == np.bool_ else part.sum(axis=0)
    return sums


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
    glass = _nearest_union(background, slide_size, shape)
    unsharp = _nearest_union(blur, slide_size, shape)
    _, _, width = _clipped(tiles_considered.x, tiles_considered.footprint.width, slide_size.width)
    _, _, height = _clipped(tiles_considered.y, tiles_considered.footprint.height, slide_size.height)
    area = width * height
    glass_share = masked_share(glass, None, tiles_considered, slide_size)
    kept = (glass_share <= filter_threshold) & (area > 0)
    # Into the memory of `glass`, unless that is the caller's mask.
    tissue_unsharp = np.greater(unsharp, glass, out=glass if glass.flags.owndata else None)  # unsharp and not glass
    unsharp_tissue = masked_share(tissue_unsharp, None, tiles_considered, slide_size)
    tissue = float((area * (1 - glass_share))[kept].sum())
    if tissue <= 0:
        return None
    return float(np.clip((area * unsharp_tissue)[kept].sum() / tissue, 0, 1))


def _finest_shape(results: Sequence[QcResult], slide_size: Size) -> tuple[int, int]:
    rows = columns = 1
    for result in results:
        covered = result.extent or Box(0, 0, slide_size.width, slide_size.height)
        rows = max(rows, round(result.mask.shape[0] * slide_size.height / covered.height))
        columns = max(columns, round(result.mask.shape[1] * slide_size.width / covered.width))
    return min(rows, MAX_GRID_PX), min(columns, MAX_GRID_PX)


def _nearest_union(results: Sequence[QcResult], slide_size: Size, shape: tuple[int, int]) -> Mask:
    """Union of the masks, each sampled at the centres of a grid over the whole slide; a view of a single mask."""
    union: Mask | None = None
    for result in results:
        covered = result.extent or Box(0, 0, slide_size.width, slide_size.height)
        rows, columns = result.mask.shape
        y = _centres(slide_size.height, shape[0], covered.y, rows / covered.height)
        x = _centres(slide_size.width, shape[1], covered.x, columns / covered.width)
        in_y, in_x = _held_by(y, rows), _held_by(x, columns)
        # First the columns in the mask, which is often the smaller array, and then the rows in the grid.
        read = _columns(result.mask, x[in_x])
        if len(results) == 1 and (len(y[in_y]), read.shape[1]) == shape and _counts_by_one(y):
            return read[y[0] : y[-1] + 1]
        is_first, union = union is None, np.zeros(shape, np.bool_) if union is None else union
        _add_rows(union[in_y, in_x], read, y[in_y], is_first=is_first)
    return np.zeros(shape, np.bool_) if union is None else union


def _columns(mask: Mask, index: Whole) -> Mask:
    """Columns of a mask by an ascending index; a view if the index is consecutive."""
    return mask[:, index[0] : index[-1] + 1] if _counts_by_one(index) else mask.take(index, axis=1)


def _add_rows(target: Mask, mask: Mask, index: Whole, *, is_first: bool) -> None:
    """OR rows of a mask, by an ascending index, into a target. If the target is known to be empty, it is not read."""
    if _counts_by_one(index):
        parts = [(slice(None), mask[index[0] : index[-1] + 1])]
    else:
        edges = [0, *(np.flatnonzero(np.diff(index)) + 1).tolist(), len(index)] if len(index) else []
        parts = [(slice(start, end), mask[index[start]]) for start, end in pairwise(edges)]
    for where, values in parts:
        if is_first:
            target[where] = values
        else:
            np.logical_or(target[where], values, out=target[where])


def _counts_by_one(index: Whole) -> bool:
    return bool(len(index)) and index[-1] - index[0] == len(index) - 1 and bool((np.diff(index) == 1).all())


def _centres(length: int, count: int, start: float, scale: float) -> Whole:
    centres = (np.arange(count) + 0.5) * (length / count)
    return cast("Whole", np.floor((centres - start) * scale).astype(np.int64))


def _held_by(index: Whole, count: int) -> slice:
    """Where an ascending index is from 0 to below `count`."""
    first, last = np.searchsorted(index, [0, count])
    return slice(int(first), int(last))
