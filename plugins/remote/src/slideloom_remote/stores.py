"""How files are put into a store, looked at and removed: S3, and any other file system of fsspec that takes files.

S3 is told the MD5 of what it gets, and refuses what has another. Of other stores, what they say of the file afterwards
is compared: its size, and its MD5 where they tell it.
"""

from __future__ import annotations

import asyncio
import base64
import errno
import hashlib
import inspect
import mimetypes
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from attrs import frozen
from fsspec.asyn import AsyncFileSystem

from slideloom_remote.faults import Final, Passing
from slideloom_remote.prints import Print, part_bytes
from slideloom_remote.transports import StoreCalls, is_mismatch, version_of

_BLOCK = 16 << 20
_CHANGING = "it is still being written"
_SLOWEST = 64 << 10  # bytes in a second, below which a connection counts as lost
_AT_ONCE = 8
_PARTS_AT_ONCE = 4  # of one file


@frozen
class Stored:
    """What a store says of a file.

    Attributes:
        bytes: its size.
        version: changes with its content; "" if the store says nothing.
        md5: of its content, 32 hexadecimal digits; "" if the store does not tell.
    """

    bytes: int
    version: str
    md5: str = ""


class InTheWay(Final):
    """Something else has the name of a file."""


class Store:
    """Files below a path of any file system of fsspec.

    Args:
        files: the file system.
        path: of the folder, as the file system has it.
        timeout_s: how long to wait for one answer, and longer for much that is sent.

    Attributes:
        at_once: how many requests it takes at a time.
    """

    def __init__(self, files: Any, path: str, *, timeout_s: float) -> None:
        self._files = files
        self._path = path.rstrip("/")
        self._timeout_s = timeout_s
        self._call = StoreCalls(files, timeout_s=timeout_s)
        self.at_once = _AT_ONCE if _is_async(files) else 1  # others need not be thread-safe

    async def look(self, name: str) -> Stored | None:
        """What is there under a name; None if nothing is."""
        self._files.invalidate_cache(self._place(name))
        try:
            about = await self._call("info", self._place(name))
        except FileNotFoundError:
            return None
        if about.get("type") == "directory":
            return None
        return _stored(about)

    async def listed(self, folder: str) -> dict[str, Stored]:
        """All files below a folder, by name; "" stands for all."""
        place = self._place(folder) if folder else self._path
        self._files.invalidate_cache()
        try:
            found = await self._call("find", place, detail=True)
        except FileNotFoundError:
            return {}
        start = self._path + "/"
        return {
            str(name).removeprefix(start): _stored(about)
            for name, about in found.items()
            if str(name).startswith(start) and about.get("type") != "directory"
        }

    async def content(self, name: str) -> bytes | None:
        """All bytes of a small file; None if there is none."""
        try:
            content: bytes = await self._call("cat_file", self._place(name))
        except FileNotFoundError:
            return None
        return content

    async def md5(self, name: str, size: int) -> str:
        """The MD5 of a file's content, which is read completely."""
        found = hashlib.md5(usedforsecurity=False)
        for start in range(0, size, _BLOCK):
            end = min(start + _BLOCK, size)
            block = await self._call("cat_file", self._place(name), start=start, end=end)
            if len(block) != end - start:
                raise Passing(errno.EIO, f"{len(block)} bytes came instead of {end - start}")
            found.update(block)
        return found.hexdigest()

    async def put(self, name: str, path: Path, known: Print, *, before: Stored | None) -> Stored:
        """Put a local file, and return what the store says of it afterwards.

        Args:
            name: of the file in the store.
            path: of the local file.
            known: of the local file.
            before: what had the name and is to be replaced; None if nothing had.

        Raises:
            Passing, Final: it has not arrived.
        """
        if not _is_async(self._files):  # those of clouds know no folders, and might make a bucket
            await self._call("makedirs", self._place(name).rpartition("/")[0], exist_ok=True)
        call = StoreCalls(self._files, timeout_s=self._timeout_s + known.bytes / _SLOWEST)
        await call("put_file", str(path), self._place(name), **_replacing(self._files))
        return await self._arrived(name, known)

    async def remove(self, name: str) -> None:
        """Remove a file."""
        await self._call("rm_file", self._place(name))

    async def _arrived(self, name: str, known: Print) -> Stored:
        found = await self.look(name)
        size = None if found is None else found.bytes
        if found is None or size != known.bytes:
            raise Passing(errno.EIO, f"it holds {size} bytes there instead of {known.bytes}")
        if found.md5 and found.md5 != known.md5:
            raise Passing(errno.EIO, "it holds other bytes there than were sent")
        return found

    def _place(self, name: str) -> str:
        return f"{self._path}/{name}"


class S3Store(Store):
    """A folder of a bucket of S3. It is told the MD5 of all that it gets, and which version it may replace."""

    _has_conditions = True

    async def look(self, name: str) -> Stored | None:
        """See `Store.look`."""
        try:
            about = await self._ask("head_object", name, **self._files.req_kw)
        except FileNotFoundError:
            return None
        etag = str(about.get("ETag", "")).strip('"')
        return Stored(int(about["ContentLength"]), etag, "" if "-" in etag or _is_sealed(about) else etag)

    async def content(self, name: str) -> bytes | None:
        """See `Store.content`."""
        try:
            answer = await self._ask("get_object", name, **self._files.req_kw)
        except FileNotFoundError:
            return None
        async with answer["Body"] as body:
            content: bytes = await body.read()
        if len(content) != answer.get("ContentLength", len(content)):
            raise Passing(errno.EIO, f"{len(content)} bytes came instead of {answer['ContentLength']}")
        return content

    async def md5(self, name: str, size: int) -> str:
        """See `Store.md5`."""
        answer, found, got = (
            await self._ask("get_object", name, **self._files.req_kw),
            hashlib.md5(usedforsecurity=False),
            0,
        )
        async with answer["Body"] as body:
            while block := await body.read(_BLOCK):
                found.update(block)
                got += len(block)
        if got != size:
            raise Passing(errno.EIO, f"{got} bytes came instead of {size}")
        return found.hexdigest()

    async def put(self, name: str, path: Path, known: Print, *, before: Stored | None) -> Stored:
        """See `Store.put`."""
        only = {"IfNoneMatch": "*"} if before is None else {"IfMatch": f'"{before.version}"'}
        try:
            await self._put(name, path, known, only if self._has_conditions else {})
        except OSError as error:
            if self._has_conditions and _code(error) == "NotImplemented":
                self._has_conditions = False  # another store that speaks the language of S3, but not all of it
                return await self.put(name, path, known, before=before)
            if not is_mismatch(error):
                raise
            # A file has the name; it may be this one, if the answer to an earlier try was lost.
            found = await self.look(name)
            if found is None or found.bytes != known.bytes or found.version != known.etag:
                raise InTheWay(errno.EEXIST, "something else was put there meanwhile") from None
        return await self._arrived(name, known)

    async def remove(self, name: str) -> None:
        """See `Store.remove`."""
        await self._ask("delete_object", name)

    async def _put(self, name: str, path: Path, known: Print, only: Mapping[str, Any]) -> None:
        kind, size = mimetypes.guess_type(path.name)[0], part_bytes(known.bytes)
        about = {"ContentType": kind} if kind else {}
        if known.bytes <= size:
            await self._send("put_object", name, path, 0, size, md5=known.md5, **about, **only)
            return
        upload = (await self._ask("create_multipart_upload", name, **about))["UploadId"]
        turns = asyncio.Semaphore(_PARTS_AT_ONCE)

        async def part(number: int, start: int) -> dict[str, Any]:
            async with turns:
                sent = await self._send("upload_part", name, path, start, size, PartNumber=number, UploadId=upload)
            return {"PartNumber": number, "ETag": sent["ETag"]}

        try:
            async with asyncio.TaskGroup() as group:
                starts = enumerate(range(0, known.bytes, size), 1)
                tasks = [group.create_task(part(number, start)) for number, start in starts]
            parts = {"Parts": [task.result() for task in tasks]}
            if not known.is_of(path):
                raise Final(errno.EAGAIN, _CHANGING)
            await self._ask("complete_multipart_upload", name, UploadId=upload, MultipartUpload=parts, **only)
        except BaseException as error:
            with suppress(Exception):  # the first error is the one to report
                await self._ask("abort_multipart_upload", name, UploadId=upload)
            if isinstance(error, BaseExceptionGroup):  # one part says why
                raise error.exceptions[0] from None
            raise

    async def _send(
        self, method: str, name: str, path: Path, start: int, size: int, *, md5: str = "", **options: Any
    ) -> Any:
        body = await asyncio.to_thread(_read, path, start, size)
        found = hashlib.md5(body, usedforsecurity=False)
        if md5 not in ("", found.hexdigest()):
            raise Final(errno.EAGAIN, _CHANGING)
        told = base64.b64encode(found.digest()).decode()
        return await self._ask(method, name, Body=body, ContentMD5=told, **options)

    async def _ask(self, method: str, name: str, **options: Any) -> Any:
        # Not of the whole name, whose end may look like that of a version, which would be left out.
        bucket, home, _ = self._files.split_path(self._path)
        key = f"{home}/{name}" if home else name
        async with asyncio.timeout(self._timeout_s + len(options.get("Body", b"")) / _SLOWEST):
            return await self._files._call_s3(method, Bucket=bucket, Key=key, **options)


def _code(error: BaseException) -> str:
    """What S3 calls an error."""
    return str(getattr(error.__cause__, "response", {}).get("Error", {}).get("Code", ""))


def _read(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(size)


def _stored(about: Mapping[str, Any]) -> Stored:
    return Stored(int(about.get("size") or 0), version_of(about).strip('"'), _md5_in(about))


def _is_sealed(about: Mapping[str, Any]) -> bool:
    """True if S3 stores it with a key of somebody's, so that its ETag is no MD5."""
    return "aws:kms" in str(about.get("ServerSideEncryption", "")) or "SSECustomerAlgorithm" in about


def _is_async(files: Any) -> bool:
    return isinstance(files, AsyncFileSystem) and bool(files.async_impl)


def _replacing(files: Any) -> dict[str, bool]:
    """How to say that a file may be replaced, to a file system that must be told: that of Azure."""
    known = inspect.signature(files._put_file if _is_async(files) else files.put_file).parameters
    return {"overwrite": True} if "overwrite" in known else {}


def _md5_in(about: Mapping[str, Any]) -> str:
    """What a store tells of the MD5 of a file: Google's in letters, Azure's in bytes."""
    if about.get("md5Hash"):
        return base64.b64decode(about["md5Hash"]).hex()
    settings = about.get("content_settings") or {}
    told = settings.get("content_md5") if isinstance(settings, Mapping) else getattr(settings, "content_md5", None)
    return bytes(told).hex() if told else ""
