"""Chunks whose codec shows wrong samples of one that is cut short: these are refused.

Blosc says at the start of a chunk how many bytes it has, and its decoder does not compare that with those it gets: it
reads on behind them. Other codecs tell what is missing, and so do the checksums of ZIP files and of shards.

Source: Blosc chunk format, header: bytes 12 to 15 are the compressed size.
"""

from __future__ import annotations

import struct
from typing import Any

import zarr
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.codecs.sharding import ShardingCodec, ShardingCodecIndexLocation
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
        # Beginnings of the names of files that hold one chunk each, and of shards (with a chunk's least place).
        self._chunks: set[str] = set()
        self._shards: dict[str, int] = {}

    def know(self, array: zarr.Array[Any]) -> None:  # Any: as zarr gives it
        """Look at the chunks of an array, if it is stored by Blosc, from now on."""
        if any("blosc" in type(codec).__name__.lower() for codec in array.compressors[-1:]):
            name = f"{array.path}/"
            if array.shards is None:
                self._chunks.add(name)
            else:
                self._shards[name] = 1 if _places_come_first(array) else 0

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a file, or a range of them; None if there is no such file.

        Raises:
            ValueError: it is a chunk, and cut short.
        """
        found = await super().get(key, prototype, byte_range)
        if found is not None and self._is_chunk(key, byte_range):
            _check(found)
        return found

    def _is_chunk(self, key: str, byte_range: ByteRequest | None) -> bool:
        """True for the bytes of one chunk of Blosc."""
        if byte_range is None:
            return any(key.startswith(name) for name in self._chunks)
        firsts = [first for name, first in self._shards.items() if key.startswith(name)]
        return isinstance(byte_range, RangeByteRequest) and any(byte_range.start >= first for first in firsts)


def _check(chunk: Buffer) -> None:
    if len(chunk) < _HEAD.size:
        raise ValueError(f"it has {len(chunk)} bytes, and Blosc's header has {_HEAD.size}")
    (stated,) = _HEAD.unpack(chunk[: _HEAD.size].to_bytes())
    if len(chunk) < stated:
        raise ValueError(f"it has {len(chunk)} of its {stated} bytes")


def _places_come_first(array: zarr.Array[Any]) -> bool:
    """True if the places of a shard's chunks, which zarr asks for before these, lie at its beginning."""
    codecs = getattr(array.metadata, "codecs", ())  # version 2 has no shards
    shards = [codec for codec in codecs if isinstance(codec, ShardingCodec)]
    return any(codec.index_location is ShardingCodecIndexLocation.start for codec in shards)
