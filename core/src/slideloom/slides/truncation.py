"""Files that end too early."""

from __future__ import annotations

import struct
from pathlib import Path

_MOST_DIRECTORIES = 1000  # a loop of directories must not hang


def is_cut_tiff(path: Path) -> bool:
    """True for a TIFF or BigTIFF file that ends before one of its image directories, as after an aborted copy.

    False for every other file, and for one that cannot be read. Source: TIFF 6.0; BigTIFF as libtiff documents it.
    """
    try:
        with path.open("rb") as file:
            head = file.read(16)
            order = {b"II": "<", b"MM": ">"}.get(head[:2])
            if order is None or len(head) < 16:
                return False
            (version,) = struct.unpack(order + "H", head[2:4])
            if version not in (42, 43):
                return False
            length = file.seek(0, 2)
            start, entry, offset, count_size = (4, 12, "I", "H") if version == 42 else (8, 20, "Q", "Q")
            (at,) = struct.unpack_from(order + offset, head, start)
            for _ in range(_MOST_DIRECTORIES):
                if at == 0:
                    return False
                if at >= length:
                    return True
                file.seek(at)
                (count,) = struct.unpack(order + count_size, file.read(struct.calcsize(count_size)))
                end = at + struct.calcsize(count_size) + entry * count
                if end >= length:
                    return True
                file.seek(end)
                (at,) = struct.unpack(order + offset, file.read(struct.calcsize(offset)))
    except struct.error:  # the directory itself is cut
        return True
    except OSError:
        return False
    return False
