"""How bytes of a file are asked for: of a web server, of S3, and of any other file system of fsspec.

Each transport knows the version of the file that it opened, and raises `Changed` rather than give bytes of another one.
"""

from __future__ import annotations

import asyncio
import errno
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from attrs import frozen
from fsspec.asyn import AsyncFileSystem
from slideloom import option_name

from slideloom_remote.faults import Changed, Final, NoRanges, Passing, of_status

_OK, _PARTIAL, _UNSATISFIABLE = 200, 206, 416
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")
_CHUNK = 1 << 20
_VERSION = "?versionId="
_MOST_WAIT_S = 3.0
PROBE = 1 << 16
"""Bytes asked for when a file is opened: the head of a TIFF, and the directories of a small one."""


@frozen
class Found:
    """What is known of a file when it is opened.

    Attributes:
        size: in bytes.
        version: an ETag, or the time of the last change; "" if the server tells neither.
        has_ranges: True if it can be read by ranges.
        head: its first bytes, if they came along.
    """

    size: int
    version: str
    has_ranges: bool = True
    head: bytes = b""


class Transport(ABC):
    """Asks for bytes of one file, in fsspec's event loop."""

    @abstractmethod
    async def look(self) -> Found:
        """What the file is. Called once, before anything else."""

    @abstractmethod
    async def fetch(self, start: int, end: int) -> bytes:
        """The bytes from `start` to `end`, all of them.

        Raises:
            Passing, Final: they cannot be had, now or ever.
        """

    async def verify(self) -> None:
        """Raise `Changed` if bytes fetched before may be of another version; called after each group of fetches."""
        return

    def whole(self) -> AsyncIterator[bytes]:
        """All bytes in one answer, for a server that knows no ranges."""
        raise NotImplementedError


class WebTransport(Transport):
    """A web server, asked through the session of fsspec's own file system, with its headers and credentials."""

    def __init__(self, files: Any, url: str, *, timeout_s: float) -> None:
        self._files = files
        self._url = url
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=timeout_s, sock_read=timeout_s)
        self._found: Found | None = None

    async def look(self) -> Found:
        """See `Transport.look`. A file that has just changed is asked for again a second later.

        Before, a further change would not show in its date, nor in an ETag that the server makes of that.
        """
        self._found, wait_s = await self._look()
        if wait_s:
            await asyncio.sleep(wait_s)
            self._found, _ = await self._look()
        return self._found

    async def _look(self) -> tuple[Found, float]:
        """What the file is, and after how many seconds its version will stand for this content alone."""
        async with await self._answer({"Range": f"bytes=0-{PROBE - 1}"}) as answer:
            version, wait_s = version_in(answer.headers), unsettled_s(answer.headers)
            if answer.status == _PARTIAL:
                head = await answer.read()
                begin, end, size = content_range(answer.headers)
                if begin != 0 or len(head) != end + 1 or (size > end + 1 and len(head) != PROBE):
                    raise Passing(errno.EIO, f"the server sent {len(head)} bytes instead of {min(size, PROBE)}")
                return Found(size, version, head=head), wait_s
            if answer.status in (_OK, _UNSATISFIABLE):
                # An empty file has no range; a server that knows none begins to send the whole file.
                length = answer.headers.get("Content-Length", "") if answer.status == _OK else "0"
                if not length.isdecimal():
                    raise Final(errno.EIO, "the server does not say how long the file is; copy it to a disk")
                return Found(int(length), version, has_ranges=False), wait_s
            raise of_status(answer.status)

    async def fetch(self, start: int, end: int) -> bytes:
        """See `Transport.fetch`."""
        found = self._known()
        async with await self._answer({"Range": f"bytes={start}-{end - 1}"}) as answer:
            if answer.status == _OK:
                raise NoRanges(errno.EIO, f"the server ignores which bytes are asked for; {_remedy()}")
            if answer.status == _UNSATISFIABLE:
                raise Changed(errno.EIO, "it is shorter than it was")
            if answer.status != _PARTIAL:
                raise of_status(answer.status)
            self._check_version(answer.headers)
            content: bytes = await answer.read()
            if content_range(answer.headers) != (start, end - 1, found.size):
                raise Changed(errno.EIO, f"the server answers with {answer.headers.get('Content-Range')!r:.60}")
        return content

    async def whole(self) -> AsyncIterator[bytes]:
        """See `Transport.whole`."""
        found = self._known()
        got = 0
        async with await self._answer({}) as answer:
            if answer.status != _OK:
                raise of_status(answer.status)
            self._check_version(answer.headers)
            async for chunk in answer.content.iter_chunked(_CHUNK):
                got += len(chunk)
                yield chunk
        if got != found.size:
            raise Passing(errno.EIO, f"{got} bytes came instead of {found.size}")

    async def _answer(self, headers: Mapping[str, str]) -> Any:
        return await web_answer(self._files, self._url, headers, self._timeout)

    def _known(self) -> Found:
        if self._found is None:
            raise RuntimeError("look first")
        return self._found

    def _check_version(self, headers: Mapping[str, str]) -> None:
        version = version_in(headers)
        if version != self._known().version:
            raise Changed(errno.EIO, "it was replaced while it was read")


async def web_answer(files: Any, url: str, headers: Mapping[str, str], timeout: aiohttp.ClientTimeout) -> Any:
    """The answer to a request, with the headers and credentials of fsspec's own file system; a context manager."""
    options = {"timeout": timeout, **files.kwargs}
    # A packed answer would have other bytes than were asked for.
    options["headers"] = {**options.get("headers", {}), "Accept-Encoding": "identity", **headers}
    session = await files.set_session()
    return session.get(files.encode_url(url), **options)


def version_in(headers: Mapping[str, str]) -> str:
    """What a web server says of the version: an ETag, or the time of the last change; "" if neither."""
    return headers.get("ETag", "") or headers.get("Last-Modified", "")


def unsettled_s(headers: Mapping[str, str]) -> float:
    """Seconds until a change of the file shows in its date, by the server's clock: 0 if it would by now.

    Such dates have whole seconds. One that is far ahead says nothing, because the clocks differ.
    """
    try:
        changed, now = (parsedate_to_datetime(headers[name]) for name in ("Last-Modified", "Date"))
        wait_s = (changed - now).total_seconds() + 1
    except (KeyError, TypeError, ValueError):  # not told, or no dates
        return 0.0
    return wait_s if 0 < wait_s <= _MOST_WAIT_S else 0.0


def content_range(headers: Mapping[str, str]) -> tuple[int, int, int]:
    """First and last of the bytes that an answer holds, and the size of the file.

    Raises:
        Final: it does not say so.
    """
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
    if found is None:
        raise Final(errno.EIO, f"the server does not say which bytes it sends; {_remedy()}")
    first, last, size = map(int, found.groups())
    return first, last, size


class StoreCalls:
    """Calls functions of a file system of fsspec by their names, in its event loop or a thread.

    Args:
        files: the file system.
        timeout_s: how long to wait for one answer.
    """

    def __init__(self, files: Any, *, timeout_s: float) -> None:
        self.timeout_s = timeout_s
        self._files = files
        self._one_by_one = asyncio.Lock()  # file systems without an event loop need not be thread-safe

    async def __call__(self, name: str, *arguments: Any, **options: Any) -> Any:
        """What the function of this name returns."""
        async with asyncio.timeout(self.timeout_s):
            if isinstance(self._files, AsyncFileSystem) and self._files.async_impl:
                return await getattr(self._files, f"_{name}")(*arguments, **options)
            async with self._one_by_one:
                return await asyncio.to_thread(getattr(self._files, name), *arguments, **options)


class StoreTransport(Transport):
    """Any file system of fsspec. Whether the file has changed is asked after each group of fetches.

    Args:
        files: the file system.
        path: of the file, as the file system has it.
        timeout_s: how long to wait for one answer.
    """

    def __init__(self, files: Any, path: str, *, timeout_s: float) -> None:
        self._files = files
        self._path = path
        self._call = StoreCalls(files, timeout_s=timeout_s)
        self._found = Found(0, "")

    async def look(self) -> Found:
        """See `Transport.look`."""
        self._found = await self._look()
        return self._found

    async def _look(self) -> Found:
        self._files.invalidate_cache(self._path)
        about = await self._call("info", self._path)
        if about.get("type") == "directory":
            raise Final(errno.EISDIR, "it is a folder; end its address with a slash")
        if about.get("size") is None:
            raise Final(errno.EIO, "its length is not known; copy it to a disk")
        return Found(int(about["size"]), version_of(about))

    async def fetch(self, start: int, end: int) -> bytes:
        """See `Transport.fetch`."""
        content: bytes = await self._call("cat_file", self._path, start=start, end=end)
        return content

    async def verify(self) -> None:
        """See `Transport.verify`."""
        now = await self._look()
        if (now.size, now.version) != (self._found.size, self._found.version):
            raise Changed(errno.EIO, "it was replaced while it was read")


def refuse_version(files: Any, path: str) -> None:
    """Raise `Final` for a name whose end s3fs takes for a version and leaves out: another object would be opened."""
    if hasattr(files, "_call_s3") and _VERSION in path:
        raise Final(errno.EINVAL, f"a name with {_VERSION!r} stands for another object; copy it to a plain name")


def version_of(about: Mapping[str, Any]) -> str:
    """What changes with a file's content, under the names that file systems give it."""
    for key in ("ETag", "etag", "generation", "md5Hash", "content_settings", "LastModified", "mtime", "updated"):
        if about.get(key):
            return str(about[key])
    return next((str(value) for key, value in about.items() if "modif" in key.lower() and value), "")


class S3Transport(StoreTransport):
    """S3, which compares the version itself with each request (If-Match)."""

    async def look(self) -> Found:
        """See `Transport.look`. The head comes along, unless there is none, or no such file."""
        try:
            head, about = await self._got(0, PROBE)
        except (FileNotFoundError, Changed):
            return await super().look()
        begin, end, size = content_range({"Content-Range": about.get("ContentRange", "")})
        if begin != 0 or len(head) != end + 1 or (size > end + 1 and len(head) != PROBE):
            raise Passing(errno.EIO, f"{len(head)} bytes came instead of {min(size, PROBE)}")
        self._found = Found(size, str(about.get("ETag", "")), head=head)
        return self._found

    async def fetch(self, start: int, end: int) -> bytes:
        """See `Transport.fetch`."""
        options = {"IfMatch": self._found.version} if self._found.version else {}
        return (await self._got(start, end, **options))[0]

    async def _got(self, start: int, end: int, **options: str) -> tuple[bytes, Mapping[str, Any]]:
        bucket, key, version = self._files.split_path(self._path)
        if version:
            options["VersionId"] = version
        async with asyncio.timeout(self._call.timeout_s):
            try:
                answer = await self._files._call_s3(
                    "get_object",
                    self._files.req_kw,
                    Bucket=bucket,
                    Key=key,
                    Range=f"bytes={start}-{end - 1}",
                    **options,
                )
            except OSError as error:
                if is_mismatch(error):
                    raise Changed(errno.EIO, "it was replaced while it was read") from None
                raise
            async with answer["Body"] as body:
                content: bytes = await body.read()
        return content, answer

    async def verify(self) -> None:
        """Nothing: each answer was of the right version."""


def is_mismatch(error: BaseException | None) -> bool:
    """True if S3 says that a file has another version, or fewer bytes, than were asked for."""
    while error is not None:
        code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
        if code in ("PreconditionFailed", "412", "InvalidRange"):
            return True
        error = error.__cause__
    return False


def _remedy() -> str:
    return f"name a folder for copies of slides with {option_name('run', 'buffer')}"
