"""Where the code blocks of a file are: the table in its header says what they are, and the seek table where they lie.

Source: Philips, "Pathology iSyntax image format", block header table and seek table; libisyntax.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from slideloom_isyntax.code_blocks import EMPTY_BYTES, SIDE
from slideloom_isyntax.header import PAD, Damaged, Header, Unread

LEVELS_OF_CHUNK = 3  # code blocks of levels 0 to 2, 3 to 5 and so on of one place are stored, or left out, together
_HEAD = 8  # bytes of a tag: group, element, length
_TAG: list[Any] = [("group", "<u2"), ("element", "<u2"), ("length", "<u4")]
_BLOCK = np.dtype(
    [
        ("tags", _TAG, 2),
        ("x", "<i4"),
        ("y", "<i4"),
        ("color", "<u4"),
        ("scale", "<u4"),
        ("band", "<u4"),
        ("template_tag", _TAG),
        ("template", "<u4"),
    ]
)
_WITH_PLACES = 72  # length of an entry of the table in the header that has offsets, too
_ENTRY = np.dtype([("tags", _TAG, 2), ("at", "<u8"), ("length_tag", _TAG), ("length", "<u8")])
_SEEK_TABLE, _OFFSET = (0x301D, 0x2015), (0x301D, 0x2010)
_UNKNOWN = 1 << 31  # from here on, the length of a table is not said


@frozen
class Places:
    """Code blocks by the tiles whose coefficients they are. A tile has 256 x 256 pixels, with the padding of its level.

    Attributes:
        at: of each code block, its first byte in the file.
        length: in bytes.
        low: number of the code block of the low band by row, column and colour, of the coarsest level.
        high: the same of the three other bands, by level; -1 where nothing is stored.
        known: tiles by level that have coefficients, and so have all coarser ones of their place.
        lost: tiles by level that have coefficients, while a coarser one of their place has none.
    """

    at: NDArray[np.int64]
    length: NDArray[np.int64]
    low: NDArray[np.int32]
    high: tuple[NDArray[np.int32], ...]
    known: tuple[NDArray[np.bool_], ...]
    lost: tuple[NDArray[np.bool_], ...]


def read_places(path: Path, header: Header) -> Places:
    """Where the code blocks are.

    Raises:
        Damaged: the tables and the file do not fit each other.
        Unread: they are of another kind.
        OSError: the file cannot be read.
    """
    blocks = _blocks(header.table)
    rows, columns = _of_tiles(blocks, header)
    tiles = [header.tiles.area << 2 * (header.levels - 1 - scale) for scale in range(header.levels)]
    per_color = sum(tiles) + tiles[-1]
    is_low = blocks["band"] == 0
    before = np.cumsum([0, *tiles])
    wide = header.tiles.width << (header.levels - 1 - blocks["scale"].astype(np.int64))
    numbers = before[blocks["scale"] + is_low] + rows * wide + columns + blocks["color"] * per_color
    if len(np.unique(numbers)) != len(numbers):
        raise Damaged("its header has code blocks twice")
    at, length = _seek_table(path, header, numbers, 3 * per_color)
    top = header.levels - 1
    tile = np.stack([rows, columns, blocks["color"]])
    high = [_numbered(tile, ~is_low & (blocks["scale"] == scale), header, scale) for scale in range(header.levels)]
    low = _numbered(tile, is_low, header, top)
    known, lost = _known(low, high, length)
    return Places(at, length, low, tuple(high), known, lost)


def _blocks(table: bytes) -> NDArray[np.void]:
    """The code blocks that the header lists."""
    if len(table) < 4 + _HEAD or int.from_bytes(table[:4], "little") != len(table) - 4:
        raise Damaged(f"its table of code blocks has {len(table)} bytes, which is not what it says")
    entry = int.from_bytes(table[8:12], "little")
    if entry == _WITH_PLACES:
        raise Unread("its table of code blocks says where they lie, which is not read")
    if entry + _HEAD != _BLOCK.itemsize or (len(table) - 4) % _BLOCK.itemsize:
        raise Damaged(f"its table of code blocks has entries of {entry} bytes in {len(table)}")
    blocks = np.frombuffer(table, _BLOCK, offset=4)
    _check_alike(blocks, ("tags", "template_tag"), "its table of code blocks")
    return blocks


def _check_alike(entries: NDArray[np.void], tags: tuple[str, ...], what: str) -> None:
    for name in tags:
        differ = entries[name] != entries[name][0]
        if differ.any():
            first = int(differ.reshape(len(entries), -1).any(axis=1).argmax())
            raise Damaged(f"code block {first} of {what} has other tags than those before it")


def _of_tiles(blocks: NDArray[np.void], header: Header) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the tile of each code block."""
    top = header.levels - 1
    scale, is_low = blocks["scale"].astype(np.int64), blocks["band"] == 0
    is_known = (scale <= top) & (blocks["color"] < 3) & (blocks["band"] <= 1) & ((scale == top) | ~is_low)
    if not is_known.all():
        number = int((~is_known).argmax())
        raise Damaged(f"code block {number} is of level {scale[number]}, colour {blocks['color'][number]}")
    # A coefficient is that of a pixel, of which the first lie in the padding.
    first = (PAD << scale) - (PAD - 1) + np.where(is_low, 1 << scale, 0)
    found = []
    left, upper = header.origin
    for axis, origin, count in (("y", upper, header.tiles.height), ("x", left, header.tiles.width)):
        place, rest = np.divmod(blocks[axis].astype(np.int64) - origin - first, 2 * SIDE << scale)
        is_inside = (rest == 0) & (place >= 0) & (place < count << (top - scale))
        if not is_inside.all():
            number = int((~is_inside).argmax())
            raise Damaged(f"code block {number} lies at {axis} = {blocks[axis][number]}, where no tile is")
        found.append(place)
    return found[0], found[1]


def _seek_table(
    path: Path, header: Header, numbers: NDArray[np.int64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """First byte and length of each code block, whose numbers in the table are given."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(header.end)
        (tag,) = np.frombuffer(_all(file.read(_HEAD), _HEAD), np.dtype(_TAG))
        if (tag["group"], tag["element"]) != _SEEK_TABLE:
            raise Damaged(f"it has no seek table behind its header, at byte {header.end}")
        said, least = int(tag["length"]), count * _ENTRY.itemsize
        if said < _UNKNOWN and (said % _ENTRY.itemsize or said < least):
            raise Damaged(f"its seek table has {said} bytes, and {count} code blocks take {least}")
        entries = np.frombuffer(_all(file.read(least), least), _ENTRY)
    found = entries[numbers]
    _check_alike(found, ("tags", "length_tag"), "its seek table")
    offset = found["tags"][0, 1]
    if (offset["group"], offset["element"]) != _OFFSET:
        raise Damaged("its seek table has other tags than those of offsets")
    is_listed = np.zeros(count, bool)
    is_listed[numbers] = True
    is_stored = (entries["at"] > 0) & (entries["length"] > 0)
    if (is_stored != is_listed).any():
        more, fewer = int((is_stored & ~is_listed).sum()), int((is_listed & ~is_stored).sum())
        raise Damaged(f"its seek table has {more} code blocks that its header has not, and has not {fewer} others")
    begin = header.end + _HEAD + entries.nbytes
    if (found["at"] < begin).any() or (found["at"] > size).any() or (found["length"] > size - found["at"]).any():
        reach = max(int(one["at"]) + int(one["length"]) for one in found)
        raise Damaged(f"its code blocks reach from byte {int(found['at'].min())} to {reach} of {size}")
    at, length = found["at"].astype(np.int64), found["length"].astype(np.int64)
    order = np.argsort(at, kind="stable")
    overlaps = at[order][1:] < at[order][:-1] + length[order][:-1]
    if (overlaps & (length[order][1:] > EMPTY_BYTES)).any():
        raise Damaged(f"its code blocks overlap at byte {at[order][1:][overlaps][0]}")
    return at, length


def _all(content: bytes, length: int) -> bytes:
    if len(content) < length:
        raise Damaged("it ends within its seek table")
    return content


def _numbered(tile: NDArray[np.int64], chosen: NDArray[np.bool_], header: Header, scale: int) -> NDArray[np.int32]:
    """Numbers of the chosen code blocks by row, column and colour; all colours of a tile are stored, or none.

    Args:
        tile: row, column and colour of each code block.
        chosen: those of one level.
        header: of the file.
        scale: the level.
    """
    more = header.levels - 1 - scale
    numbers = np.full((header.tiles.height << more, header.tiles.width << more, 3), -1, np.int32)
    numbers[tuple(tile[:, chosen])] = np.flatnonzero(chosen)
    is_stored = numbers >= 0
    if (is_stored.any(axis=-1) != is_stored.all(axis=-1)).any():
        raise Damaged(f"of a tile of level {scale}, code blocks of some colours are stored and of others not")
    return numbers


def _known(
    low: NDArray[np.int32], high: list[NDArray[np.int32]], length: NDArray[np.int64]
) -> tuple[tuple[NDArray[np.bool_], ...], tuple[NDArray[np.bool_], ...]]:
    """See `Places`."""
    top = len(high) - 1
    stored = [numbers[..., 0] >= 0 for numbers in high]
    if (stored[top] != (low[..., 0] >= 0)).any():
        raise Damaged("of a tile of the coarsest level, code blocks of some bands are stored and of others not")
    known, lost = [stored[top]], [np.zeros_like(stored[top])]
    for scale in range(top - 1, -1, -1):
        if scale % LEVELS_OF_CHUNK != LEVELS_OF_CHUNK - 1 and (stored[scale] != _doubled(stored[scale + 1])).any():
            raise Damaged(
                f"code blocks of level {scale} are stored without those of level {scale + 1}, or not with them"
            )
        is_full = (high[scale] >= 0) & (length[high[scale]] > EMPTY_BYTES)
        is_without = stored[scale] & ~_doubled(known[-1])
        lost.append(is_without & (is_full.any(axis=-1) | _doubled(lost[-1])))
        known.append(stored[scale] & ~is_without)
    return tuple(reversed(known)), tuple(reversed(lost))


def _doubled(tiles: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Of the next finer level: four tiles for one."""
    return tiles.repeat(2, axis=0).repeat(2, axis=1)
