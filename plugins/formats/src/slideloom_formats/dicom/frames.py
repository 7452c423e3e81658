"""Whether the compressed frames of a DICOM file lie where its offset table says.

Source: DICOM PS3.5 A.4 (encapsulated pixel data, Basic Offset Table).
"""

from __future__ import annotations

import os
import struct
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from slideloom_formats.dicom.files import Elements, series_in

_PIXELS, _ITEM = 0x7FE00010, b"\xfe\xff\x00\xe0"
_UNKNOWN_LENGTH = 0xFFFFFFFF
_MOST_TABLE = 1 << 26  # bytes of an offset table


def frames_fault(path: Path) -> str | None:
    """What is wrong with the offset tables of a DICOM file's series, and what to do; None if nothing is.

    A table that points beside the frames, as in a file that is cut short, makes libdicom end the process, and with it
    OpenSlide.
    """
    for file in series_in(path):
        try:
            state = file.stat()
            fault = _fault(file, (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))
        except OSError:  # who reads it says so
            continue
        if fault is not None:
            return f"{fault} ({file.name}): the file is damaged or cut short: copy it again from its source"
    return None


@lru_cache(maxsize=256)
def _fault(path: Path, _state: tuple[int, ...]) -> str | None:
    with path.open("rb") as file:
        if file.read(132)[128:] != b"DICM":
            return None
        elements = Elements(file)
        try:
            elements.values()
            if elements.reach(_PIXELS) != _UNKNOWN_LENGTH:  # frames that are not compressed have no table
                return None
            return _table_fault(file)
        except (struct.error, ValueError):  # who reads it says so
            return None


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
