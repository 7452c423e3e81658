"""Where the tiles or strips of one image of a TIFF lie, on the picture and in the file.

Source: TIFF 6.0 (Adobe 1992), PlanarConfiguration, RowsPerStrip, StripOffsets, TileOffsets.
"""

from __future__ import annotations

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Size

from slideloom_formats.tiff.directories import TiffDirectory, TiffError, TiffTag

_SEPARATE = 2  # planar configuration: each sample has tiles of its own


@frozen
class TileLayout:
    """The tiles of one image, or its strips, which are as wide as the image.

    Attributes:
        size: of the image in pixels.
        tile: of a tile or strip in pixels; the last strip may be shorter.
        columns, rows: number of tiles.
        planes: 1, or the number of samples if each has tiles of its own; these follow one another.
        samples: numbers per pixel of a tile.
        is_tiled: False for strips.
        offsets, lengths: (planes * rows * columns,) byte ranges; a length of 0 means that it was never written.
    """

    size: Size
    tile: Size
    columns: int
    rows: int
    planes: int
    samples: int
    is_tiled: bool
    offsets: NDArray[np.int64] = field(eq=False, repr=False)
    lengths: NDArray[np.int64] = field(eq=False, repr=False)

    @classmethod
    def of(cls, image: TiffDirectory) -> TileLayout:
        """The layout of an image, read with `TILE_TAGS`.

        Raises:
            TiffError: a number is missing or impossible, or not every tile has a place.
        """
        size, tile = image.size(), image.tile_size()
        if size is None:
            raise TiffError(f"the image of the directory at {image.at} has no size")
        places = (TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES)
        is_tiled = tile is not None
        if tile is None:
            tile = Size(size.width, strip_rows(image, size))
            places = (TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES)
        columns, rows = -(-size.width // tile.width), -(-size.height // tile.height)
        planes, samples = planes_of(image)
        count = planes * columns * rows
        offsets, lengths = (image.numbers(tag) for tag in places)
        if len(offsets) != count or len(lengths) != count:
            found = f"has {len(offsets)} places of tiles or strips, and its size takes {count}"
            raise TiffError(f"the image of the directory at {image.at} {found}")
        return cls(size, tile, columns, rows, planes, samples, is_tiled, offsets, lengths)

    @property
    def count(self) -> int:
        """Number of tiles of one plane."""
        return self.columns * self.rows

    @property
    def tile_bytes(self) -> int:
        """Bytes of a decoded tile, if a sample has one."""
        return self.tile.area * self.samples

    def shown(self, number: int) -> Size:
        """The size of the part of a tile that is on the image."""
        row, column = divmod(number % self.count, self.columns)
        return Size(
            min(self.tile.width, self.size.width - column * self.tile.width),
            min(self.tile.height, self.size.height - row * self.tile.height),
        )

    def was_written(self, number: int) -> bool:
        """False for a place whose tiles were all left out because they show nothing."""
        return bool(self.lengths[number :: self.count].any())

    def written(self) -> NDArray[np.bool_]:
        """(rows, columns): True where there are bytes."""
        found: NDArray[np.bool_] = (self.lengths != 0).reshape(self.planes, self.rows, self.columns).any(axis=0)
        return found


def planes_of(image: TiffDirectory) -> tuple[int, int]:
    """The number of planes, each with tiles of its own, and of samples per pixel in each."""
    samples = image.number(TiffTag.SAMPLES, 1) or 1
    planes = samples if image.number(TiffTag.PLANAR, 1) == _SEPARATE else 1
    return planes, samples // planes


def strip_rows(image: TiffDirectory, size: Size) -> int:
    """Rows of pixels in a strip, of an image of this size; the last strip has what is left."""
    rows = image.number(TiffTag.STRIP_ROWS, size.height) or size.height
    return min(max(1, rows), size.height)


def first_strip_bytes(image: TiffDirectory, size: Size) -> int:
    """Bytes that the first strip of an image of this size takes when it is not compressed."""
    _, samples = planes_of(image)
    bits = samples * (image.number(TiffTag.BITS, 1) or 1)
    return strip_rows(image, size) * -(-size.width * bits // 8)
