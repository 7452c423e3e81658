"""A window of an image that is stored as tiles of one size, without assembling it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import evolve, field, frozen

from slideloom.base.geometry import Rgb, Size

_WHITE = 255


@frozen
class Mosaic:
    """A grid of adjacent tiles, and a window in it.

    Attributes:
        tiles: row by row, each (tile.height, tile.width, 3) uint8 and contiguous; None is background, which is white.
        columns: tiles in a row.
        tile: width and height of a tile in pixels.
        left, top: top left corner of the window, in pixels of the mosaic.
        window: width and height of the window in pixels.
        end: width and height of the part of the mosaic that belongs to the image; the rest is background.
    """

    tiles: Sequence[Rgb | None] = field(eq=False)
    columns: int
    tile: Size
    left: int
    top: int
    window: Size
    end: Size

    @classmethod
    def of(cls, rgb: Rgb) -> Mosaic:
        """A mosaic of one tile: a whole image (H, W, 3) uint8."""
        size = Size(rgb.shape[1], rgb.shape[0])
        whole = rgb if rgb.flags.c_contiguous else np.ascontiguousarray(rgb)
        return cls(tiles=[whole], columns=1, tile=size, left=0, top=0, window=size, end=size)

    def part(self, x: int, y: int, width: int, height: int) -> Mosaic:
        """A smaller window that starts at (x, y) of this one."""
        return evolve(self, left=self.left + x, top=self.top + y, window=Size(width, height))

    @property
    def in_one(self) -> Rgb | None:
        """The window if it lies within one tile, as a view that must not be written to; else None."""
        right, bottom = self.left + self.window.width, self.top + self.window.height
        tile = self.tiles[0]
        if len(self.tiles) > 1 or tile is None or right > self.end.width or bottom > self.end.height:
            return None
        return tile[self.top : bottom, self.left : right]

    def image(self) -> Rgb:
        """The window (window.height, window.width, 3) uint8; it must not be written to."""
        rgb = self.in_one
        if rgb is None:
            rgb = np.empty((self.window.height, self.window.width, 3), np.uint8)
            self.copy_to(rgb)
        return rgb

    def copy_to(self, out: Rgb) -> None:
        """Write the window to `out`, (window.height, window.width, 3) uint8."""
        right, bottom = self.left + self.window.width, self.top + self.window.height
        if right > self.end.width or bottom > self.end.height:
            out[...] = _WHITE
        if self.left >= self.end.width or self.top >= self.end.height:
            return
        width, height = self.tile.width, self.tile.height
        rows = range(self.top // height, (min(bottom, self.end.height) - 1) // height + 1)
        columns = range(self.left // width, (min(right, self.end.width) - 1) // width + 1)
        for row in rows:
            y0, y1 = max(self.top, row * height), min(bottom, self.end.height, (row + 1) * height)
            for column in columns:
                x0, x1 = max(self.left, column * width), min(right, self.end.width, (column + 1) * width)
                tile = self.tiles[row * self.columns + column]
                target = out[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left]
                if tile is None:
                    target[...] = _WHITE
                else:
                    target[...] = tile[y0 - row * height : y1 - row * height, x0 - column * width : x1 - column * width]
