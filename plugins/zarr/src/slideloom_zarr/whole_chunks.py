"""Chunks whose codec shows wrong samples of one that is cut short: these are refused.

Blosc says at the start of a chunk how many bytes it has, and its decoder does not compare that with those it gets: it
reads on behind them. Other codecs tell what is missing, and so do the checksums of ZIP files and of shards.

Source: Blosc chunk format, header: bytes 12 to 15 are the compressed size.
"""

from __future__ import annotations

import struct
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, Store
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import WrapperStore

_HEAD = struct.Struct("<12xI")


class WholeChunks(WrapperStore[Store]):
    """A store that refuses chunks of known arrays that are cut short.

    Args:
        store: that holds the chunks.
    """

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        self._blosc: set[str] = set()  # beginnings of the names of chunks

    def know(self, array: zarr.Array[Any]) -> None:  # Any: as zarr gives it
        """Look at the chunks of an array, if it is stored by Blosc, from now on."""
        if _is_blosc(array):
            self._blosc.add(f"{array.path}/")

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a file, or a range of them; None if there is no such file.

        Raises:
            ValueError: it is a chunk, and cut short.
        """
        found = await super().get(key, prototype, byte_range)
        if found is not None and byte_range is None and any(key.startswith(name) for name in self._blosc):
            _check(found)
        return found


def _check(chunk: Buffer) -> None:
    if len(chunk) < _HEAD.size:
        raise ValueError(f"it has {len(chunk)} bytes, and Blosc's header has {_HEAD.size}")
    (stated,) = _HEAD.unpack(chunk[: _HEAD.size].to_bytes())
    if len(chunk) < stated:
        raise ValueError(f"it has {len(chunk)} of its {stated} bytes")


def _is_blosc(array: zarr.Array[Any]) -> bool:
    """True if the bytes of each file of an array are what Blosc made."""
    return any("blosc" in type(codec).__name__.lower() for codec in array.compressors[-1:]) and array.shards is None
