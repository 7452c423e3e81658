"""The bytes of a TIFF's tiles and strips, looked at for damage that decoders do not tell.

libtiff stops where a tile is full: it neither compares the checksum of deflate nor sees that a JPEG has no end.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from slideloom.base.geometry import Size
from slideloom.slides.tiff_directories import TiffDirectory, TiffError, TiffTag

TILE_TAGS = frozenset({
    TiffTag.WIDTH, TiffTag.HEIGHT, TiffTag.BITS, TiffTag.COMPRESSION, TiffTag.SAMPLES, TiffTag.PLANAR,
    TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT, TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES,
    TiffTag.STRIP_ROWS, TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES, TiffTag.JPEG_TABLES, TiffTag.SUB_IFDS,
})  # fmt: skip
TileCheck = Callable[[bytes, int], str | None]
_DEFLATE = (8, 32946)  # numbers of the compression
_SEPARATE = 2  # planar configuration: each channel has tiles of its own
_UNKNOWN, _GOOD, _BAD = 0, 1, 2


class StoredTiles:
    """Checks tiles, or strips, when they are first read; may be asked by several threads at once.

    Args:
        path: of the file.
        image: its directory, read with `TILE_TAGS`.
        check: says what is wrong with a tile's bytes, given how many it must decode to; None if nothing.

    Raises:
        TiffError: a number in the directory is impossible.
    """

    def __init__(self, path: Path, image: TiffDirectory, check: TileCheck) -> None:
        size, tile = image.size(), image.tile_size()
        if size is None:
            raise TiffError(f"the image of the directory at {image.at} has no size")
        places = (TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES)
        self._is_tiled = tile is not None
        if tile is None:
            rows = image.number(TiffTag.STRIP_ROWS, size.height) or size.height
            tile = Size(size.width, min(max(1, rows), size.height))
            places = (TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES)
        self._path, self._check, self._size, self._tile = path, check, size, tile
        self._columns, self._rows = -(-size.width // tile.width), -(-size.height // tile.height)
        samples = image.number(TiffTag.SAMPLES, 1) or 1
        self._planes = samples if image.number(TiffTag.PLANAR, 1) == _SEPARATE else 1
        self._bits = samples // self._planes * (image.number(TiffTag.BITS, 1) or 1)
        count = self._columns * self._rows * self._planes
        self._offsets, self._lengths = (image.numbers(tag, most=count) for tag in places)
        if len(self._offsets) != count or len(self._lengths) != count:
            raise TiffError(f"the image of the directory at {image.at} lacks places of tiles")
        self._state = np.zeros(count, np.uint8)
        self._faults: dict[int, str] = {}
        self._lock = threading.Lock()

    def fault(self, *, x: int, y: int, width: int, height: int) -> str | None:
        """What is wrong with the tiles of an area in pixels, which is on the image; None if nothing is known to be.

        Raises:
            OSError: they cannot be read.
        """
        columns = range(x // self._tile.width, min(self._columns, -(-(x + width) // self._tile.width)))
        rows = range(y // self._tile.height, min(self._rows, -(-(y + height) // self._tile.height)))
        plane = self._columns * self._rows
        numbers = [p * plane + r * self._columns + c for p in range(self._planes) for r in rows for c in columns]
        unknown = [number for number in numbers if self._state[number] == _UNKNOWN]
        if unknown:
            self._look_at(unknown)
        return next((self._faults[number] for number in numbers if self._state[number] == _BAD), None)

    def _look_at(self, numbers: list[int]) -> None:
        with self._path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            for number in numbers:
                offset, length = int(self._offsets[number]), int(self._lengths[number])
                found = None
                if not 0 <= offset <= offset + length <= end:
                    found = f"it claims {length} bytes from {offset} on, but the file ends at {end}"
                elif length:  # else it was never written
                    file.seek(offset)
                    found = self._check(file.read(length), self._needed(number))
                with self._lock:
                    if found is not None:
                        self._faults[number] = f"{'tile' if self._is_tiled else 'strip'} {number}: {found}"
                    self._state[number] = _GOOD if found is None else _BAD

    def _needed(self, number: int) -> int:
        """Bytes that a tile decodes to; the last strip has what rows are left."""
        first = number % (self._columns * self._rows) // self._columns * self._tile.height
        rows = self._tile.height if self._is_tiled else min(self._tile.height, self._size.height - first)
        return rows * -(-self._tile.width * self._bits // 8)


def deflate_check(image: TiffDirectory) -> TileCheck | None:
    """The check of tiles that are compressed by deflate; None if those of the image are not.

    Raises:
        TiffError: a number in the directory is impossible.
    """
    return deflate_fault if image.number(TiffTag.COMPRESSION) in _DEFLATE else None


def deflate_fault(content: bytes, needed: int) -> str | None:
    """What is wrong with a deflate stream that must give so many bytes; None if nothing."""
    stream = zlib.decompressobj()
    try:
        decoded = stream.decompress(content, needed)
        # Asked for what follows, it compares the checksum, which some writers leave out.
        is_longer = bool(stream.decompress(stream.unconsumed_tail, 1))
    except zlib.error as error:
        return f"its deflate stream is damaged ({error})"
    if is_longer:
        return f"its deflate stream has more than {needed} bytes"
    if len(decoded) < needed:
        return f"its deflate stream ends after {len(decoded)} of {needed} bytes"
    return None
