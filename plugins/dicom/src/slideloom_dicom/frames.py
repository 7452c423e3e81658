"""Where the frames of a DICOM file lie, and their bytes.

Source: DICOM PS3.5 A.4 (encapsulated pixel data, Basic Offset Table), PS3.3 C.7.6.3.1.8 (Extended Offset Table).
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

_ITEM, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE0DD
_UNKNOWN_LENGTH = 0xFFFFFFFF
_PIXELS = 0x7FE00010
_LONG = (b"OB", b"OW", b"UN")
# First bytes of what a frame is compressed to: JPEG and JPEG-LS, JPEG 2000 and HTJ2K, JPEG XL with and without boxes.
_STARTS = (b"\xff\xd8\xff", b"\xff\x4f\xff\x51", b"\xff\x0a", b"\0\0\0\x0cJXL ")


class OpenFile:
    """A file of a slide, read from several threads.

    Args:
        path: of the file; `OSError` if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._file = path.open("rb")
        self._lock = threading.Lock()
        self.size = self._file.seek(0, 2)

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`.

        Raises:
            ValueError: the file has no such bytes. OSError: the system cannot read them.
        """
        if not 0 <= offset <= offset + length <= self.size:
            raise ValueError(f"it lies at bytes {offset} to {offset + length} of a file of {self.size} bytes")
        with self._lock:
            self._file.seek(offset)
            content = self._file.read(length)
        if len(content) != length:
            raise ValueError(f"the file ends {length - len(content)} bytes too early")
        return content

    def close(self) -> None:
        """Release the file."""
        self._file.close()


class Frames:
    """The frames of one file.

    Args:
        file: to read from.
        start: where the element that holds the pixels begins.
        is_implicit: elements have no value representation.
        is_encapsulated: frames are compressed, in items of their own.
        count: of frames.
        raw_bytes: of a frame that is not compressed.
        extended: Extended Offset Table and lengths, as the file has them; empty without one.

    Raises:
        ValueError: the pixels are damaged, or are not stored in a way that tells where each frame is.
    """

    def __init__(
        self,
        file: OpenFile,
        start: int,
        *,
        is_implicit: bool,
        is_encapsulated: bool,
        count: int,
        raw_bytes: int,
        extended: tuple[bytes, bytes] = (b"", b""),
    ) -> None:
        self._file = file
        self._count = count
        self._raw_bytes = raw_bytes
        length = self._open_pixels(start, is_implicit=is_implicit)
        self._is_raw = not is_encapsulated
        if self._is_raw:
            if length < count * raw_bytes:
                raise ValueError(f"{length} bytes of pixels are too few for {count} frames of {raw_bytes} bytes")
        else:
            self._starts, self._ends = self._table(*extended)

    def read(self, number: int) -> bytes:
        """The bytes of a frame, counted from 0.

        Raises:
            ValueError: they are damaged or missing. OSError: the system cannot read them.
        """
        if not 0 <= number < self._count:
            raise ValueError(f"its file has no frame {number + 1}")
        if self._is_raw:
            return self._file.read(self._first + number * self._raw_bytes, self._raw_bytes)
        start, end = self._starts[number], self._ends[number]
        parts = list(self._items(start, end))
        if not parts:
            raise ValueError("it has no bytes")
        return b"".join(self._file.read(*part) for part in parts)

    def _open_pixels(self, start: int, *, is_implicit: bool) -> int:
        """Sets where the pixels begin; returns how many bytes they have, if that is said."""
        head = self._file.read(start, 8)
        group, element = struct.unpack("<HH", head[:4])
        if group << 16 | element != _PIXELS:
            raise ValueError("it has no pixels")
        if is_implicit:
            self._first = start + 8
            return int(struct.unpack("<I", head[4:])[0])
        if head[4:6] not in _LONG:
            raise ValueError("its pixels are of an unknown kind")
        self._first = start + 12
        return int(struct.unpack("<I", self._file.read(start + 8, 4))[0])

    def _table(self, offsets: bytes, lengths: bytes) -> tuple[Sequence[int], Sequence[int | None]]:
        """Where the items of each frame begin and end; None for an end that only the items themselves tell."""
        length = self._item(self._first)
        if length is None:
            raise ValueError("its pixels begin with no item")
        basic = self._file.read(self._first + 8, length)
        first = self._first + 8 + length
        if len(offsets) == len(lengths) == 8 * self._count:
            starts = [first + place for place in struct.unpack(f"<{self._count}Q", offsets)]
            sizes = struct.unpack(f"<{self._count}Q", lengths)
            ends = [start + 8 + size + size % 2 for start, size in zip(starts, sizes, strict=True)]
            return starts, ends
        if len(basic) == 4 * self._count:
            starts = [first + place for place in struct.unpack(f"<{self._count}I", basic)]
            # Offsets of 4 bytes overflow in files of more than 4 GB.
            if starts[0] == first and all(one < other for one, other in pairwise(starts)):
                return starts, [*starts[1:], None]
        return self._walked(first)

    def _walked(self, first: int) -> tuple[Sequence[int], Sequence[int | None]]:
        """`_table` from the items themselves: each frame has one, or its first begins like compressed data."""
        items = [(offset, size) for offset, size in self._items(first, None)]
        if len(items) != self._count and self._count > 1:
            items = [item for item in items if self._file.read(item[0], min(item[1], 12)).startswith(_STARTS)]
        if self._count == 1:
            return [first], [None]
        if len(items) != self._count:
            raise ValueError(f"its {len(items)} pieces of pixels cannot be told apart as {self._count} frames")
        starts = [offset - 8 for offset, _ in items]
        return starts, [*starts[1:], None]

    def _items(self, start: int, end: int | None) -> Iterator[tuple[int, int]]:
        """Offset and length of the content of each item from `start` on, up to `end` or to the last of the pixels."""
        at = start
        while end is None or at < end:
            size = self._item(at)
            if size is None:
                if end is not None:
                    raise ValueError("there is no item where its offset table says")
                return
            yield at + 8, size
            at += 8 + size
        if at != end:
            raise ValueError("its items do not end where the next frame begins")

    def _item(self, at: int) -> int | None:
        """Length of the item at a place; None at the end of all items."""
        group, element, length = struct.unpack("<HHI", self._file.read(at, 8))
        tag = group << 16 | element
        if tag == _SEQUENCE_END:
            return None
        if tag != _ITEM or length == _UNKNOWN_LENGTH:
            raise ValueError("there is no item where one must be")
        return int(length)
