"""A slide that is a folder of files at an address: its files in parallel, each tried again."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import TypeVar

from fsspec.asyn import get_loop, sync
from slideloom import Address, LostSlide, RemoteFolder, RemoteState

from slideloom_remote.faults import Final
from slideloom_remote.objects import Objects
from slideloom_remote.trying import AT_ONCE, FIRST_WAIT_S, GIVE_UP, tried

log = logging.getLogger(__name__)
T = TypeVar("T")


class FetchedFolder(RemoteFolder):
    """See `RemoteFolder`.

    Args:
        address: of the folder.
        objects: asks for its files.
        first_wait_s: pause before the second try, doubled before each further one.

    Attributes:
        requests: so far, without those that were tried again.
        bytes_read: that came in answer.
    """

    def __init__(self, address: Address, objects: Objects, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self.address = address
        self.requests = 0
        self.bytes_read = 0
        self._objects = objects
        self._wait_s = first_wait_s
        self._turns = asyncio.Semaphore(AT_ONCE)
        self._failed = 0  # requests in a row
        self._refusal = ""
        self._closed = False

    def ask(self, name: str, start: int | None = None, end: int | None = None) -> Future[bytes | None]:
        """See `RemoteFolder.ask`."""
        return asyncio.run_coroutine_threadsafe(self._bytes(name, start, end), get_loop())

    def states(self, names: Sequence[str]) -> list[RemoteState | None]:
        """See `RemoteFolder.states`."""
        found: list[RemoteState | None] = sync(get_loop(), self._all_states, names)
        return found

    async def _all_states(self, names: Sequence[str]) -> list[RemoteState | None]:
        async def one(name: str) -> RemoteState | None:
            return await self._asked(lambda: self._objects.state(name))

        return list(await asyncio.gather(*map(one, names)))

    async def _bytes(self, name: str, start: int | None, end: int | None) -> bytes | None:
        async def once() -> bytes | None:
            if start is None and end is None:
                return await self._objects.whole(name)
            return await self._objects.part(name, start or 0, end)

        found = await self._asked(once)
        self.bytes_read += len(found or b"")
        return found

    async def _asked(self, once: Callable[[], Awaitable[T]]) -> T:
        """The answer to one request; runs in fsspec's loop, and so never twice at a time."""
        async with self._turns:
            if self._closed:
                raise LostSlide(f"{self.name}: the slide was closed; open it again before reading")
            if self._refusal:
                raise LostSlide(self._refusal)
            self.requests += 1
            try:
                found = await tried(once, first_wait_s=self._wait_s)
            except OSError as error:
                self._failed += 1
                if isinstance(error, Final) or self._failed >= GIVE_UP:
                    self._refusal = (
                        f"{self.name}: cannot be read from {self.address} ({error.strerror}); run again when it can"
                    )
                    raise LostSlide(self._refusal) from None
                raise OSError(error.errno or errno.EIO, error.strerror) from None
            self._failed = 0
            return found

    def close(self) -> None:
        """See `RemoteFolder.close`."""
        if not self._closed and self.requests:
            log.info("%s: %d requests of its server, %.2f MB", self.name, self.requests, self.bytes_read / 1e6)
        self._closed = True
