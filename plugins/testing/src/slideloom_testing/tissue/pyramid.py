"""Removes levels from a pyramidal BigTIFF, because scanners store 1, 4, 16 and not every power of two."""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path

from slideloom_formats.tiff import TiffError, read_tiff_directories

_FIRST_LINK = 8  # where a BigTIFF stores the offset of its first directory


def keep_levels(path: Path, downsamples: Collection[int]) -> None:
    """Unlink all directories except these downsamples from a BigTIFF whose directory i is downsampled by 2**i.

    The directories stay in the file, unreachable, which makes it at most a third larger.

    Raises:
        ValueError: the file is not a BigTIFF.
    """
    with path.open("rb") as file:
        head = file.read(4)
    if head not in (b"II+\0", b"MM\0+"):
        raise TiffError(f"{path.name} is not a BigTIFF")
    directories = read_tiff_directories(path)
    kept = [directory for i, directory in enumerate(directories) if 2**i in downsamples]
    links = [_FIRST_LINK, *(directory.next_at for directory in kept)]
    places = [*(directory.at for directory in kept), 0]
    with path.open("r+b") as file:
        for link, place in zip(links, places, strict=True):
            file.seek(link)
            file.write(struct.pack(directories[0].order + "Q", place))
