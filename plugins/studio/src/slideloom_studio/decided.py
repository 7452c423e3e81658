"""Decisions about the tiles of a slide as the page draws them: counts, a grid with one pixel per tile, pictures."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from PIL import Image
from slideloom.base.geometry import Mask, Rgb, Size
from slideloom.drawing.pictures import Colour
from slideloom.slides.tiles import Tiles
from slideloom.viewing.views import TileMap

NO_TILE = 255
_MOST_REASONS = 254  # as codes are bytes; further reasons share the last one
_TITLES = {
    "kept": "Kept",
    "roi": "Outside the regions",
    "unreadable": "Cannot be read",
    "normalizer": "Cannot be normalized",
    "max-tiles": "Beyond the largest number of tiles",
}
_KINDS = {"qc": "Slide QC", "filter": "Tile filter"}


@frozen
class Grid:
    """Where the tiles of a regular grid are, in level-0 pixels."""

    columns: int
    rows: int
    x0: float
    y0: float
    stride: Size
    tile: Size

    def table(self) -> dict[str, Any]:
        """For the page."""
        return {
            "columns": self.columns,
            "rows": self.rows,
            "x0": self.x0,
            "y0": self.y0,
            "stride_x": self.stride.width,
            "stride_y": self.stride.height,
            "tile_w": self.tile.width,
            "tile_h": self.tile.height,
        }

    @classmethod
    def of(cls, tiles: Tiles, stride: Size, shape: tuple[int, ...]) -> Grid:
        """The grid of planned tiles, of which there is at least one."""
        x0 = int(tiles.x[0] - tiles.grid_x[0] * stride.width)
        y0 = int(tiles.y[0] - tiles.grid_y[0] * stride.height)
        return cls(shape[1], shape[0], x0, y0, stride, tiles.footprint)


@frozen
class Decisions:
    """What became of each tile.

    Attributes:
        words: "kept", then the reasons for which tiles were dropped.
        counts: number of tiles of each word.
        colours: of each word.
        codes: (rows, columns) uint8, an index into `words`, `NO_TILE` where there is no tile.
    """

    words: Sequence[str]
    counts: Sequence[int]
    colours: Sequence[Colour]
    codes: NDArray[np.uint8]

    @classmethod
    def of(cls, tile_map: TileMap) -> Decisions:
        """The decisions of a slide; reasons without tiles are left out."""
        found = np.bincount(tile_map.codes.ravel(), minlength=len(tile_map.words))
        kept = tile_map.words.index("kept")
        others = [code for code in range(1, len(tile_map.words)) if code != kept and found[code]]
        order = [kept, *others]
        places = np.full(len(tile_map.words), NO_TILE, np.uint8)
        places[order] = np.minimum(np.arange(len(order)), _MOST_REASONS)
        words = [tile_map.words[code] for code in order]
        return cls(
            words=words,
            counts=[int(found[code]) for code in order],
            colours=[tile_map.colours[word] for word in words],
            codes=places[tile_map.codes],
        )

    @property
    def planned(self) -> int:
        """Number of tiles."""
        return sum(self.counts)

    def table(self) -> list[dict[str, Any]]:
        """The counts for the page; the place of an entry is its code."""
        return [
            {"reason": word, "title": title_of(word), "colour": hex_of(colour), "count": count}
            for word, colour, count in zip(self.words, self.colours, self.counts, strict=True)
        ]

    def png(self) -> bytes:
        """A picture with one pixel per tile, transparent where there is none."""
        palette = {code: colour for code, colour in enumerate(self.colours) if code <= _MOST_REASONS}
        return palette_png(self.codes, palette, clear=NO_TILE)


def title_of(reason: str) -> str:
    """A reason in words: "Slide QC: tissue"."""
    if reason in _TITLES:
        return _TITLES[reason]
    kind, colon, rest = reason.partition(":")
    return f"{_KINDS.get(kind, kind.capitalize())}: {rest.replace(':', ', ')}" if colon else reason.capitalize()


def hex_of(colour: Colour) -> str:
    """A colour as a page writes it: #rrggbb."""
    red, green, blue = colour
    return f"#{red:02x}{green:02x}{blue:02x}"


def palette_png(values: NDArray[np.uint8], colours: Mapping[int, Colour], *, clear: int) -> bytes:
    """(h, w) uint8 as a PNG with a colour for each value; `clear` is transparent."""
    picture = Image.fromarray(np.ascontiguousarray(values))
    table = bytearray(768)
    for value, colour in colours.items():
        table[3 * value : 3 * value + 3] = bytes(colour)
    picture.putpalette(bytes(table))
    content = io.BytesIO()
    picture.save(content, "PNG", transparency=clear, compress_level=1)
    return content.getvalue()


def mask_png(mask: Mask, colour: Colour) -> bytes:
    """(h, w) bool as a PNG: the colour where it is True, transparent elsewhere."""
    return palette_png(mask.astype(np.uint8), {1: colour}, clear=0)


def rgb_png(rgb: Rgb) -> bytes:
    """(h, w, 3) uint8 as a PNG."""
    content = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(rgb)).save(content, "PNG", compress_level=1)
    return content.getvalue()
