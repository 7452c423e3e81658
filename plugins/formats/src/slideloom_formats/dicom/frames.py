"""Whether the frames of a DICOM file lie where it says: the compressed ones by its offset table, others by their bytes.

Source: DICOM PS3.5 A.4 (encapsulated pixel data, Basic Offset Table), 8.1.1 (native pixel data).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from attrs import frozen

from slideloom_formats.dicom.files import BITS, FRAME_COLUMNS, FRAME_ROWS, FRAMES, SAMPLES, Elements, series_in

_PIXELS, _ITEM = 0x7FE00010, b"\xfe\xff\x00\xe0"
_UNKNOWN_LENGTH = 0xFFFFFFFF
_MOST_TABLE = 1 << 26  # bytes of an offset table
_REMEDY = "the file is damaged or cut short: copy it again from its source"


def frames_fault(path: Path) -> str | None:
    """What is wrong with the pixels of a DICOM file's series, as far as their places tell, and what to do; or None.

    A table that points beside the frames, as in a file that is cut short, makes libdicom end the process, and with it
    OpenSlide.
    """
    for file in series_in(path):
        fault = _known(file).any
        if fault is not None:
            return f"{fault} ({file.name}): {_REMEDY}"
    return None


def native_fault(path: Path) -> str | None:
    """What is wrong with the pixels of a DICOM file that are not compressed, and what to do; None if nothing is.

    Their frames have no marks: where bytes were lost or came in between, all behind them would be shown shifted. What
    follows the pixels tells it, because that begins elsewhere, and so does their number.
    """
    fault = _known(path).native
    return None if fault is None else f"{fault}: {_REMEDY}"


@frozen
class _Faults:
    """What is wrong with frames that are compressed, and with such that are not; or None."""

    table: str | None = None
    native: str | None = None

    @property
    def any(self) -> str | None:
        return self.table or self.native


def _known(path: Path) -> _Faults:
    try:
        state = path.stat()
        return _faults(path, (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
    except OSError:  # who reads it says so
        return _Faults()


@lru_cache(maxsize=256)
def _faults(path: Path, _state: tuple[int, ...]) -> _Faults:
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return _Faults()
        elements = Elements(file)
        try:
            values = elements.values()
            length = elements.reach(_PIXELS)
            if length == _UNKNOWN_LENGTH:
                return _Faults(table=_table_fault(file))
            return _Faults() if length is None else _Faults(native=_native_fault(file, elements, values, length))
        except (struct.error, ValueError):  # who reads it says so
            return _Faults()


def _native_fault(file: BinaryIO, elements: Elements, values: Mapping[int, bytes], length: int) -> str | None:
    count, needed = _stated_bytes(values)
    if length not in (needed, needed + needed % 2):
        return f"its pixels take {length} bytes, and {count} frames of its size {needed}"
    first, end = file.tell(), os.fstat(file.fileno()).st_size
    if first + length > end:
        return f"its pixels end at byte {first + length}, and the file at {end}"
    file.seek(first + length)
    try:
        elements.skip_all()
        is_end = file.tell() == end
    except (struct.error, ValueError):
        is_end = False
    return None if is_end else f"the {end - first - length} bytes behind its pixels are no data elements"


def _stated_bytes(values: Mapping[int, bytes]) -> tuple[int, int]:
    """Number of frames, and the bytes that they take."""
    count = int(values.get(FRAMES, b"1").decode("ascii", "replace").strip("\0 ") or 1)
    rows, columns, samples, bits = (
        int.from_bytes(values.get(tag, b""), "little") for tag in (FRAME_ROWS, FRAME_COLUMNS, SAMPLES, BITS)
    )
    return count, count * rows * columns * samples * bits // 8


def _table_fault(file: BinaryIO) -> str | None:
    tag, length = struct.unpack("<4sI", file.read(8))
    if tag != _ITEM or length > _MOST_TABLE:
        return "its frames do not begin with an offset table"
    table = file.read(length)
    first = file.tell()
    end = file.seek(0, os.SEEK_END)
    for number, (place,) in enumerate(struct.iter_unpack("<I", table[: length // 4 * 4]), 1):
        file.seek(first + place)
        head = file.read(8)
        size = int.from_bytes(head[4:], "little")
        if not head.startswith(_ITEM) or len(head) < 8 or first + place + 8 + size > end:
            return f"frame {number} is not at byte {first + place}, where its offset table says"
    return None
