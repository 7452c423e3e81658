"""A slide's JPEG tiles, from bytes to pixels."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import simplejpeg
from slideloom import Rgb, SlideError

from slideloom_tiff.levels import TiledLevel


class JpegTiles:
    """Decodes tiles by level and number; may be called from several threads at once.

    Args:
        file: the slide.
        levels: of the slide.
        name: of the slide, for messages.
    """

    def __init__(self, file: ByteRanges, levels: Sequence[TiledLevel], *, name: str) -> None:
        self._file = file
        self._levels = list(levels)
        self._name = name

    def empty(self, level: int) -> Rgb:
        """Memory for one tile of a level."""
        tile = self._levels[level].tile
        return np.empty((tile.height, tile.width, 3), np.uint8)

    def bytes_of(self, level: int) -> int:
        """Memory that `empty` takes."""
        return 3 * self._levels[level].tile.area

    def was_written(self, level: int, index: int) -> bool:
        """False for a tile that the scanner left out, which is background."""
        return bool(self._levels[level].lengths[index])

    def fetch(self, level: int, indices: Sequence[int]) -> dict[int, memoryview]:
        """The bytes of tiles by index, read in as few pieces as they lie in.

        Tiles outside the file are left out; `decode` says what is wrong with them.
        """
        stored = self._levels[level]
        places = [(int(stored.offsets[index]), int(stored.lengths[index]), index) for index in indices]
        places.sort()
        found: dict[int, memoryview] = {}
        first = 0
        for last, (offset, length, _) in enumerate(places):
            start, end = places[first][0], offset + length
            has_next = last + 1 < len(places)
            if has_next and places[last + 1][0] - end <= _GAP and places[last + 1][0] - start < _PIECE:
                continue
            piece = self._file.read_within(start, max(at + size for at, size, _ in places[first : last + 1]) - start)
            for at, size, index in places[first : last + 1]:
                if at - start >= 0 and at - start + size <= len(piece):
                    found[index] = piece[at - start : at - start + size]
            first = last + 1
        return found

    def decode(self, level: int, index: int, out: Rgb, fetched: memoryview | None = None) -> None:
        """Decode a tile into `out`, which is one of `empty`.

        Args:
            level: of the tile.
            index: of the tile.
            out: written to.
            fetched: its bytes, if they were read before.

        Raises:
            SlideError: its bytes are damaged.
        """
        stored = self._levels[level]
        try:
            content = fetched
            if content is None:
                content = memoryview(self._file.read(int(stored.offsets[index]), int(stored.lengths[index])))
            jpeg = b"".join((stored.head, content[2:]))
            width, height = stored.tile.width, stored.tile.height
            found_height, found_width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
            if (found_width, found_height) != (width * stored.shrink, height * stored.shrink):
                raise ValueError(f"it holds {found_width} x {found_height} pixels")
            if stored.shrink == 1:
                simplejpeg.decode_jpeg(jpeg, "RGB", buffer=out)
            else:
                wanted = {"min_height": height, "min_width": width, "min_factor": stored.shrink}
                simplejpeg.decode_jpeg(jpeg, "RGB", buffer=out, **wanted)
        except (ValueError, OSError) as error:
            where = f"{self._name}: tile {index} of level {level}"
            raise SlideError(f"{where} is damaged ({error}); copy the slide again from its source") from error


# Tiles of a row mostly lie next to each other. Reading a gap costs less than asking twice, on network drives above all.
_GAP = 1 << 16
_PIECE = 1 << 22


class ByteRanges:
    """Byte ranges of a file, for many threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._size = os.fstat(self._file.fileno()).st_size
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`.

        Raises:
            ValueError: the file ends before that, or was closed.
        """
        if offset < 0 or length < 0 or offset + length > self._size:
            raise ValueError(f"bytes {offset} to {offset + length} are not in the file, which has {self._size}")
        content = self._read(offset, length)
        if len(content) != length:
            raise ValueError(f"the file ends {length - len(content)} bytes too early")
        return content

    def read_within(self, offset: int, length: int) -> memoryview:
        """`read`, where the part that lies within the file is enough; nothing where it cannot be read."""
        if offset < 0 or length < 0 or self._file.closed:
            return memoryview(b"")
        try:
            return memoryview(self._read(offset, min(length, max(0, self._size - offset))))
        except OSError:  # reading what is needed of it tells which tile it is
            return memoryview(b"")

    def _read(self, offset: int, length: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._file.fileno(), length, offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.read(length)

    def close(self) -> None:
        """Release the file."""
        self._file.close()
