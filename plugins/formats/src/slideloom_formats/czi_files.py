"""Whether the directory of a CZI file lists all tiles that the file stores, where they say that they lie.

libCZI and OpenSlide follow the directory alone: what it has lost, or places elsewhere, is shown as background. The file
is a chain of segments, and each stored tile begins with a copy of its directory entry.

Source: ZEISS, CZI file format, design specification 1.2.2: segments, directory entries, subblocks.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

_MAGIC = b"ZISRAWFILE"  # the name of the first segment
_DIRECTORY, _SUBBLOCK = b"ZISRAWDIRECTORY", b"ZISRAWSUBBLOCK"
_HEAD = struct.Struct("<16sqq")  # of a segment: name, bytes that it has room for, bytes that it uses
_DIRECTORY_AT = _HEAD.size + 52  # where the first segment says where the directory is
_FIRST_ENTRY = 128  # bytes of the directory before its entries
_ENTRY = struct.Struct("<2siqiiB5xi")  # of a directory entry: schema, pixels, place, part, compression, pyramid, axes
_AXIS = struct.Struct("<4siifi")  # of an entry: name, first, count, physical place, stored count
_COPY_AT = _HEAD.size + 16  # within a subblock
_MOST_AXES = 40
_MOST_BYTES = 1 << 28  # of a directory: a million tiles
_AXES = (b"X", b"Y", b"C", b"Z", b"T", b"S")  # of places; S is the scene
_DAMAGED = "the file is damaged: copy it again from its source, or open it in ZEN and save it"
_Extent = tuple[tuple[int, int, int] | None, ...]  # first place, count and stored count along each of these


class _Unread(Exception):
    """The directory is missing, or of an older kind."""


def czi_fault(path: Path) -> str | None:
    """What is wrong with the directory of a CZI file, and what to do; None if nothing is, or it is no CZI file.

    Raises:
        OSError: the file cannot be read.
    """
    if not path.is_file():
        return None
    state = path.stat()
    return _fault(path, (state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino))


@lru_cache(maxsize=64)
def _fault(path: Path, _state: tuple[int, ...]) -> str | None:
    with path.open("rb", buffering=0) as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            return None
        try:
            listed = _listed(file)
        except _Unread:  # who reads it says so
            return None
        except (struct.error, ValueError):  # libCZI trusts it, and may crash
            return f"its directory holds what is no entry of a tile: {_DAMAGED}"
        stored: dict[int, _Extent] = {}
        for at, content in _tiles(file, listed):
            try:
                stored[at] = _entry(content, 0)[2]
            except (_Unread, struct.error, ValueError):
                return f"the tile at byte {at} does not begin as a tile: {_DAMAGED}"
    lost = stored.keys() - listed.keys()
    if lost:
        found = f"its directory lists {len(listed)} tiles and {len(lost)} more are stored, as at byte {min(lost)}"
    else:
        moved = [at for at, extent in stored.items() if extent != listed[at]]
        if not moved:
            return None
        found = f"its directory and the tile at byte {min(moved)} differ on where that lies, or how large it is stored"
    return f"{found}: {_DAMAGED}"


def _listed(file: BinaryIO) -> dict[int, _Extent]:
    """Where the tiles of the directory are stored in this file, and where they lie.

    Raises:
        _Unread: there is none, or of another kind.
        ValueError, struct.error: it is damaged.
    """
    try:
        (at,) = struct.unpack("<q", _bytes(file, _DIRECTORY_AT, 8))
        name, _room, used = _HEAD.unpack(_bytes(file, at, _HEAD.size))
    except (struct.error, ValueError) as error:
        raise _Unread from error
    if name.rstrip(b"\0") != _DIRECTORY or not 0 < used <= _MOST_BYTES:
        raise _Unread
    content = _bytes(file, at + _HEAD.size, used)
    (count,) = struct.unpack_from("<i", content)
    found, place = {}, _FIRST_ENTRY
    for _ in range(count):
        where, part, extent, length = _entry(content, place)
        place += length
        if part == 0:  # others are in files beside it
            found[where] = extent
    return found


def _tiles(file: BinaryIO, listed: Iterable[int]) -> Iterator[tuple[int, bytes]]:
    """Places of all tiles, met or listed, and what they begin with; nothing where no tile is."""
    met: set[int] = set()
    for at, content in _stored(file):
        met.add(at)
        yield at, content
    for at in listed:
        if at not in met:
            is_tile = _bytes(file, at, _HEAD.size)[:16].rstrip(b"\0") == _SUBBLOCK
            yield at, _bytes(file, at + _COPY_AT, _ENTRY.size + _MOST_AXES * _AXIS.size) if is_tile else b""


def _stored(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Places of the tiles met on the way from segment to segment, as far as that leads, and what they begin with."""
    end, at = os.fstat(file.fileno()).st_size, 0
    while at + _HEAD.size <= end:
        name, room, _used = _HEAD.unpack(_bytes(file, at, _HEAD.size))
        if not name.startswith((b"ZISRAW", b"DELETED")) or room <= 0:
            return
        if name.rstrip(b"\0") == _SUBBLOCK and at + _HEAD.size + room <= end:
            yield at, _bytes(file, at + _COPY_AT, _ENTRY.size + _MOST_AXES * _AXIS.size)
        at += _HEAD.size + room


def _entry(content: bytes, at: int) -> tuple[int, int, _Extent, int]:
    """Place of the tile in the file, number of the file's part, extent on the slide, and length of the entry."""
    schema, _pixels, where, part, _compression, _pyramid, axes = _ENTRY.unpack_from(content, at)
    if schema == b"DE":
        raise _Unread
    if schema != b"DV" or not 0 <= axes <= _MOST_AXES:
        raise ValueError("no directory entry that is known")
    extents = {}
    for number in range(axes):
        name, first, count, _physical, stored_count = _AXIS.unpack_from(content, at + _ENTRY.size + number * _AXIS.size)
        extents[name.rstrip(b"\0")] = first, count, stored_count
    extent = tuple(extents.get(axis) for axis in _AXES)
    return where, part, extent, _ENTRY.size + axes * _AXIS.size


def _bytes(file: BinaryIO, at: int, length: int) -> bytes:
    """As many bytes from a place on as there are; none of a place that is not in the file."""
    if not 0 <= at < os.fstat(file.fileno()).st_size:
        return b""
    file.seek(at)
    return file.read(length)
