"""Where the tiles or strips of one image lie, on the picture and in the file."""

from __future__ import annotations

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Size
from slideloom_formats.tiff import TiffDirectory, TiffError, TiffTag

_SEPARATE = 2  # planar configuration: each sample has tiles of its own


@frozen
class Grid:
    """The tiles of one image, or its strips, which are as wide as the image.

    Attributes:
        size: of the image in pixels.
        segment: of a tile or strip in pixels; the last ones may be shorter.
        columns, rows: number of segments.
        parts: 1, or the number of samples if each has segments of its own; these follow one another.
        samples: numbers per pixel of a segment.
        is_tiled: False for strips.
        offsets, lengths: (parts * rows * columns,) byte ranges; a length of 0 means that it was never written.
    """

    size: Size
    segment: Size
    columns: int
    rows: int
    parts: int
    samples: int
    is_tiled: bool
    offsets: NDArray[np.int64] = field(eq=False, repr=False)
    lengths: NDArray[np.int64] = field(eq=False, repr=False)

    @classmethod
    def of(cls, image: TiffDirectory) -> Grid:
        """The grid of an image.

        Raises:
            TiffError: a number is missing or impossible.
        """
        size, segment = image.size(), image.tile_size()
        if size is None:
            raise TiffError(f"the image of the directory at {image.at} has no size")
        places = (TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES)
        is_tiled = segment is not None
        if segment is None:
            rows_each = image.number(TiffTag.STRIP_ROWS, size.height) or size.height
            segment = Size(size.width, min(max(1, rows_each), size.height))
            places = (TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES)
        columns, rows = -(-size.width // segment.width), -(-size.height // segment.height)
        samples = image.number(TiffTag.SAMPLES, 1) or 1
        parts = samples if image.number(TiffTag.PLANAR, 1) == _SEPARATE else 1
        count = parts * columns * rows
        offsets, lengths = (image.numbers(tag) for tag in places)
        if len(offsets) != count or len(lengths) != count:
            found = f"has {len(offsets)} places of tiles or strips, and its size takes {count}"
            raise TiffError(f"the image of the directory at {image.at} {found}")
        return cls(size, segment, columns, rows, parts, samples // parts, is_tiled, offsets, lengths)

    @property
    def count(self) -> int:
        """Number of segments of one part."""
        return self.columns * self.rows

    @property
    def segment_bytes(self) -> int:
        """Bytes of a decoded segment, if a sample has one."""
        return self.segment.area * self.samples

    def shown(self, number: int) -> Size:
        """The size of the part of a segment that is on the image."""
        row, column = divmod(number % self.count, self.columns)
        return Size(
            min(self.segment.width, self.size.width - column * self.segment.width),
            min(self.segment.height, self.size.height - row * self.segment.height),
        )

    def was_written(self, number: int) -> bool:
        """False for a place whose segments were all left out because they show nothing."""
        return bool(self.lengths[number :: self.count].any())

    def written(self) -> list[int]:
        """The numbers of places that were written."""
        return np.flatnonzero(self.lengths.reshape(self.parts, self.count).any(axis=0)).tolist()
