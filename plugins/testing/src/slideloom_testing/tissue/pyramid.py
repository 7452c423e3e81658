"""Leaving out levels of a pyramidal BigTIFF, as scanners store 1, 4, 16 and not every power of two."""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path
from typing import BinaryIO


def keep_levels(path: Path, downsamples: Collection[int]) -> None:
    """Unlink every directory but those of these downsamples from a BigTIFF whose directory i is downsampled by 2**i.

    The directories stay in the file, unreachable; a third more bytes at most.

    Raises:
        ValueError: the file is not a BigTIFF.
    """
    with path.open("r+b") as file:
        head = file.read(16)
        order = {b"II": "<", b"MM": ">"}.get(head[:2], "")
        if not order or struct.unpack(order + "HHH", head[2:8]) != (43, 8, 0):
            raise ValueError(f"{path.name} is not a BigTIFF")
        starts: list[int] = []  # where each directory begins
        pointers: list[int] = [8]  # where the offset of directory i is stored; the last one is that of none
        while start := _uint64(file, pointers[-1], order):
            starts.append(start)
            pointers.append(start + 8 + 20 * _uint64(file, start, order))
        kept = [i for i in range(len(starts)) if 2**i in downsamples]
        for here, following in zip([-1, *kept], [*(starts[i] for i in kept), 0], strict=True):
            file.seek(pointers[here + 1])
            file.write(struct.pack(order + "Q", following))


def _uint64(file: BinaryIO, at: int, order: str) -> int:
    file.seek(at)
    (value,) = struct.unpack(order + "Q", file.read(8))
    return int(value)
