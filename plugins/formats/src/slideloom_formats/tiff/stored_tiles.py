"""The bytes of a TIFF's tiles and strips, looked at for damage that decoders do not tell.

libtiff stops where a tile is full: it neither compares the checksum of deflate nor sees that a JPEG has no end. Of a
tile that is not compressed it reads as many bytes as the tile takes, whatever number of them the file claims.
"""

from __future__ import annotations

import os
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from slideloom_formats.tiff.directories import TiffDirectory, TiffError, TiffTag
from slideloom_formats.tiff.layout import TileLayout

TILE_TAGS = frozenset({
    TiffTag.WIDTH, TiffTag.HEIGHT, TiffTag.BITS, TiffTag.COMPRESSION, TiffTag.SAMPLES, TiffTag.PLANAR,
    TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT, TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES,
    TiffTag.STRIP_ROWS, TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES, TiffTag.JPEG_TABLES, TiffTag.SUB_IFDS,
    TiffTag.PHOTOMETRIC, TiffTag.SUBSAMPLING,
})  # fmt: skip
TileCheck = Callable[[bytes, int], str | None]
_DEFLATE = (8, 32946)  # numbers of the compression
_PLAIN, _JPEG = 1, 7  # compression
_YCBCR = 6  # photometric interpretation
_SIMPLE = ("Gray", "YCbCr", "RGB")  # colours of JPEG that simplejpeg decodes
_SHARES = (1, 2, 4)
_UNKNOWN, _GOOD, _BAD = 0, 1, 2


class StoredTiles:
    """Checks tiles, or strips, when they are first read; may be asked by several threads at once.

    Args:
        path: of the file.
        image: its directory, read with `TILE_TAGS`.
        check: says what is wrong with a tile's bytes, given how many it must decode to; None if nothing. Without one,
            tiles are not compressed, and only the number of their bytes is looked at.

    Raises:
        TiffError: a number in the directory is impossible.
    """

    def __init__(self, path: Path, image: TiffDirectory, check: TileCheck | None = None) -> None:
        self._path, self._check, self._layout = path, check, TileLayout.of(image)
        self._bits = self._layout.samples * (image.number(TiffTag.BITS, 1) or 1)
        is_subsampled = image.number(TiffTag.PHOTOMETRIC) == _YCBCR and self._layout.planes == 1
        self._block = _subsampling(image) if is_subsampled and check is None else None
        self._state = np.zeros(len(self._layout.lengths), np.uint8)
        self._faults: dict[int, str] = {}
        self._lock = threading.Lock()

    def fault(self, *, x: int, y: int, width: int, height: int) -> str | None:
        """What is wrong with the tiles of an area in pixels, which is on the image; None if nothing is known to be.

        Raises:
            OSError: they cannot be read.
        """
        layout, tile = self._layout, self._layout.tile
        columns = range(x // tile.width, min(layout.columns, -(-(x + width) // tile.width)))
        rows = range(y // tile.height, min(layout.rows, -(-(y + height) // tile.height)))
        planes = range(layout.planes)
        numbers = [p * layout.count + r * layout.columns + c for p in planes for r in rows for c in columns]
        unknown = [number for number in numbers if self._state[number] == _UNKNOWN]
        if unknown:
            self._look_at(unknown)
        return next((self._faults[number] for number in numbers if self._state[number] == _BAD), None)

    def _look_at(self, numbers: list[int]) -> None:
        layout = self._layout
        with self._path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            for number in numbers:
                offset, length = int(layout.offsets[number]), int(layout.lengths[number])
                found = None
                if not 0 <= offset <= offset + length <= end:
                    found = f"it claims {length} bytes from {offset} on, but the file ends at {end}"
                elif length and self._check is None:
                    found = _too_few(length, self._needed(number))
                elif length and self._check is not None:  # else it was never written
                    file.seek(offset)
                    found = self._check(file.read(length), self._needed(number))
                with self._lock:
                    if found is not None:
                        self._faults[number] = f"{'tile' if layout.is_tiled else 'strip'} {number}: {found}"
                    self._state[number] = _GOOD if found is None else _BAD

    def _needed(self, number: int) -> int:
        """Bytes that a tile decodes to; the last strip has what rows are left."""
        layout, tile = self._layout, self._layout.tile
        rows = tile.height if layout.is_tiled else layout.shown(number).height
        if self._block is not None:  # so many values of luma, and one of each chroma
            across, down = self._block
            return -(-rows // down) * -(-tile.width // across) * (across * down + 2)
        return rows * -(-tile.width * self._bits // 8)


def stored_tiles(path: Path, image: TiffDirectory, check: TileCheck | None = None) -> StoredTiles | None:
    """What checks an image's tiles of which libtiff takes damaged ones for whole; None if it tells of all damage.

    Args:
        path: of the file.
        image: its directory, read with `TILE_TAGS`.
        check: of tiles that are neither compressed by deflate nor stored as they are.

    Raises:
        TiffError: a number in the directory is impossible.
    """
    if image.number(TiffTag.COMPRESSION, _PLAIN) == _PLAIN:
        return StoredTiles(path, image)
    chosen = deflate_check(image) or check
    return StoredTiles(path, image, chosen) if chosen is not None else None


def jpeg_check(image: TiffDirectory, simplejpeg: Any) -> TileCheck | None:  # Any: a module
    """The check of tiles that are JPEG; None if those of the image are not.

    Args:
        image: its directory, read with `TILE_TAGS`.
        simplejpeg: the library, which the core does not import.
    """
    if image.number(TiffTag.COMPRESSION) != _JPEG:
        return None
    tables = image.raw(TiffTag.JPEG_TABLES)
    head = tables[:-2] if len(tables) > 4 else b"\xff\xd8"  # without the end marker; SOI alone where there are none
    return lambda content, _needed: jpeg_fault(head + content[2:], simplejpeg)


def jpeg_fault(content: bytes, simplejpeg: Any) -> str | None:  # Any: a module
    """What is wrong with a JPEG that has its tables; None if it is whole, or of a kind that simplejpeg does not decode.

    Others show what libjpeg makes up for damaged data, of which libjpeg only warns.
    """
    try:
        _, _, colours, _ = simplejpeg.decode_jpeg_header(content)
        if colours in _SIMPLE:
            # All of it is decoded, but for one pixel in 64: as much as it takes to find every warning.
            simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return f"its JPEG is damaged ({error})"
    return None


def check_tile_places(image: TiffDirectory) -> None:
    """Raises TiffError for an image, read with `TILE_TAGS`, that does not say of each of its tiles where it is."""
    TileLayout.of(image)


def lacks_tiles(level: TiffDirectory, base: TiffDirectory) -> bool:
    """True if a level has no bytes where the full image has some: it is no copy of it.

    Encoders of Aperio have left tiles out of smaller levels. A place that was not scanned has no bytes on any level.

    Args:
        level: a smaller image, read with `TILE_TAGS`.
        base: the full one.

    Raises:
        TiffError: a number in a directory is impossible.
    """
    small, large = TileLayout.of(level), TileLayout.of(base)
    written = small.written()
    if written.all():
        return False
    rows, columns = np.nonzero(large.written())
    # The middle of each tile of the full image, as far as it is on the image, in pixels of the level.
    ends_y = np.minimum((rows + 1) * large.tile.height, large.size.height)
    ends_x = np.minimum((columns + 1) * large.tile.width, large.size.width)
    y = (rows * large.tile.height + ends_y) / 2 * small.size.height / large.size.height
    x = (columns * large.tile.width + ends_x) / 2 * small.size.width / large.size.width
    return not written[(y // small.tile.height).astype(np.intp), (x // small.tile.width).astype(np.intp)].all()


def _subsampling(image: TiffDirectory) -> tuple[int, int]:
    """Pixels across and down that share their chroma; by default 2 and 2 (TIFF 6.0, section 21)."""
    found = image.numbers(TiffTag.SUBSAMPLING).tolist()
    across, down = found if len(found) == 2 else (2, 2)
    if across not in _SHARES or down not in _SHARES:
        raise TiffError(f"the image of the directory at {image.at} has chroma for {across} x {down} pixels")
    return across, down


def _too_few(length: int, needed: int) -> str | None:
    return f"it has {length} of {needed} bytes" if length < needed else None


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
