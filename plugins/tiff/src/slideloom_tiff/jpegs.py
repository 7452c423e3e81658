"""A slide's JPEG tiles, from bytes to pixels."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import simplejpeg
from slideloom import RemoteFile, Rgb, SlideError

from slideloom_tiff.levels import TiledLevel

# ITU-T T.81, table B.1: the markers that begin a frame, and those of the baseline, extended and progressive processes.
_MARKER = 0xFF
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_DECODED = (0xC0, 0xC1, 0xC2)
_BITS = 8  # of a sample


class JpegTiles:
    """Decodes the tiles of a slide, by level and index. Thread-safe.

    Args:
        file: the slide's file.
        levels: the slide's levels.
        name: the slide's name, for messages.
    """

    def __init__(self, file: ByteRanges | RemoteFile, levels: Sequence[TiledLevel], *, name: str) -> None:
        self._file = file
        self._levels = list(levels)
        self._name = name

    def empty(self, level: int) -> Rgb:
        """New memory for one tile of a level: (tile height, tile width, 3) uint8 of any content."""
        tile = self._levels[level].tile
        return np.empty((tile.height, tile.width, 3), np.uint8)

    def bytes_of(self, level: int) -> int:
        """Size in bytes of what `empty` gives."""
        return 3 * self._levels[level].tile.area

    def was_written(self, level: int, index: int) -> bool:
        """False for a tile that the scanner left out because it is background."""
        return bool(self._levels[level].lengths[index])

    def fetch(self, level: int, indices: Sequence[int]) -> dict[int, memoryview]:
        """The bytes of tiles, by index; valid until this thread calls `fetch` again.

        Tiles that lie next to each other in the file are read in one piece. Tiles that lie outside the file or are
        too large are left out; `decode` reads them itself, or reports what is wrong with them.
        """
        stored = self._levels[level]
        offsets, lengths = stored.offsets[indices].tolist(), stored.lengths[indices].tolist()
        size = self._file.size
        places = sorted(
            (offset, length, index)
            for offset, length, index in zip(offsets, lengths, indices, strict=True)
            if 0 <= offset <= offset + length <= size and length <= _PIECE
        )
        pieces: list[tuple[int, int]] = []  # start and end of each
        for offset, length, _ in places:
            end = offset + length
            if pieces and offset - pieces[-1][1] <= self._file.gap and end - pieces[-1][0] <= _PIECE:
                pieces[-1] = (pieces[-1][0], max(end, pieces[-1][1]))
            else:
                pieces.append((offset, end))
        contents = self._file.read_pieces(pieces)
        found: dict[int, memoryview] = {}
        which = 0
        for offset, length, index in places:
            while offset + length > pieces[which][1]:
                which += 1
            at = offset - pieces[which][0]
            if at + length <= len(contents[which]):
                found[index] = contents[which][at : at + length]
        return found

    def decode(self, level: int, index: int, out: Rgb, fetched: memoryview | None = None) -> None:
        """Decode a tile into `out`.

        Args:
            level: the tile's level.
            index: the tile's index, row by row.
            out: where the pixels are written, as `empty` gives it.
            fetched: the tile's bytes, if `fetch` has read them.

        Raises:
            SlideError: the tile's bytes are damaged, or the system cannot read them.
        """
        stored = self._levels[level]
        try:
            content = fetched
            if content is None:
                content = memoryview(self._file.read(int(stored.offsets[index]), int(stored.lengths[index])))
            jpeg = b"".join((stored.head, content[2:]))
            _decode_into(out, jpeg, stored)
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error}); check the disk or network that it is on"
            raise SlideError(f"{self._name}: tile {index} of level {level} {problem}") from error
        except ValueError as error:
            problem = f"is damaged ({error}); copy the slide again from its source"
            raise SlideError(f"{self._name}: tile {index} of level {level} {problem}") from error


def _decode_into(out: Rgb, jpeg: bytes, stored: TiledLevel) -> None:
    """Raises ValueError if the bytes are damaged or the image does not have the size of the level's tiles."""
    size, wanted = stored.tile, {}
    if stored.shrink > 1:
        wanted = {"min_height": size.height, "min_width": size.width, "min_factor": stored.shrink}
    try:
        fits = simplejpeg.decode_jpeg(jpeg, "RGB", buffer=out, **wanted).shape == out.shape
    except ValueError:
        _check_size(jpeg, stored)  # if the size is wrong, that is the better reason
        raise
    if not fits:
        _check_size(jpeg, stored)
        raise ValueError(f"it does not decode to {size.width} x {size.height} pixels")


def is_decodable(jpeg: bytes) -> bool:
    """False for a JPEG of a process that libjpeg-turbo does not decode to 8 bits: lossless, arithmetic, 12 bits.

    True for anything else, damaged or not.

    Args:
        jpeg: its first bytes are enough.
    """
    at = 2
    while at + 5 <= len(jpeg) and jpeg[at] == _MARKER:
        kind = jpeg[at + 1]
        if kind in _FRAMES:
            return kind in _DECODED and jpeg[at + 4] == _BITS
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return True


def _check_size(jpeg: bytes, stored: TiledLevel) -> None:
    height, width, _, _ = simplejpeg.decode_jpeg_header(jpeg)
    if (width, height) != (stored.tile.width * stored.shrink, stored.tile.height * stored.shrink):
        raise ValueError(f"it holds {width} x {height} pixels")


_PIECE = 1 << 22


class ByteRanges:
    """Reads byte ranges of a file. Thread-safe.

    Attributes:
        size: of the file in bytes.
        gap: bytes between two tiles up to which reading them in one piece costs less, mainly on network drives.
    """

    gap = 1 << 16

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self.size = os.fstat(self._file.fileno()).st_size
        self._lock = threading.Lock()
        self._local = threading.local()

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`.

        Raises:
            ValueError: the file is too short, or was closed.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"bytes {offset} to {offset + length} are not in the file, which has {self.size}")
        content = bytearray(length)
        got = self._read_into(memoryview(content), offset)
        if got != length:
            raise ValueError(f"the file ends {length - got} bytes too early")
        return bytes(content)

    def read_pieces(self, pieces: Sequence[tuple[int, int]]) -> list[memoryview]:
        """The bytes of each piece (start, end), which must lie within the file; valid until this thread calls again.

        A piece that cannot be read is empty: `read` then tells why.
        """
        needed = sum(end - start for start, end in pieces)
        memory: bytearray | None = getattr(self._local, "memory", None)
        if memory is None or len(memory) < needed:
            memory = self._local.memory = bytearray(needed)
        found, used = [], 0
        view = memoryview(memory)
        for start, end in pieces:
            part = view[used : used + end - start]
            try:
                got = self._read_into(part, start)
            except (OSError, ValueError):  # ValueError: the file was closed
                got = 0
            found.append(part if got == len(part) else part[:0])
            used += end - start
        return found

    def _read_into(self, out: memoryview, offset: int) -> int:
        """Fill `out` from `offset`. Returns the number of bytes read, which is smaller only at the end of the file."""
        if hasattr(os, "preadv"):
            return os.preadv(self._file.fileno(), [out], offset)
        with self._lock:
            self._file.seek(offset)
            return self._file.readinto(out) or 0

    def close(self) -> None:
        """Release the file."""
        self._file.close()
