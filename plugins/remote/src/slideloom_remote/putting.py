"""Puts the files of a run at an address, and never replaces or removes there what is not provably its own.

The proof is a record, at the address and in the local folder, of what was put: size, MD5, and what the store calls the
version. It is put before the files, with what was there before, and again after them: a run that was killed in between
knows its files by their MD5.
"""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import attrs
from fsspec.asyn import get_loop, sync
from fsspec.implementations.http import HTTPFileSystem
from slideloom import (
    Address,
    OutputError,
    RemoteOutput,
    SlideloomError,
    json_text,
    parse_json,
    storing_in,
    utf8,
    write_whole,
)

from slideloom_remote.faults import Passing
from slideloom_remote.listings import Listings
from slideloom_remote.opening import TIMEOUT_S, file_system
from slideloom_remote.ownership import HOLDER, PRIVATE, Ownership
from slideloom_remote.prints import Print, md5_of
from slideloom_remote.stores import S3Store, Store, Stored
from slideloom_remote.trying import FIRST_WAIT_S, tried

log = logging.getLogger(__name__)
T = TypeVar("T")

_HEAD = 4096
_NAMED = 3  # files that a message names
_GIVE_UP = 3  # slides in a row, after which no more are tried until the end
_ACCESS = "access is denied; give fsspec credentials that may list, read, write and remove there"
_NO_BUCKET = "there is no such bucket or folder; make it, or correct the address"
Known = dict[str, list[Print]]


def open_remote_output(address: Address, folder: Path, *, timeout_s: float = TIMEOUT_S) -> RemoteOutput:
    """What puts files of a folder at an address, which from now on is this run's.

    Raises:
        PluginError: the package of its file system is not installed.
        OutputError: it cannot be written, or belongs to another folder or run.
    """
    try:
        files, path = file_system(address)
    except SlideloomError as error:
        raise OutputError(str(error)) from None
    if isinstance(files, HTTPFileSystem):
        raise OutputError(f"{address}: a web server takes no files; use the address of a bucket, or a local folder")
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)  # it logs each file that is not there as an error
    kind = S3Store if hasattr(files, "_call_s3") else Store
    return PutFiles(address, folder, kind(files, path, timeout_s=timeout_s))


class PutFiles(RemoteOutput):
    """See `RemoteOutput`.

    Args:
        address: of the output.
        root: the local folder.
        store: what is at the address.
        first_wait_s: pause before the second try, doubled before each further one.
    """

    def __init__(self, address: Address, root: Path, store: Store, *, first_wait_s: float = FIRST_WAIT_S) -> None:
        self._place = str(address.without_slash())
        self._root = root
        self._store = store
        self._wait_s = first_wait_s
        self._failed = 0  # records in a row
        self._why = ""
        self._listings = Listings(lambda folder: self._now(folder, lambda: store.listed(folder)))
        self._owner = Ownership(
            address,
            root,
            content=lambda name: self._now(name, lambda: store.content(name)),
            put=self._put_own,
            listed=lambda folder: bool(self._now(folder, lambda: store.listed(folder))),
        )

    def publish(
        self,
        record: str,
        files: Sequence[str],
        *,
        last: str,
        within: Collection[str] = (),
        staying: Collection[str] | None = None,
    ) -> None:
        """See `RemoteOutput.publish`."""
        if self._failed >= _GIVE_UP and last:
            raise OutputError(f"not tried, because {self._failed} slides before failed: {self._why}")
        try:
            self._publish(record, [name for name in files if name not in PRIVATE], last, within, staying)
        except _Unreachable as error:
            self._failed, self._why = self._failed + 1, str(error)
            raise
        self._failed = 0

    def close(self) -> None:
        """See `RemoteOutput.close`."""
        try:
            self._owner.check()
            self._now(HOLDER, lambda: self._store.remove(HOLDER))
        except OutputError as error:
            log.warning("%s; runs from other folders are refused there until %s is removed", error, HOLDER)

    def _publish(
        self,
        record: str,
        files: Sequence[str],
        last: str,
        within: Collection[str],
        staying: Collection[str] | None,
    ) -> None:
        noted = self._noted(record)
        more = [name for name in noted if not _is_within(name, within) and (self._root / name).is_file()]
        with storing_in(self._root):
            wanted = {name: _print(self._root / name, noted.get(name, ())) for name in dict.fromkeys([*files, *more])}
        # Noted first, so that the next run knows what it is to put, even if the address cannot be reached.
        intended = _together(noted, {name: [known] for name, known in wanted.items()})
        if intended != noted:
            self._note(record, intended)
        elif last and not within and self._is_there(record, wanted, noted, staying):
            return
        self._owner.check()
        told = self._told(record)
        known = _together(told or {}, intended)
        others = known.keys() - wanted.keys()
        dropped = {name for name in others if _is_within(name, within) or self._is_gone(name, staying)}
        there = self._looked([*wanted, *dropped], within)
        versions, changed = self._compared(wanted, known, there)
        gone = [name for name in dropped if name in there and self._is_any(name, there[name], known[name])]
        if changed or gone:
            before = {name: [*known.get(name, ()), wanted[name]] for name in wanted}
            self._write(record, {**known, **before}, is_new=told is None)
            versions |= self._exchanged(wanted, there, changed, gone, last)
        final = {name: prints for name, prints in known.items() if name not in wanted and name not in dropped}
        final |= {name: [attrs.evolve(wanted[name], version=versions[name])] for name in wanted}
        if final != told or final != noted:
            self._write(record, final, is_new=told is None and not (changed or gone))
        if changed:
            size = sum(wanted[name].bytes for name in changed)
            log.info("%s: %d files, %.2f MB put at %s", record, len(changed), size / 1e6, self._place)

    def _is_there(
        self, record: str, wanted: Mapping[str, Print], noted: Known, staying: Collection[str] | None
    ) -> bool:
        """True if all is at the address as the record says, as far as lists of the last minutes tell."""
        if any(noted[name] != [known] or not known.version for name, known in wanted.items()):
            return False
        if any(self._is_gone(name, staying) for name in noted.keys() - wanted.keys()):
            return False
        with storing_in(self._root):
            own = Print.of(self._root / record)
        return all(
            found is not None
            and found.bytes == known.bytes
            and found.version in (known.version or known.etag, known.etag)
            for found, known in (
                (self._listings.stored(name), known) for name, known in [*wanted.items(), (record, own)]
            )
        )

    def _exchanged(
        self, wanted: Mapping[str, Print], there: Mapping[str, Stored], changed: list[str], gone: list[str], last: str
    ) -> dict[str, str]:
        """Put what has changed, remove what is gone, and return the versions."""
        first = [name for name in changed if name != last]
        is_there = last in there
        if is_there and (first or gone):
            self._now(last, lambda: self._store.remove(last))
            is_there = False
        versions = self._all(first, lambda name: self._put(name, wanted[name], before=there.get(name)))
        self._all(gone, lambda name: self._tried(name, lambda: self._store.remove(name)))
        if last and not (is_there and last not in changed):
            versions[last] = self._put_now(last, wanted[last], before=there[last] if is_there else None)
        return versions

    def _compared(
        self, wanted: Mapping[str, Print], known: Known, there: Mapping[str, Stored]
    ) -> tuple[dict[str, str], list[str]]:
        """The versions of files that are there as wanted, and the names of those to put.

        Raises:
            OutputError: something else has the name of a file.
        """

        async def kind(name: str) -> str:
            found = there[name]
            if await self._is(name, found, [*known.get(name, ())[::-1], wanted[name]], md5=wanted[name].md5):
                return "same"
            if await self._is(name, found, known.get(name, ())) or await self._is_beginning(name, found, wanted[name]):
                return "ours"
            return "foreign"

        kinds = self._all([name for name in wanted if name in there], kind)
        foreign = [name for name, word in kinds.items() if word == "foreign"]
        if foreign:
            more = f" (and {len(foreign) - 1} more)" if len(foreign) > 1 else ""
            raise OutputError(
                f"{self._place}/{foreign[0]}{more}: was not put there by this output, or has changed since, so it is "
                "left as it is; move it away, or use another address"
            )
        same = {name: there[name].version for name, word in kinds.items() if word == "same"}
        return same, [name for name in wanted if name not in same]

    def _is_gone(self, name: str, staying: Collection[str] | None) -> bool:
        """True for a file that is no more in the folder, unless it stays at the address all the same."""
        return staying is not None and not _is_within(name, staying) and not (self._root / name).exists()

    def _looked(self, names: Sequence[str], within: Collection[str]) -> dict[str, Stored]:
        """What is at the address, of these names; what is in the folders of `within` is listed and not asked for."""
        alone = [name for name in names if name in within or not _is_within(name, within)]
        found: dict[str, Stored | None] = {}
        for folder in [folder for folder in within if any(name.startswith(f"{folder}/") for name in names)]:
            found |= self._now(folder, lambda folder=folder: self._store.listed(folder))  # type: ignore[misc]
        found |= self._all(alone, lambda name: self._tried(name, lambda: self._store.look(name)))
        wanted = set(names)
        return {name: stored for name, stored in found.items() if stored is not None and name in wanted}

    def _is_any(self, name: str, found: Stored, prints: Iterable[Print]) -> bool:
        return bool(sync(get_loop(), self._is, name, found, prints))

    async def _is(self, name: str, found: Stored, prints: Iterable[Print], *, md5: str = "") -> bool:
        """True if what is there is one of these; only of those with an MD5, if one is given."""
        alike = [each for each in prints if each.bytes == found.bytes and md5 in ("", each.md5)]
        if any(found.version and found.version in (each.version, each.etag) for each in alike):
            return True
        if not alike or found.md5:
            return any(each.md5 == found.md5 for each in alike)
        content = await self._tried(name, lambda: self._store.md5(name, found.bytes))
        return any(each.md5 == content for each in alike)

    async def _is_beginning(self, name: str, found: Stored, whole: Print) -> bool:
        """True for what a put that was cut off left, in a store that shows files before they are whole."""
        # Of a file shorter than the head nothing can be proven, except that nothing is lost if it is empty.
        if found.bytes >= whole.bytes or 0 < found.bytes < _HEAD:
            return False
        content = await self._tried(name, lambda: self._store.md5(name, found.bytes))
        return content == md5_of(self._root / name, found.bytes)

    def _put_now(self, name: str, known: Print, *, before: Stored | None) -> str:
        version: str = sync(get_loop(), lambda: self._put(name, known, before=before))
        return version

    async def _put(self, name: str, known: Print, *, before: Stored | None) -> str:
        path = self._root / name
        try:
            stored = await self._tried(name, lambda: self._store.put(name, path, known, before=before))
        except OutputError:
            if known.is_of(path):
                raise
            raise OutputError(
                f"{path}: was changed while it was put at {self._place}; write logs elsewhere, and run again"
            ) from None
        return stored.version

    def _put_own(self, name: str, known: Print, is_new: bool) -> None:
        """Put a file that was just read there and found to be this output's, or that is not there."""
        before = None if is_new else self._now(name, lambda: self._store.look(name))
        self._put_now(name, known, before=before)

    def _now(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        found: T = sync(get_loop(), self._tried, name, ask)
        return found

    def _all(self, names: Iterable[str], ask: Callable[[str], Awaitable[T]]) -> dict[str, T]:
        """What `ask` gives for each name, some at a time; the first error ends it."""

        async def every() -> dict[str, T]:
            turns = asyncio.Semaphore(self._store.at_once)

            async def one(name: str) -> T:
                async with turns:
                    return await ask(name)

            try:
                async with asyncio.TaskGroup() as group:
                    tasks = {name: group.create_task(one(name)) for name in names}
            except BaseExceptionGroup as errors:
                raise errors.exceptions[0] from None
            return {name: task.result() for name, task in tasks.items()}

        found: dict[str, T] = sync(get_loop(), every)
        return found

    async def _tried(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        try:
            return await tried(ask, first_wait_s=self._wait_s)
        except OSError as error:
            raise self._told_error(name, error) from None

    def _told_error(self, name: str, error: OSError) -> OutputError:
        at = f"{self._place}/{name}"
        if error.errno == errno.EEXIST:
            return OutputError(f"{at}: {error.strerror}, so it is left as it is; move it away, or use another address")
        if error.errno == errno.ENOENT:
            return OutputError(f"{at}: {_NO_BUCKET}")
        if error.errno in (errno.EACCES, errno.EPERM):
            return OutputError(f"{at}: {_ACCESS}")
        kind = _Unreachable if isinstance(error, Passing) else OutputError
        return kind(f"{at}: cannot be written or read there ({error.strerror}); run again when it can")

    def _told(self, record: str) -> Known | None:
        content = self._now(record, lambda: self._store.content(record))
        if content is None:
            return None
        found = _record(content, bond=self._owner.id)
        if found is None:
            raise OutputError(f"{self._place}/{record}: was not put there by this output; use another address")
        return found

    def _noted(self, record: str) -> Known:
        with storing_in(self._root), suppress(FileNotFoundError):
            return _record((self._root / record).read_bytes(), bond=self._owner.id) or {}
        return {}

    def _write(self, record: str, known: Known, *, is_new: bool) -> None:
        self._note(record, known)
        with storing_in(self._root):
            content = Print.of(self._root / record)
        self._put_own(record, content, is_new)

    def _note(self, record: str, known: Known) -> None:
        files = {name: [each.as_table() for each in dict.fromkeys(known[name])] for name in sorted(known)}
        with storing_in(self._root):
            write_whole(self._root / record, utf8(json_text({"output": self._owner.id, "files": files}) + "\n"))


class _Unreachable(OutputError):
    """The address cannot be reached, which may be so for all files."""


def _record(content: bytes, *, bond: str) -> Known | None:
    """What a record says; None if it is no record of this output."""
    try:
        table: Any = parse_json(content)
        if table["output"] != bond:
            return None
        return {str(name): [Print.from_table(each) for each in prints] for name, prints in table["files"].items()}
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _together(one: Known, other: Known) -> Known:
    names = [*one, *(name for name in other if name not in one)]
    return {name: list(dict.fromkeys([*one.get(name, ()), *other.get(name, ())])) for name in names}


def _print(path: Path, known: Sequence[Print]) -> Print:
    """The print of a local file, of which earlier ones are known; it is only read if it has changed since."""
    same = next((each for each in reversed(known) if each.is_of(path)), None)
    return same or Print.of(path)


def _is_within(name: str, within: Collection[str]) -> bool:
    return any(name == place or name.startswith(f"{place}/") for place in within)
