"""What is known of files and folders at addresses: each is listed, or asked for, once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

from attrs import frozen

from slideloom.base.addresses import Address
from slideloom.base.errors import LostSlide, SlideError, Unlisted
from slideloom.slides.remote_folder import RemoteFolder, RemoteState

if TYPE_CHECKING:
    from slideloom.slides.remote_path import RemotePath

T = TypeVar("T")

_AT_ONCE = 16


@frozen
class RemoteEntry:
    """A file or folder that a store lists.

    Attributes:
        name: its path below the folder that was asked for, with `/`.
        is_folder: True for a folder.
        size: in bytes; None if the store does not tell.
        version: what changes with its content, such as an ETag; "" if the store does not tell.
    """

    name: str
    is_folder: bool
    size: int | None = None
    version: str = ""


class RemoteTree:
    """What is known of files at addresses: each is asked for once. Thread-safe.

    It lives as long as a search for slides, or until a slide is opened, and so never sees a later state of a file.

    Args:
        list_folder: called with the address of a folder, and True for all files below it instead of what lies in it;
            what `RemoteFiles.entries` says.
        open_folder: called with the address of a folder; its files.
        is_search: True if all files of folders are looked at, so that listing these is cheaper than asking one by one.
    """

    def __init__(
        self,
        list_folder: Callable[[Address, bool], Sequence[RemoteEntry]],
        open_folder: Callable[[Address], RemoteFolder],
        *,
        is_search: bool = False,
    ) -> None:
        self._list_folder = list_folder
        self._open_folder = open_folder
        self._is_search = is_search
        self.turns = threading.BoundedSemaphore(_AT_ONCE)  # requests at a time, however many threads ask
        self._lock = threading.Lock()
        self._locks: dict[object, threading.Lock] = {}
        self._answers: dict[object, object] = {}
        self._known: dict[str, RemoteEntry] = {}  # of what was listed, by key
        self._addresses: dict[str, Address] = {}  # by key: a name may be quoted in several ways

    def known_as(self, key: str, address: Address) -> Address:
        """An address as it was first given, however it is quoted."""
        with self._lock:
            return self._addresses.setdefault(key, address)

    def listed(self, key: str) -> RemoteEntry | None:
        """What a listing that was asked for says of a file or folder."""
        return self._known.get(key)

    def once(self, question: object, ask: Callable[[], T]) -> T:
        """The answer to a question; whoever asks while it is being answered waits for it. Errors are not kept."""
        with self._lock:
            lock = self._locks.setdefault(question, threading.Lock())
        with lock:
            if question not in self._answers:
                self._answers[question] = ask()
            return cast("T", self._answers[question])

    def children(self, folder: RemotePath) -> dict[str, RemoteEntry]:
        """What lies in a folder, by names.

        Raises:
            FileNotFoundError: there is no such folder.
            Unlisted: nobody tells.
            SlideError: it cannot be asked for.
        """

        def ask() -> dict[str, RemoteEntry] | Unlisted:
            try:
                with self.turns:
                    found = {entry.name: entry for entry in self._list_folder(folder.address, False)}
            except Unlisted as error:  # an answer, too
                return error
            with self._lock:
                self._known.update({_below(folder.key, name): entry for name, entry in found.items()})
            return found

        answer = self.once(("in", folder.key), ask)
        if isinstance(answer, Unlisted):
            raise Unlisted(str(answer))
        return answer

    def all_below(self, folder: RemotePath) -> Sequence[RemoteEntry]:
        """All files in a folder and below it, in a few requests where its store can; otherwise as `children`."""

        def ask() -> Sequence[RemoteEntry]:
            with self.turns:
                found = [entry for entry in self._list_folder(folder.address, True) if not entry.is_folder]
            inside: dict[str, dict[str, RemoteEntry]] = {"": {}}
            for entry in found:
                *folders, own = entry.name.split("/")
                place = ""
                for name in folders:
                    inside[place].setdefault(name, RemoteEntry(name, is_folder=True))
                    place = f"{place}/{name}" if place else name
                    inside.setdefault(place, {})
                inside[place][own] = RemoteEntry(own, is_folder=False, size=entry.size, version=entry.version)
            with self._lock:
                for place, items in inside.items():
                    home = _below(folder.key, place) if place else folder.key
                    self._answers[("in", home)] = items
                    self._known.update({_below(home, name): item for name, item in items.items()})
            return found

        return self.once(("below", folder.key), ask)

    def entry(self, path: RemotePath) -> RemoteEntry | None:
        """What a store says of a file or folder; None if there is none, or if it is a folder of an unlisted one."""
        known = self._known.get(path.key)
        if known is not None:
            return known
        home = path.parent
        try:
            if self._is_search or self._is_listed(home):
                return self.children(home).get(path.name)
        except FileNotFoundError:
            return None
        except Unlisted:
            pass
        state = self.state(path)
        return None if state is None else RemoteEntry(path.name, is_folder=False, size=state.size)

    def _is_listed(self, folder: RemotePath) -> bool:
        with self._lock:
            return ("in", folder.key) in self._answers

    def state(self, path: RemotePath) -> RemoteState | None:
        """Size and version of a file; None if there is no such file.

        Raises:
            SlideError: it cannot be asked for.
        """
        known = self._known.get(path.key)
        if known is not None and not known.is_folder and known.size is not None:
            return RemoteState(known.size, known.version)
        return self.once(("state", path.key), lambda: self.states([path])[0])

    def states(self, paths: Sequence[RemotePath]) -> list[RemoteState | None]:
        """Size and version of files as they are now, asked for in parallel; otherwise as `state`."""

        def ask(path: RemotePath) -> RemoteState | None:
            with self.turns, self.folder_of(path) as folder, telling(path):
                return folder.states([path.name])[0]

        return in_parallel(ask, paths)

    def folder_of(self, path: RemotePath) -> RemoteFolder:
        """The folder that a file lies in, open."""
        return self._open_folder(path.parent.address)


@contextmanager
def telling(path: RemotePath) -> Iterator[None]:
    """Within it, what the network does is a `SlideError` that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise SlideError(
            f"{path.name}: cannot be read from {path} ({error.strerror or error}); look whether the network and the "
            "server are there, and run again"
        ) from error
    except LostSlide as error:  # which names the folder that the file is in
        raise SlideError(f"{path.name}: {error}") from error


def in_parallel(ask: Callable[[Any], T], items: Sequence[Any]) -> list[T]:  # Any: of one type, whichever
    """What a function gives for each item, in their order; the first error of any ends all.

    Where files are not local, a request waits for the network, so 16 of them wait at a time.
    """
    if len(items) < 2:
        return [ask(item) for item in items]
    with ThreadPoolExecutor(min(_AT_ONCE, len(items)), thread_name_prefix="slideloom-asking") as pool:
        futures = [pool.submit(ask, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _below(home: str, name: str) -> str:
    return f"{home.rstrip('/')}/{name}"
