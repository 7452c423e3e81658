"""Files and folders at addresses, with as much of `pathlib.Path` as is needed to find out which files are a slide."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import PurePosixPath
from typing import BinaryIO, TypeVar
from urllib.parse import quote, unquote

from slideloom.base.addresses import Address
from slideloom.base.errors import SlideError, Unlisted
from slideloom.slides.remote_file import RangeStream
from slideloom.slides.remote_folder import RemoteState
from slideloom.slides.remote_tree import RemoteTree, telling

T = TypeVar("T")

_SAME_SCHEMES = {"s3a": "s3", "gcs": "gs"}  # two names of one store
_BLOCK = 1 << 16  # bytes asked for at once
_MOST_TEXT = 1 << 24  # bytes of a file that is read whole to learn which others belong to it


class RemotePath:
    """A file or folder at an address. Thread-safe, and equal to another of the same address.

    Its methods do what those of `pathlib.Path` do. What the network fails to say is a `SlideError`, and never taken for
    a file that is not there.

    Attributes:
        address: where it is, without a slash at its end.
        tree: what is known of it and its neighbours.
        key: its address, in one form however it is quoted. It begins with what the address says behind a question
            mark, so that the keys of files begin with that of their folder.
    """

    __slots__ = ("_is_folder", "address", "key", "tree")

    def __init__(self, address: Address, tree: RemoteTree, *, is_folder: bool | None = None) -> None:
        plain = _as_asked(address.without_slash())
        self.tree = tree
        self.key = _key(plain)
        self.address = tree.known_as(self.key, plain)
        self._is_folder = True if address.is_folder else is_folder

    def __str__(self) -> str:
        return str(self.address)

    def __repr__(self) -> str:
        return f"RemotePath({str(self.address)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __lt__(self, other: RemotePath) -> bool:
        return self.key.split("/") < other.key.split("/")

    @property
    def name(self) -> str:
        """The last part."""
        return self.address.name

    @property
    def suffix(self) -> str:
        """The extension of the name, such as ".svs"."""
        return self.address.suffix

    @property
    def stem(self) -> str:
        """The name without its extension."""
        return self.address.stem

    @property
    def parent(self) -> RemotePath:
        """The folder that it lies in."""
        place, _, query = _divided(self.address)
        start = place.index("://") + 3 if "://" in place else 0
        home = place[: max(place.rfind("/"), start)] if "/" in place[start:] else place
        return RemotePath(Address(home + query), self.tree, is_folder=True)

    def with_name(self, name: str) -> RemotePath:
        """The file of another name beside it."""
        return self.parent / name

    def with_suffix(self, suffix: str) -> RemotePath:
        """The file of the same name but for the extension."""
        return self.with_name(self.stem + suffix)

    def __truediv__(self, name: str) -> RemotePath:
        place, is_web, query = _divided(self.address)
        return RemotePath(Address(f"{place.rstrip('/')}/{quote(name) if is_web else name}{query}"), self.tree)

    def relative_to(self, folder: RemotePath) -> PurePosixPath:
        """The path below a folder.

        Raises:
            ValueError: it is not below it.
        """
        home = folder.key.rstrip("/") + "/"
        if not self.key.startswith(home):
            raise ValueError(f"{self} is not below {folder}")
        return PurePosixPath(self.key.removeprefix(home))

    def is_dir(self) -> bool:
        """True for a folder, as far as its store tells."""
        if self._is_folder is not None:
            return self._is_folder
        return self.tree.once(("folder", self.key), self._holds_something)

    def _holds_something(self) -> bool:
        known = self.tree.listed(self.key)
        if known is not None:
            return known.is_folder
        try:
            return bool(self.tree.children(self))
        except (FileNotFoundError, Unlisted):
            return False

    def is_file(self) -> bool:
        """True for a file."""
        if self._is_folder is not None and self._is_folder:
            return False
        found = self.tree.entry(self)
        return found is not None and not found.is_folder

    def exists(self) -> bool:
        """True for a file or folder."""
        return self.tree.entry(self) is not None

    def state(self) -> RemoteState | None:
        """Size and version; None if it is no file."""
        return None if self._is_folder else self.tree.state(self)

    def iterdir(self) -> Iterator[RemotePath]:
        """What lies in the folder.

        Raises:
            SlideError: it cannot be asked for, or holds a name that no file can have.
            FileNotFoundError: there is no such folder.
            Unlisted: its store does not list it.
        """
        for name, entry in self.tree.children(self).items():
            path = self / name
            if path.name != name:
                raise SlideError(f"{self}: holds {name!r:.80}, which no file can be called on a disk; rename it")
            yield RemotePath(path.address, self.tree, is_folder=entry.is_folder)

    def rglob(self, pattern: str) -> Iterator[RemotePath]:
        """The files below it with such names; otherwise as `iterdir`."""
        for entry in self.tree.all_below(self):
            path = self
            for part in entry.name.split("/"):
                path = path / part
            if fnmatchcase(path.name, pattern):
                yield RemotePath(path.address, self.tree, is_folder=False)

    def walk(self) -> Iterator[tuple[RemotePath, list[str], list[str]]]:
        """As `os.walk`: each folder, with the names of its folders, which may be taken out, and of its files."""
        items = list(self.iterdir())
        folders = [item.name for item in items if item.is_dir()]
        yield self, folders, [item.name for item in items if not item.is_dir()]
        for name in folders:
            child = self / name
            yield from RemotePath(child.address, self.tree, is_folder=True).walk()

    def open(self, mode: str = "rb", buffering: int = _BLOCK) -> BinaryIO:
        """The file for reading, of which only what is read is asked for.

        Raises:
            FileNotFoundError: there is no such file.
            SlideError: it cannot be read.
        """
        if mode != "rb":
            raise ValueError(f"files at addresses are read as bytes, not as {mode!r}")
        state = self.state()
        if state is None:
            raise FileNotFoundError(2, "there is no such file", str(self))
        return io.BufferedReader(_Ranges(self, state.size), buffering)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """All of a file of text."""
        state = self.state()
        if state is not None and state.size > _MOST_TEXT:
            raise SlideError(
                f"{self.name}: has {state.size} bytes, and a text of file names is wanted; look at the file"
            )
        with self.open() as file:
            return file.read().decode(encoding, errors)

    def once(self, question: str, ask: Callable[[], T]) -> T:
        """What a function finds in this file, which is called once."""
        return self.tree.once((question, self.key), ask)


class _Ranges(RangeStream):
    """Reads a file by ranges from a position that moves."""

    def __init__(self, path: RemotePath, size: int) -> None:
        super().__init__(self._asked, size)
        self._path = path
        self._folder = path.tree.folder_of(path)

    def _asked(self, first: int, count: int) -> bytes:
        with self._path.tree.turns, telling(self._path):
            content = self._folder.ask(self._path.name, first, first + count).result()
        if content is None or len(content) != count:
            raise SlideError(f"{self._path.name}: changed at {self._path} while it was read; run again")
        return content

    def close(self) -> None:
        super().close()
        self._folder.close()


def _divided(address: Address) -> tuple[str, bool, str]:
    """Address without its query, whether it is of a web server, and the query."""
    if not address.is_web:
        return address.url, False, ""
    place, mark, query = address.url.partition("?")
    return place, True, mark + query


def _as_asked(address: Address) -> Address:
    """The address that a web server is asked for; any other as it is."""
    place, is_web, query = _divided(address)
    if not is_web:
        return address
    path, sharp, mark = place.partition("#")
    scheme, _, rest = path.partition("://")
    host, slash, inner = rest.partition("/")
    return Address(f"{scheme}://{host}{slash}{without_dots(inner)}{sharp}{mark}{query}")


def _key(address: Address) -> str:
    place, is_web, query = _divided(address)
    if not is_web:
        _, mark, rest = place.partition("://")
        return _SAME_SCHEMES.get(address.scheme, address.scheme) + mark + rest if "::" not in place else place
    path, sharp, mark = place.partition("#")  # unlike `%23`, no part of a name
    return query + sharp + mark + unquote(path)


def without_dots(path: str) -> str:
    """A path without the parts that lead back or nowhere: `a/./b` and `a/c/../b` are `a/b`."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
