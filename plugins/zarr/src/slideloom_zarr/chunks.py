"""The chunks of a remote folder as zarr asks for them: one that is not there is known as such, all else is an error.

zarr's own store for fsspec neither tries again nor compares what came with what was asked for, and its errors hold
addresses with their secrets.
"""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable
from typing import Literal

from slideloom import RemoteFolder
from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype

_INDEXES, _LARGEST_INDEX = 64, 1 << 20  # ends of shards that are kept, and bytes of one
_DESCRIPTIONS = ("zarr.json", ".zarray")


class RemoteChunks(Store):
    """Files of a remote folder, read-only.

    Args:
        folder: that holds them.

    Attributes:
        absent: names of files that were asked for and are not there.
        described: descriptions of arrays, by name.
    """

    supports_writes = False
    supports_deletes = False
    supports_listing = False

    def __init__(self, folder: RemoteFolder) -> None:
        super().__init__(read_only=True)
        self.absent: set[str] = set()
        self.described: dict[str, bytes] = {}
        self._folder = folder
        # A shard ends with the places of its chunks, which zarr asks for before each of them.
        self._indexes: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._lock = threading.Lock()

    def __eq__(self, value: object) -> bool:
        return isinstance(value, RemoteChunks) and value._folder is self._folder

    __hash__ = Store.__hash__

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        """The bytes of a file, or a range of them; None if there is no such file.

        Raises:
            OSError, LostSlide: as `RemoteFolder.ask`.
        """
        end = byte_range.suffix if isinstance(byte_range, SuffixByteRequest) else 0
        with self._lock:
            content = self._indexes.get((key, end))
        if content is None:
            content = await asyncio.wrap_future(self._folder.ask(key, *_limits(byte_range)))
        if content is None:
            self.absent.add(key)
            return None
        if key.rpartition("/")[2] in _DESCRIPTIONS:
            self.described[key] = content
        if 0 < end <= _LARGEST_INDEX:
            with self._lock:
                self._indexes[key, end] = content
                while len(self._indexes) > _INDEXES:
                    self._indexes.popitem(last=False)
        return prototype.buffer.from_bytes(content)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        """Several of `get`."""
        return list(await asyncio.gather(*(self.get(key, prototype, asked) for key, asked in key_ranges)))

    async def exists(self, key: str) -> bool:
        """True if there is such a file."""
        return await asyncio.wrap_future(self._folder.ask(key)) is not None

    @property
    def supports_partial_writes(self) -> Literal[False]:
        """Never; zarr before 3.1 asks."""
        return False

    async def set_partial_values(
        self, key_start_values: Iterable[tuple[str, int, bytes | bytearray | memoryview]]
    ) -> None:
        """Nothing is written here; zarr before 3.1 wants this."""
        raise NotImplementedError("slides are not written to")

    async def set(self, key: str, value: Buffer) -> None:
        """Nothing is written here."""
        raise NotImplementedError("slides are not written to")

    async def delete(self, key: str) -> None:
        """Nothing is deleted here."""
        raise NotImplementedError("slides are not written to")

    def list(self) -> AsyncIterator[str]:
        """Web servers list nothing."""
        raise NotImplementedError("a remote slide is not listed")

    def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        """See `list`."""
        raise NotImplementedError("a remote slide is not listed")

    def list_dir(self, prefix: str) -> AsyncIterator[str]:
        """See `list`."""
        raise NotImplementedError("a remote slide is not listed")


def _limits(asked: ByteRequest | None) -> tuple[int | None, int | None]:
    if isinstance(asked, RangeByteRequest):
        return asked.start, asked.end
    if isinstance(asked, OffsetByteRequest):
        return asked.offset, None
    if isinstance(asked, SuffixByteRequest):
        return -asked.suffix, None
    return None, None
