"""An open file that is not local: ranges of bytes in parallel, tried again, with blocks that were read lately kept."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import TypeVar

from fsspec.asyn import get_loop, sync
from slideloom import Address, RemoteFile, SlideError

from slideloom_remote.faults import Changed, Final, Passing
from slideloom_remote.transports import PROBE, Found, Transport
from slideloom_remote.trying import AT_ONCE, FIRST_WAIT_S, GIVE_UP, tried

log = logging.getLogger(__name__)
T = TypeVar("T")

BLOCK = 1 << 16
KEPT_BLOCKS = 256
"""Blocks kept of each open file: 16 MiB."""
_PART = 8 << 20  # bytes of a copy asked for at once


class FetchedFile(RemoteFile):
    """See `RemoteFile`.

    Args:
        address: of the file.
        transport: asks for its bytes.
        first_wait_s: pause before the second try, doubled before each further one.

    Attributes:
        requests: for ranges of bytes, so far.
        bytes_read: that came in answer.

    Raises:
        SlideError: it cannot be opened.
    """

    gap = 1 << 15  # of tiles under a mask, with 20 ms a request, 64 KiB cost 6% more bytes and saved no time

    def __init__(self, address: Address, transport: Transport, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self.address = address
        self.requests = 0
        self.bytes_read = 0
        self._transport = transport
        self._wait_s = first_wait_s
        self._blocks: OrderedDict[int, bytes] = OrderedDict()
        self._lock = threading.Lock()
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._failed = 0  # pieces in a row
        self._refusal = ""
        self._closed = False
        try:
            found = sync(get_loop(), self._look)
        except OSError as error:
            raise SlideError(f"{address.name}: cannot be read from {address}: {error.strerror}") from None
        self.size, self.version, self.has_ranges = found.size, found.version, found.has_ranges
        if len(found.head) in (PROBE, self.size):
            self._blocks[0] = found.head
        if not self.version:
            self.version = self._sampled()

    async def _look(self) -> Found:
        return await self._tried(self._transport.look)

    def read(self, offset: int, length: int) -> bytes:
        """See `RemoteFile.read`."""
        if offset < 0 or length < 0 or offset + length > self.size:
            raise ValueError(f"bytes {offset} to {offset + length} are not in the file, which has {self.size}")
        if not length:
            return b""
        first, last = offset // BLOCK, (offset + length - 1) // BLOCK
        if last - first >= KEPT_BLOCKS // 2:  # it would push all others out
            (content,) = self._fetched([(offset, offset + length)])
            return self._whole(content)
        with self._lock:
            held = {number: self._blocks[number] for number in range(first, last + 1) if number in self._blocks}
        gone = [number for number in range(first, last + 1) if number not in held]
        runs = _runs(gone)
        pieces = [(begin * BLOCK, min((end + 1) * BLOCK, self.size)) for begin, end in runs]
        for (begin, _), found in zip(pieces, self._fetched(pieces), strict=True):
            content = self._whole(found)
            for at in range(0, len(content), BLOCK):
                held[(begin + at) // BLOCK] = content[at : at + BLOCK]
        with self._lock:
            for number in range(first, last + 1):
                self._blocks[number] = held[number]
                self._blocks.move_to_end(number)
            while len(self._blocks) > KEPT_BLOCKS:
                self._blocks.popitem(last=False)
        joined = b"".join(held[number] for number in range(first, last + 1))
        return joined[offset - first * BLOCK : offset - first * BLOCK + length]

    @staticmethod
    def _whole(found: bytes | OSError) -> bytes:
        if isinstance(found, OSError):
            raise found
        return found

    def read_pieces(self, pieces: Sequence[tuple[int, int]]) -> list[memoryview]:
        """See `RemoteFile.read_pieces`."""
        found = self._fetched(pieces)
        return [memoryview(b"" if isinstance(content, OSError) else content) for content in found]

    def _fetched(self, pieces: Sequence[tuple[int, int]]) -> list[bytes | OSError]:
        """The bytes of each piece, or why they cannot be read.

        Raises:
            SlideError: no more of the file will be read.
        """
        if self._closed:
            raise ValueError("the file was closed")
        if self._refusal:
            raise SlideError(self._refusal)
        if not pieces:
            return []
        found: list[bytes | OSError] = sync(get_loop(), self._gathered, list(pieces))
        for content in found:
            if isinstance(content, Changed):
                self._refuse(f"changed while it was read ({content.strerror}); its tiles are given up, run again")
            self._failed = self._failed + 1 if isinstance(content, OSError) else 0
            if isinstance(content, OSError) and (isinstance(content, Final) or self._failed >= GIVE_UP):
                self._refuse(f"can no longer be read from {self.address} ({content.strerror}); run again when it can")
        return found

    def _refuse(self, why: str) -> None:
        self._refusal = f"{self.name}: {why}"
        raise SlideError(self._refusal)

    async def _gathered(self, pieces: Sequence[tuple[int, int]]) -> list[bytes | OSError]:
        async def one(start: int, end: int) -> bytes | OSError:
            try:
                async with self._turns:
                    return await self._tried(lambda: self._piece(start, end))
            except OSError as error:
                return error

        found = await asyncio.gather(*(one(start, end) for start, end in pieces))
        try:
            await self._tried(self._transport.verify)
        except OSError as error:
            return [error for _ in found]
        return list(found)

    async def _piece(self, start: int, end: int) -> bytes:
        self.requests += 1
        content = await self._transport.fetch(start, end)
        self.bytes_read += len(content)
        if len(content) != end - start:
            raise Passing(errno.EIO, f"{len(content)} bytes came instead of {end - start}")
        return content

    async def _tried(self, ask: Callable[[], Awaitable[T]]) -> T:
        """What a request gives, tried again after a pause that doubles, while it may go better."""
        return await tried(ask, first_wait_s=self._wait_s)

    def copy_to(self, path: Path) -> None:
        """See `RemoteFile.copy_to`."""
        with path.open("wb", buffering=0) as out:
            if not self.has_ranges:
                sync(get_loop(), self._streamed, out)
                return
            head = self._blocks.get(0, b"")  # which came when it was opened
            _write_all(out, head)
            os.truncate(out.fileno(), self.size)
            at_once = AT_ONCE // 4  # parts of a copy are large
            starts = range(len(head), self.size, _PART)
            for first in range(0, len(starts), at_once):
                pieces = [(start, min(start + _PART, self.size)) for start in starts[first : first + at_once]]
                for (start, _), content in zip(pieces, self._fetched(pieces), strict=True):
                    if isinstance(content, OSError):
                        raise SlideError(f"{self.name}: cannot be copied from {self.address}: {content.strerror}")
                    out.seek(start)
                    _write_all(out, content)

    async def _streamed(self, out: FileIO) -> None:
        async def once() -> None:
            out.seek(0)
            out.truncate()
            digest = hashlib.sha256()
            async for chunk in self._transport.whole():
                digest.update(chunk)
                try:
                    _write_all(out, chunk)
                except OSError as error:
                    raise _DiskError from error
            self.version = self.version or digest.hexdigest()

        try:
            await self._tried(once)
        except _DiskError as error:
            raise error.__cause__ or error from None
        except OSError as error:
            raise SlideError(f"{self.name}: cannot be copied from {self.address}: {error.strerror}") from None

    def _sampled(self) -> str:
        """A version for a file of which nobody tells one: the digest of its ends."""
        if not self.has_ranges:
            return ""
        edge = min(BLOCK, self.size)
        return hashlib.sha256(self.read(0, edge) + self.read(self.size - edge, edge)).hexdigest()

    def close(self) -> None:
        """See `RemoteFile.close`."""
        if not self._closed:
            share = f"{self.bytes_read / 1e6:.2f} MB of {self.size / 1e6:.2f}"
            log.info("%s: %d requests of its server, %s", self.name, self.requests, share)
        self._closed = True
        with self._lock:
            self._blocks.clear()


class _DiskError(Final):
    """What a copy is written to fails, which is its cause."""


def _write_all(out: FileIO, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[out.write(view) :]


def _runs(numbers: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of numbers that follow each other."""
    found: list[tuple[int, int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1] = found[-1][0], number
        else:
            found.append((number, number))
    return found
