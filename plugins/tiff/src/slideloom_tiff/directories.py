"""Image file directories of TIFF and BigTIFF: the tags that tiles are found by.

Source: TIFF 6.0 (Adobe 1992), TIFF Technical Note 2 (JPEG tables), the BigTIFF design document.
"""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

_MAX_DIRECTORIES = 1000  # a chain that loops must end
# TIFF field type to its format character; 5 and 10 are rationals of two numbers.
_FORMATS = {1: "B", 2: "c", 3: "H", 4: "I", 5: "I", 6: "b", 7: "B", 8: "h", 9: "i", 10: "i", 11: "f", 12: "d"}
_FORMATS |= {13: "I", 16: "Q", 17: "q", 18: "Q"}
_RATIONALS = (5, 10)


class NotTiffError(ValueError):
    """The bytes are no TIFF, or it is damaged; the text says where."""


@frozen
class Directory:
    """One image of the file: its tags, as numbers, text or arrays."""

    tags: dict[int, Any] = field(eq=False)

    def number(self, tag: int, default: int | None = None) -> int | None:
        """The first value of a tag."""
        values = self.numbers(tag)
        return int(values[0]) if len(values) else default

    def numbers(self, tag: int) -> NDArray[np.int64]:
        """All values of a tag, (N,) int64; none if the tag is missing.

        Raises:
            NotTiffError: they are not whole numbers.
        """
        values = self.tags.get(tag)
        if values is None:
            return np.empty(0, np.int64)
        found = np.frombuffer(values, np.uint8) if isinstance(values, bytes) else values
        if found.dtype.kind not in "iu":
            raise NotTiffError(f"tag {tag} does not hold whole numbers")
        return found.astype(np.int64)

    def raw(self, tag: int) -> bytes:
        """A tag's bytes, none if it is missing."""
        value = self.tags.get(tag, b"")
        return value if isinstance(value, bytes) else bytes(value.tobytes())

    def text(self, tag: int) -> str:
        """A tag as text, "" if missing."""
        raw = self.tags.get(tag, b"")
        return raw.split(b"\0")[0].decode("utf-8", "replace") if isinstance(raw, bytes) else ""

    def rational(self, tag: int) -> float | None:
        """A tag of two numbers as their quotient, None if missing or divided by 0."""
        value = self.tags.get(tag)
        if value is None or len(value) < 2 or not float(value[1]):
            return None
        return float(value[0]) / float(value[1])


def read_directories(path: Path) -> list[Directory]:
    """All directories of the chain, in file order.

    Raises:
        NotTiffError: it is no TIFF, or ends within a directory.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        end = os.fstat(file.fileno()).st_size
        parser = _Parser(file, end)
        return parser.chain()


class _Parser:
    def __init__(self, file: Any, end: int) -> None:  # Any: a binary file
        self._file = file
        self._end = end
        head = file.read(16)
        self._order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not self._order or len(head) < 8:
            raise NotTiffError("no TIFF signature")
        version = struct.unpack(self._order + "H", head[2:4])[0]
        if version == 42:
            self._big = False
            self._first = struct.unpack(self._order + "I", head[4:8])[0]
        elif version == 43 and len(head) == 16:
            self._big = True
            self._first = struct.unpack(self._order + "Q", head[8:16])[0]
        else:
            raise NotTiffError(f"TIFF version {version} is not known")

    def chain(self) -> list[Directory]:
        found: list[Directory] = []
        at = self._first
        while at and len(found) < _MAX_DIRECTORIES:
            directory, at = self._directory(at)
            found.append(directory)
        return found

    def _bytes(self, at: int, length: int) -> bytes:
        if at + length > self._end:
            raise NotTiffError(f"the file ends at {self._end}, within what starts at {at}")
        self._file.seek(at)
        content: bytes = self._file.read(length)
        if len(content) != length:
            raise NotTiffError(f"the file ends within what starts at {at}")
        return content

    def _directory(self, at: int) -> tuple[Directory, int]:
        head, entry, link = ("Q", 20, "Q") if self._big else ("H", 12, "I")
        (count,) = struct.unpack(self._order + head, self._bytes(at, struct.calcsize(head)))
        at += struct.calcsize(head)
        body = self._bytes(at, count * entry)
        tags = {}
        for start in range(0, count * entry, entry):
            tag, value = self._tag(body[start : start + entry])
            if value is not None:
                tags[tag] = value
        (following,) = struct.unpack(self._order + link, self._bytes(at + count * entry, struct.calcsize(link)))
        return Directory(tags), following

    def _tag(self, entry: bytes) -> tuple[int, Any]:
        size = "Q" if self._big else "I"
        tag, kind, count = struct.unpack(self._order + "HH" + size, entry[: 4 + struct.calcsize(size)])
        letter = _FORMATS.get(kind)
        if letter is None:
            return tag, None
        values = count * (2 if kind in _RATIONALS else 1)
        length = values * struct.calcsize(letter)
        inline = entry[4 + struct.calcsize(size) :]
        if length <= len(inline):
            raw = inline[:length]
        else:
            (offset,) = struct.unpack(self._order + size, inline)
            raw = self._bytes(offset, length)
        if letter in "cB":
            return tag, raw if tag in _TEXT_TAGS or kind == 7 else np.frombuffer(raw, np.uint8)
        return tag, np.frombuffer(raw, np.dtype(self._order + letter))


SUBFILE_TYPE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC = 254, 256, 257, 258, 259, 262
DESCRIPTION, MAKE, SAMPLES, X_RESOLUTION, Y_RESOLUTION, PLANAR, UNIT = 270, 271, 277, 282, 283, 284, 296
SOFTWARE, TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES, SUB_IFDS = 305, 322, 323, 324, 325, 330
JPEG_TABLES, XMP, NDPI_FORMAT = 347, 700, 65420
_TEXT_TAGS = {DESCRIPTION, MAKE, SOFTWARE, JPEG_TABLES, XMP}
