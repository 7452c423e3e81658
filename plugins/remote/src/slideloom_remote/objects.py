"""How the files of a folder are asked for one by one: of a web server, of S3, and of any other file system of fsspec.

A file that is not there is None. Every other answer that is not the file is an error: a part of it, a part of another
version of it, or a refusal.
"""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import aiohttp
from slideloom import RemoteState

from slideloom_remote.faults import Changed, Final, NoRanges, Passing, of_status
from slideloom_remote.transports import (
    StoreCalls,
    content_range,
    is_mismatch,
    refuse_version,
    version_in,
    version_of,
    web_answer,
)

_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_REMEDY = "copy the folder of the slide to a disk"


class Objects(ABC):
    """Asks for files below one address, in fsspec's event loop."""

    def __init__(self) -> None:
        self._states: dict[str, RemoteState] = {}  # of files that are read in parts, when they were first asked for

    @abstractmethod
    async def whole(self, name: str) -> bytes | None:
        """All bytes of a file; None if there is none.

        Raises:
            Passing, Final: they cannot be had, now or ever.
        """

    @abstractmethod
    async def part(self, name: str, start: int, end: int | None) -> bytes | None:
        """Bytes of a file from `start` to `end`, or the last ones where `start` is negative; otherwise as `whole`.

        All parts are of one version of the file.
        """

    @abstractmethod
    async def state(self, name: str) -> RemoteState | None:
        """Size and version of a file; otherwise as `whole`."""

    def _check(self, name: str, state: RemoteState) -> None:
        if self._states.setdefault(name, state) != state:
            raise Changed(errno.EIO, f"{name} was replaced while it was read")


def checked_name(name: str) -> str:
    """The name of a file below the folder.

    Raises:
        Final: it leads elsewhere.
    """
    if any(part in ("", ".", "..") for part in name.split("/")) or "\\" in name:
        raise Final(errno.EINVAL, f"{name!r:.80} is no name of a file in it; copy the slide again from its source")
    return name


class WebObjects(Objects):
    """Files below an address of a web server; what follows a question mark in it is sent with each request."""

    def __init__(self, files: Any, url: str, *, timeout_s: float) -> None:
        super().__init__()
        self._files = files
        self._place, self._mark, self._query = url.partition("?")
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)

    async def whole(self, name: str) -> bytes | None:
        """See `Objects.whole`."""
        async with await self._answer(name) as answer:
            if answer.status in _GONE:
                return None
            if answer.status != HTTPStatus.OK:
                raise of_status(answer.status)
            is_counted = "Content-Length" in answer.headers or "chunked" in answer.headers.get("Transfer-Encoding", "")
            if not is_counted:
                raise Final(errno.EIO, f"the server does not say how long its answer is; {_REMEDY}")
            content: bytes = await answer.read()  # an answer that ends too early is an error
            return content

    async def part(self, name: str, start: int, end: int | None) -> bytes | None:
        """See `Objects.part`."""
        asked = f"{start}" if start < 0 else f"{start}-{'' if end is None else end - 1}"
        async with await self._answer(name, {"Range": f"bytes={asked}"}) as answer:
            if answer.status in _GONE:
                return None
            if answer.status == HTTPStatus.OK and start == 0 and end is not None:
                return await self._beginning(name, answer, end)
            if answer.status != HTTPStatus.PARTIAL_CONTENT:
                raise _no_part(answer.status, name)
            content: bytes = await answer.read()
            first, last, size = content_range(answer.headers)
            self._check(name, RemoteState(size, version_in(answer.headers)))
        wanted = max(0, size + start) if start < 0 else start
        until = size if end is None else min(end, size)
        if (first, last + 1) != (wanted, until) or len(content) != until - wanted:
            raise Passing(errno.EIO, f"{len(content)} bytes from {first} on came instead of {until - wanted}")
        return content

    async def _beginning(self, name: str, answer: Any, end: int) -> bytes:
        """The first bytes of a whole file, of which a server that knows no ranges sends the rest in vain."""
        length = answer.headers.get("Content-Length", "")
        if not length.isdecimal():
            raise NoRanges(errno.EIO, f"the server ignores which bytes are asked for; {_REMEDY}")
        self._check(name, RemoteState(int(length), version_in(answer.headers)))
        content: bytes = await answer.content.readexactly(min(end, int(length)))
        return content

    async def state(self, name: str) -> RemoteState | None:
        """See `Objects.state`."""
        async with await self._answer(name, {"Range": "bytes=0-0"}) as answer:
            version = version_in(answer.headers)
            if answer.status in _GONE:
                return None
            if answer.status == HTTPStatus.PARTIAL_CONTENT:
                return RemoteState(content_range(answer.headers)[2], version)
            if answer.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:  # of an empty file
                return RemoteState(0, version)
            if answer.status != HTTPStatus.OK:
                raise of_status(answer.status)
            length = answer.headers.get("Content-Length", "")
            return RemoteState(int(length) if length.isdecimal() else 0, version)

    async def _answer(self, name: str, headers: Mapping[str, str] | None = None) -> Any:
        url = f"{self._place}/{quote(checked_name(name))}{self._mark}{self._query}"
        return await web_answer(self._files, url, headers or {}, self._timeout)


def _no_part(status: int, name: str) -> OSError:
    if status == HTTPStatus.OK:
        return NoRanges(errno.EIO, f"the server ignores which bytes are asked for; {_REMEDY}")
    if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        return Changed(errno.EIO, f"{name} is shorter than it was")
    return of_status(status)


class StoreObjects(Objects):
    """Files below a path of any file system of fsspec."""

    def __init__(self, files: Any, path: str, *, timeout_s: float) -> None:
        super().__init__()
        self._files = files
        self._path = path.rstrip("/")
        self._call = StoreCalls(files, timeout_s=timeout_s)

    async def whole(self, name: str) -> bytes | None:
        """See `Objects.whole`."""
        try:
            content: bytes = await self._call("cat_file", self._place(name))
        except FileNotFoundError:
            return None
        return content

    async def part(self, name: str, start: int, end: int | None) -> bytes | None:
        """See `Objects.part`. Whether the file has changed is asked after each part."""
        if name not in self._states and await self.state(name) is None:
            return None
        size = self._states[name].size if name in self._states else 0
        first = max(0, size + start) if start < 0 else start
        until = size if end is None else min(end, size)
        content: bytes = await self._call("cat_file", self._place(name), start=first, end=until)
        if len(content) != until - first:
            raise Passing(errno.EIO, f"{len(content)} bytes came instead of {until - first}")
        if await self.state(name) is None:
            raise Changed(errno.EIO, f"{name} was removed while it was read")
        return content

    async def state(self, name: str) -> RemoteState | None:
        """See `Objects.state`."""
        self._files.invalidate_cache(self._place(name))
        try:
            about = await self._call("info", self._place(name))
        except FileNotFoundError:
            return None
        if about.get("type") == "directory":
            return None
        found = RemoteState(int(about.get("size") or 0), version_of(about))
        self._check(name, found)
        return found

    def _place(self, name: str) -> str:
        refuse_version(self._files, name)
        return f"{self._path}/{checked_name(name)}"


class S3Objects(StoreObjects):
    """Files in a bucket of S3, whose answers tell size and version."""

    async def whole(self, name: str) -> bytes | None:
        """See `Objects.whole`."""
        found = await self._got(name)
        return None if found is None else found[0]

    async def part(self, name: str, start: int, end: int | None) -> bytes | None:
        """See `Objects.part`."""
        asked = f"{start}" if start < 0 else f"{start}-{'' if end is None else end - 1}"
        found = await self._got(name, Range=f"bytes={asked}")
        if found is None:
            return None
        content, about = found
        first, last, size = content_range({"Content-Range": about.get("ContentRange", "")})
        self._check(name, RemoteState(size, str(about.get("ETag", ""))))
        wanted = max(0, size + start) if start < 0 else start
        until = size if end is None else min(end, size)
        if (first, last + 1) != (wanted, until) or len(content) != until - wanted:
            raise Passing(errno.EIO, f"{len(content)} bytes from {first} on came instead of {until - wanted}")
        return content

    async def _got(self, name: str, **options: str) -> tuple[bytes, Mapping[str, Any]] | None:
        bucket, key, _ = self._files.split_path(self._place(name))
        async with asyncio.timeout(self._call.timeout_s):
            try:
                about = await self._files._call_s3("get_object", self._files.req_kw, Bucket=bucket, Key=key, **options)
            except FileNotFoundError:
                return None
            except OSError as error:
                if is_mismatch(error):
                    raise Changed(errno.EIO, f"{name} is shorter than it was") from None
                raise
            async with about["Body"] as body:
                content: bytes = await body.read()
        length = about.get("ContentLength")
        if length is not None and length != len(content):
            raise Passing(errno.EIO, f"{len(content)} bytes came instead of {length}")
        return content, about
