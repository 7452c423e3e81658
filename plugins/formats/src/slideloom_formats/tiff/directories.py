"""The directories of a TIFF or BigTIFF file: which images it holds, and what their tags say.

This is the only code that walks TIFF directories. It reads only the requested tags, and rejects every number for which
the file has no room: a few bytes can claim gigabytes, or a chain of directories that never ends.

Source: TIFF 6.0 (Adobe 1992); the BigTIFF design document; for NDPI, the files of Hamamatsu's scanners, whose links
between directories take 64 bits where classic TIFF has 32.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import RemoteFile, Size

_MOST_DIRECTORIES = 10_000  # a slide has dozens
_MOST_TAGS = 4096  # per directory, which has dozens
_MOST_TEXT = 1 << 20  # bytes of a text or table
_MOST_BYTES = 32 << 20  # of all requested values: the tile offsets of 180 gigapixel in tiles of 256
_FIRST = 16  # values read of any other tag
_MOST_PX = 2**31 - 1  # along a side
_MOST_INT64 = 2**63 - 1
# Bytes per value by TIFF field type, and numpy's name for the integer types.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_WHOLE = {
    1: "u1", 2: "u1", 3: "u2", 4: "u4", 6: "i1", 7: "u1", 8: "i2", 9: "i4", 13: "u4", 16: "u8", 17: "i8", 18: "u8",
}  # fmt: skip
_RATIONAL = {5: "u4", 10: "i4"}


class TiffTag(IntEnum):
    """Numbers of the tags that are needed to read slides."""

    SUBFILE_TYPE = 254
    WIDTH = 256
    HEIGHT = 257
    BITS = 258
    COMPRESSION = 259
    PHOTOMETRIC = 262
    DESCRIPTION = 270
    MAKE = 271
    STRIP_OFFSETS = 273
    ORIENTATION = 274
    SAMPLES = 277
    STRIP_ROWS = 278
    STRIP_BYTES = 279
    X_RESOLUTION = 282
    Y_RESOLUTION = 283
    PLANAR = 284
    UNIT = 296
    SOFTWARE = 305
    TILE_WIDTH = 322
    TILE_HEIGHT = 323
    TILE_OFFSETS = 324
    TILE_BYTES = 325
    SUB_IFDS = 330
    EXTRA_SAMPLES = 338
    SAMPLE_FORMAT = 339
    JPEG_TABLES = 347
    SUBSAMPLING = 530
    XMP = 700
    ICC_PROFILE = 34675
    NDPI_FORMAT = 65420


_KNOWN = frozenset(map(int, TiffTag))
_TEXTS = {TiffTag.DESCRIPTION, TiffTag.MAKE, TiffTag.SOFTWARE, TiffTag.JPEG_TABLES, TiffTag.XMP}
_LISTS = {
    TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES, TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES, TiffTag.SUB_IFDS,
    TiffTag.ICC_PROFILE,
}  # fmt: skip
_PLACES = (TiffTag.TILE_OFFSETS, TiffTag.TILE_BYTES, TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES)
# They have defaults, by which samples that are stored in another way would be shown as noise.
_EXPLAINING = frozenset({
    TiffTag.BITS, TiffTag.COMPRESSION, TiffTag.PHOTOMETRIC, TiffTag.SAMPLES, TiffTag.PLANAR, TiffTag.SAMPLE_FORMAT,
    TiffTag.SUBSAMPLING,
})  # fmt: skip
_SIDES = (TiffTag.WIDTH, TiffTag.HEIGHT, TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT)


class TiffError(ValueError):
    """The bytes are not a TIFF, or it is damaged; the message names offset and value."""


class NotTiff(TiffError):
    """The file does not start like a TIFF."""


class CutTiff(TiffError):
    """The file ends within a directory."""


@frozen
class TiffDirectory:
    """One image of the file.

    Attributes:
        at: offset of the directory, in bytes.
        next_at: where the link to the next directory is stored.
        present: the tags of `TiffTag` that it has, including those that were not read.
        values: field type and bytes of the requested tags, by number.
        order: "<" or ">", of the bytes of a number.
    """

    at: int
    next_at: int
    present: frozenset[int] = field(repr=False)
    values: Mapping[int, tuple[int, bytes]] = field(eq=False, repr=False)
    order: str

    def __contains__(self, tag: int) -> bool:
        return tag in self.present

    def number(self, tag: int, default: int | None = None) -> int | None:
        """The first value of a tag.

        Raises:
            TiffError: it is not a whole number.
        """
        found = self._whole(tag)
        return int(found[0]) if len(found) else default

    def numbers(self, tag: int, *, most: int | None = None) -> NDArray[np.int64]:
        """The values of a tag, (N,) int64, empty if the tag is missing; values above 2^63 - 1 become that number.

        Args:
            tag: its number; of tags with one value per channel, at most 16 values are kept.
            most: how many values to return; by default all.

        Raises:
            TiffError: they are not whole numbers.
        """
        found = self._whole(tag)[:most]
        if found.dtype.kind == "u" and found.dtype.itemsize == 8:
            found = np.minimum(found, np.uint64(_MOST_INT64))
        return found.astype(np.int64)

    def _whole(self, tag: int) -> NDArray[Any]:
        if tag not in self.values:
            return np.empty(0, np.int64)
        kind, raw = self.values[tag]
        if kind not in _WHOLE or (tag in _PLACES and _BYTES[kind] == 1):  # bytes are too small to be places
            raise TiffError(f"tag {tag} of the directory at {self.at} does not hold whole numbers (field type {kind})")
        return np.frombuffer(raw, np.dtype(self.order + _WHOLE[kind]))

    def size(self, width: int = TiffTag.WIDTH, height: int = TiffTag.HEIGHT) -> Size | None:
        """Width and height according to two tags; None if one is missing.

        Raises:
            TiffError: one of them is not a possible number of pixels.
        """
        sides = [(name, self.number(tag)) for name, tag in (("wide", width), ("high", height))]
        found = []
        for name, pixels in sides:
            if pixels is None:
                return None
            if not 1 <= pixels <= _MOST_PX:
                raise TiffError(f"the image of the directory at {self.at} claims to be {pixels} pixels {name}")
            found.append(pixels)
        return Size(*found)

    def tile_size(self) -> Size | None:
        """Width and height of its tiles in pixels; None if it has none.

        Raises:
            TiffError: one of them is not a possible number of pixels.
        """
        return self.size(TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT)

    def raw(self, tag: int) -> bytes:
        """A tag's bytes, empty if it is missing."""
        return self.values[tag][1] if tag in self.values else b""

    def text(self, tag: int) -> str:
        """A tag as text up to the first zero byte, "" if missing."""
        return self.raw(tag).split(b"\0")[0].decode("utf-8", "replace")

    def rational(self, tag: int) -> float | None:
        """A rational tag as a number; None if it is missing, has no value, or its denominator is 0."""
        kind, raw = self.values.get(tag, (0, b""))
        if kind not in _RATIONAL or len(raw) < 8:
            return None
        above, below = np.frombuffer(raw[:8], np.dtype(self.order + _RATIONAL[kind])).tolist()
        return above / below if below else None


def read_tiff_directories(path: Path | RemoteFile, tags: Collection[int] = ()) -> list[TiffDirectory]:
    """All directories of the chain, in file order, with the values of these tags.

    Raises:
        TiffError: it is not a TIFF, or a number in it is impossible; the message does not name the file.
        OSError: it cannot be read.
    """
    with _opened(path) as file:
        return list(_Walk(file, frozenset(map(int, tags))).directories())


def _opened(path: Path | RemoteFile) -> BinaryIO:
    return path.stream() if isinstance(path, RemoteFile) else path.open("rb")


def read_tiff_sub_images(path: Path, image: TiffDirectory, tags: Collection[int] = ()) -> list[TiffDirectory]:
    """The directories that an image names as its sub-images, in its order.

    Args:
        path: of the file.
        image: read with `TiffTag.SUB_IFDS`.
        tags: whose values are wanted.

    Raises:
        TiffError, OSError: as for `read_tiff_directories`.
    """
    with path.open("rb") as file:
        return _Walk(file, frozenset(map(int, tags))).at(image.numbers(TiffTag.SUB_IFDS).tolist())


def tiff_icc_profile(path: Path | RemoteFile, image: TiffDirectory) -> bytes | None:
    """The ICC profile of an image; None if it has none. Some take megabytes, so it is read alone.

    Raises:
        TiffError, OSError: as for `read_tiff_directories`.
    """
    with _opened(path) as file:
        (found,) = _Walk(file, frozenset({int(TiffTag.ICC_PROFILE)})).at([image.at])
    return found.raw(TiffTag.ICC_PROFILE) or None


def tiff_fault(path: Path) -> str | None:
    """Why the directories of a TIFF cannot be followed; None if they can.

    Also None for any other kind of file, and for a file that cannot be read.
    """
    try:
        for directory in read_tiff_directories(path, _SIDES):
            directory.size()
            directory.tile_size()
    except (NotTiff, OSError):
        return None
    except TiffError as error:
        return str(error)
    return None


class _Walk:
    """Follows the chain of directories of an open file."""

    def __init__(self, file: Any, tags: frozenset[int]) -> None:  # Any: a binary file
        self._file = file
        self._tags = tags
        self._end = file.seek(0, os.SEEK_END)
        file.seek(0)
        self._read = 0  # bytes of values
        head = file.read(16)
        self._order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not self._order or len(head) < 8:
            raise NotTiff("no TIFF signature")
        version = self._number("H", head[2:4])
        if version not in (42, 43):
            raise NotTiff(f"TIFF version {version} is not known")
        self._is_big = version == 43
        if self._is_big and struct.unpack(self._order + "HH", head[4:8]) != (8, 0):
            raise NotTiff("a BigTIFF whose places do not take 8 bytes is not known")
        # Formats of: the number of tags, a number of values or a place, a link to the next directory.
        self._count, self._word, self._link = ("Q", "Q", "Q") if self._is_big else ("H", "I", "I")
        start = 8 if self._is_big else 4
        if len(head) < start + struct.calcsize(self._link):
            raise CutTiff(f"the file ends at {len(head)}, within its head")
        self._first = self._number(self._link, head[start:])
        if not self._is_big and len(head) >= 12 and self._is_large_ndpi(self._number("Q", head[4:])):
            self._link = "Q"
            self._first = self._number("Q", head[4:])

    def _number(self, form: str, raw: bytes) -> int:
        return int(struct.unpack_from(self._order + form, raw)[0])

    def _is_large_ndpi(self, first: int) -> bool:
        """True if a 64-bit link leads to a directory written by Hamamatsu, in a file of 4 GiB or more."""
        if not 2**32 <= first < self._end:
            return False
        try:
            _, entries = self._entries(first)
        except TiffError:
            return False
        return any(tag == TiffTag.NDPI_FORMAT for tag, *_ in entries)

    def directories(self) -> Iterator[TiffDirectory]:
        at = self._first
        seen: set[int] = set()
        while at:
            if at in seen:
                raise TiffError(f"the chain of directories comes back to the one at {at}")
            if len(seen) == _MOST_DIRECTORIES:
                raise TiffError(f"there are more than {_MOST_DIRECTORIES} directories")
            seen.add(at)
            directory = self._directory(at)
            yield directory
            at = self._number(self._link, self._bytes(directory.next_at, struct.calcsize(self._link), CutTiff))

    def at(self, places: Sequence[int]) -> list[TiffDirectory]:
        if len(places) > _MOST_DIRECTORIES:
            raise TiffError(f"there are more than {_MOST_DIRECTORIES} directories")
        return [self._directory(place) for place in places]

    def _directory(self, at: int) -> TiffDirectory:
        next_at, entries = self._entries(at)
        present: set[int] = set()
        values = {}
        for tag, kind, count, inline in entries:
            if tag in values:  # TIFF allows a tag once; of several, libtiff and so OpenSlide and libvips read the first
                continue
            if tag in _KNOWN:
                present.add(tag)
            if tag in _EXPLAINING and kind not in _BYTES:
                raise TiffError(f"tag {tag} of the directory at {at} has field type {kind}, which nobody knows")
            if tag in self._tags and kind in _BYTES:  # TIFF requires unknown types to be skipped
                values[tag] = kind, self._value(f"tag {tag} of the directory at {at}", tag, kind, count, inline)
        return TiffDirectory(at=at, next_at=next_at, present=frozenset(present), values=values, order=self._order)

    def _entries(self, at: int) -> tuple[int, Iterator[tuple[int, int, int, bytes]]]:
        """Where the entries end; and for each entry tag, field type, number of values, and value or offset."""
        entry = struct.Struct(f"{self._order}HH{self._word}{struct.calcsize(self._word)}s")
        start = at + struct.calcsize(self._count)
        count = self._number(self._count, self._bytes(at, start - at, CutTiff))
        end = start + count * entry.size
        if end > self._end:
            raise CutTiff(f"the file ends at {self._end}, within the directory at {at} of {count} tags")
        if count > _MOST_TAGS:
            raise TiffError(f"the directory at {at} claims {count} tags, more than {_MOST_TAGS}")
        return end, entry.iter_unpack(self._bytes(start, end - start, CutTiff))

    def _value(self, what: str, tag: int, kind: int, count: int, inline: bytes) -> bytes:
        length = count * _BYTES[kind]
        if length <= len(inline):
            return inline[:length]
        at = self._number(self._word, inline)
        if at + length > self._end:
            raise TiffError(f"{what} claims {count} values from {at} on, but the file ends at {self._end}")
        if tag in _TEXTS and length > _MOST_TEXT:
            raise TiffError(f"{what} claims a text of {length} bytes, more than {_MOST_TEXT}")
        if tag not in _TEXTS | _LISTS:
            length = min(length, _FIRST * _BYTES[kind])
        self._read += length
        if self._read > _MOST_BYTES:
            raise TiffError(f"{what} claims {length} bytes, and all tags together more than {_MOST_BYTES >> 20} MiB")
        return self._bytes(at, length, TiffError)

    def _bytes(self, at: int, length: int, kind: type[TiffError]) -> bytes:
        if at + length > self._end:
            raise kind(f"the file ends at {self._end}, within what begins at {at}")
        self._file.seek(at)
        content: bytes = self._file.read(length)
        if len(content) != length:  # the file is being written, or the disk fails
            raise kind(f"the file ends within what begins at {at}")
        return content
