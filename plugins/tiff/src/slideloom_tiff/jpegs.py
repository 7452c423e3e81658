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

    def decode(self, level: int, index: int, out: Rgb) -> None:
        """Decode a tile into `out`, which is one of `empty`.

        Raises:
            SlideError: its bytes are damaged.
        """
        stored = self._levels[level]
        try:
            content = self._file.read(int(stored.offsets[index]), int(stored.lengths[index]))
            jpeg = stored.head + content[2:]
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
        if hasattr(os, "pread"):
            content = os.pread(self._file.fileno(), length, offset)
        else:
            with self._lock:
                self._file.seek(offset)
                content = self._file.read(length)
        if len(content) != length:
            raise ValueError(f"the file ends {length - len(content)} bytes too early")
        return content

    def close(self) -> None:
        """Release the file."""
        self._file.close()
