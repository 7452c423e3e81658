"""The grid of a strided model: tiles of a given size in microns, cells of one step, and which tiles have tissue."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, floor

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Box, ConfigError, Mask, MissingResolution, Size, Slide, SlideInfo

# Approximate width of one read, in pixels of the model's resolution: few reads with bounded memory.
_BLOCK_PX = 1024
_SCOUT_PX = 4  # pixels per cell and axis when looking for tissue
_SCOUT_CELLS = 64  # cells per read and axis
_TOLERANCE = 1e-6

# Tissue is coloured or dark. A slide is scouted block by block, so no threshold can be fitted to it as slide QC does
# (docs/explanation/qc.md). Glass measures below 8 in the first and above 225 in the second on real slides.
_MIN_CHROMA = 12
_MAX_GREY = 200


@frozen
class StridedGrid:
    """Tiles in rows and columns from the slide's corner; the last ones extend beyond its right and bottom sides.

    Attributes:
        tile_px: width and height of a tile in pixels of the model's resolution.
        stride_div: steps per tile; a cell is one step wide, so a tile covers stride_div x stride_div cells.
        step_x: level-0 pixels per pixel of the model's resolution, along x.
        step_y: the same along y.
        pixel_um: width of such a pixel in microns.
        columns: tiles in a row.
        rows: tiles in a column.
        whole: (width, height) of the slide in whole pixels of the model's resolution.
    """

    tile_px: int
    stride_div: int
    step_x: float
    step_y: float
    pixel_um: float
    columns: int
    rows: int
    whole: Size

    @property
    def stride_px(self) -> int:
        """The distance between tiles, and the width of a cell, in pixels of the model's resolution."""
        return self.tile_px // self.stride_div

    @property
    def cells(self) -> Size:
        """Cells that tiles cover."""
        return Size(self.columns + self.stride_div - 1, self.rows + self.stride_div - 1)

    @property
    def extent(self) -> Box:
        """The area of the cells, in level-0 pixels: at least the slide, at most one cell more."""
        return self.box(
            column=0, row=0, width_px=self.cells.width * self.stride_px, height_px=self.cells.height * self.stride_px
        )

    def box(self, *, column: int, row: int, width_px: int, height_px: int) -> Box:
        """A level-0 box at the corner of a tile, with a size in pixels of the model's resolution."""
        return self.box_px(column * self.stride_px, row * self.stride_px, width_px, height_px)

    def box_px(self, left: int, top: int, width: int, height: int) -> Box:
        """A level-0 box given in pixels of the model's resolution."""
        return Box(left * self.step_x, top * self.step_y, width * self.step_x, height * self.step_y)

    def corners(self, places: NDArray[np.int64], *, inside: bool) -> NDArray[np.int64]:
        """(B, 2) top and left of the tiles at (B, 2) rows and columns, in pixels of the model's resolution.

        Args:
            places: rows and columns.
            inside: a tile that would reach past the slide's right or lower side ends with the slide instead.
        """
        corners = places * self.stride_px
        if inside:
            last = np.array((self.whole.height, self.whole.width)) - self.tile_px
            corners = np.minimum(corners, np.maximum(last, 0))
        return corners


def grid_for(info: SlideInfo, *, tile_px: int, mpp: float, stride_div: int, tolerance: float) -> StridedGrid:
    """The grid over a slide.

    Args:
        info: the slide.
        tile_px: width and height of a tile in pixels of the model's resolution.
        mpp: microns per pixel of the model's resolution.
        stride_div: steps per tile.
        tolerance: a resolution this close (relative) to a whole number of level-0 pixels is rounded to it, because
            resampling by 1.002 would blur parts of the image needlessly.

    Raises:
        MissingResolution: the slide's microns per pixel are not known.
        ConfigError: the tile is not a whole number of steps.
    """
    if tile_px % stride_div:
        raise ConfigError(f"tile_px = {tile_px} cannot be divided into stride_div = {stride_div} equal steps")
    if info.mpp is None:
        raise MissingResolution(
            f"{info.path.name}: no microns per pixel recorded, so the model's scale is unknown; give mpp"
        )
    step_x, step_y = (_snapped(mpp / own, tolerance) for own in (info.mpp.x, info.mpp.y))
    stride, overlap = tile_px // stride_div, tile_px - tile_px // stride_div

    def tiles(extent: int, step: float) -> int:
        return max(1, ceil((extent / step - overlap) / stride - _TOLERANCE))

    return StridedGrid(
        tile_px=tile_px,
        stride_div=stride_div,
        step_x=step_x,
        step_y=step_y,
        pixel_um=step_x * info.mpp.x,
        columns=tiles(info.size.width, step_x),
        rows=tiles(info.size.height, step_y),
        whole=Size(floor(info.size.width / step_x + _TOLERANCE), floor(info.size.height / step_y + _TOLERANCE)),
    )


def _snapped(step: float, tolerance: float) -> float:
    whole = max(1, round(step))
    return float(whole) if abs(step / whole - 1) <= tolerance else step


@frozen
class Block:
    """Adjacent tiles that are read together."""

    column: int
    row: int
    columns: int
    rows: int


def blocks(grid: StridedGrid) -> Iterator[Block]:
    """The grid in blocks of full size, row by row; the last ones extend beyond the grid."""
    side = max(1, _BLOCK_PX // grid.tile_px) * grid.stride_div
    for row in range(0, grid.rows, side):
        for column in range(0, grid.columns, side):
            yield Block(column, row, side, side)


def tissue_share(slide: Slide, grid: StridedGrid, *, inside: bool = False) -> NDArray[np.float32]:
    """(rows, columns) share of each tile, 0-1, that is coloured or dark; from the lowest level with enough detail.

    Args:
        slide: whose tiles.
        grid: where they lie.
        inside: of a tile that reaches past the slide, count only the part on the slide.
    """
    cells = np.zeros((grid.cells.height, grid.cells.width), np.float32)
    for top in range(0, grid.cells.height, _SCOUT_CELLS):
        for left in range(0, grid.cells.width, _SCOUT_CELLS):
            wide = min(_SCOUT_CELLS, grid.cells.width - left)
            high = min(_SCOUT_CELLS, grid.cells.height - top)
            box = grid.box(column=left, row=top, width_px=wide * grid.stride_px, height_px=high * grid.stride_px)
            seen = is_tissue(slide.read_at(box, Size(wide * _SCOUT_PX, high * _SCOUT_PX)))
            cells[top : top + high, left : left + wide] = _means(seen, _SCOUT_PX)
    windows = np.lib.stride_tricks.sliding_window_view(cells, (grid.stride_div, grid.stride_div))
    share: NDArray[np.float32] = windows.mean(axis=(2, 3))
    if inside:
        across, down = (
            np.minimum(1, (extent / step - np.arange(count) * grid.stride_px) / grid.tile_px)
            for extent, step, count in (
                (slide.info.size.width, grid.step_x, grid.columns),
                (slide.info.size.height, grid.step_y, grid.rows),
            )
        )
        share = np.minimum(1, share / (down[:, None] * across[None, :])).astype(np.float32)
    return share


def mirrored_beyond(rgb: NDArray[np.uint8], corner: NDArray[np.int64], whole: Size) -> NDArray[np.uint8]:
    """An image with mirrored slide where it reaches past the slide's right or lower side.

    Args:
        rgb: (h, w, 3).
        corner: top and left of the image, in pixels of the model's resolution.
        whole: the slide in such pixels.
    """
    high, wide = (max(1, extent - start) for extent, start in zip((whole.height, whole.width), corner, strict=True))
    if high >= rgb.shape[0] and wide >= rgb.shape[1]:
        return rgb
    kept = rgb[:high, :wide]
    beyond = [(0, rgb.shape[axis] - kept.shape[axis]) for axis in (0, 1)]
    return np.pad(kept, (*beyond, (0, 0)), mode="symmetric")


def is_tissue(rgb: NDArray[np.uint8]) -> Mask:
    """(H, W), True where a low-resolution image of a slide is coloured or dark."""
    chroma = rgb.max(axis=-1) - rgb.min(axis=-1)
    mask: Mask = (chroma >= _MIN_CHROMA) | (rgb.mean(axis=-1) < _MAX_GREY)
    return mask


def _means(mask: Mask, side: int) -> NDArray[np.float32]:
    rows, columns = mask.shape[0] // side, mask.shape[1] // side
    means: NDArray[np.float32] = mask.reshape(rows, side, columns, side).mean(axis=(1, 3), dtype=np.float32)
    return means
