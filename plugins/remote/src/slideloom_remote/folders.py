"""What lies in a folder at an address: of stores that list folders, and of web servers that have a page of each.

A listing is complete, or an error: a name that is left out would be a lost part of a slide.
"""

from __future__ import annotations

import asyncio
import errno
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from html.parser import HTMLParser
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp
from fsspec.asyn import get_loop, sync
from fsspec.implementations.http import HTTPFileSystem
from slideloom import Address, RemoteEntry, SlideError, Unlisted

from slideloom_remote.faults import Final, of_status
from slideloom_remote.opening import TIMEOUT_S, file_system
from slideloom_remote.transports import StoreCalls, version_of, web_answer
from slideloom_remote.trying import AT_ONCE, FIRST_WAIT_S, tried

_GONE = (HTTPStatus.NOT_FOUND, HTTPStatus.GONE)
_REFUSED = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED, *_GONE)
_TITLES = ("index of", "directory listing")  # of such pages
_LARGEST_PAGE = 1 << 26  # bytes
_DEEPEST = 32  # folders within folders; more are a loop


class NoPage(Final):
    """A web server has no page that tells what lies in a folder."""


def entries_of(address: Address, *, below: bool, first_wait_s: float = FIRST_WAIT_S) -> Sequence[RemoteEntry]:
    """What lies in the folder at an address, sorted by name.

    Args:
        address: of the folder.
        below: True for all files in it and below, instead of its files and folders.
        first_wait_s: pause before the second try of a request, doubled before each further one.

    Raises:
        FileNotFoundError: there is no such folder.
        Unlisted: its store does not tell.
        SlideError: its store does not answer.
    """
    if "::" in address.url:
        raise Unlisted(f"{address}: a chain of addresses is not listed")
    files, path = file_system(address)
    listing = _listing(files, path, first_wait_s=first_wait_s)
    try:
        found: Sequence[RemoteEntry] = sync(get_loop(), listing.below if below else listing.inside)
    except NoPage as error:
        raise Unlisted(
            f"{address}: {error.strerror}, so it is not known which files lie there; let the server show an index page "
            "of the folder, or copy the folder to a disk"
        ) from None
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise FileNotFoundError(errno.ENOENT, "there is no such folder", str(address)) from None
        remedy = "" if error.errno == errno.EINVAL else "; run again when it can"
        raise SlideError(f"{address} cannot be listed ({error.strerror}){remedy}") from None
    return sorted(found, key=lambda entry: entry.name)


def _listing(files: Any, path: str, *, first_wait_s: float) -> _Listing:
    if isinstance(files, HTTPFileSystem):
        return _Pages(files, path, first_wait_s)
    return (_Prefixes if hasattr(files, "_call_s3") else _Folders)(files, path, first_wait_s)


class _Listing(ABC):
    """Asks for what lies in a folder, in fsspec's event loop."""

    def __init__(self, files: Any, path: str, first_wait_s: float) -> None:
        self._files = files
        self._path = path
        self._wait_s = first_wait_s
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def inside(self) -> list[RemoteEntry]:
        """The files and folders in it."""
        return await self._asked("")

    async def below(self) -> list[RemoteEntry]:
        """All files in it and below."""
        return await self._all_in("", 0)

    async def _all_in(self, folder: str, depth: int) -> list[RemoteEntry]:
        if depth == _DEEPEST:
            raise Final(errno.ELOOP, f"its folders lie {depth} deep in each other; correct the address")
        found = await self._asked(folder)
        deeper = await asyncio.gather(*(self._all_in(each.name, depth + 1) for each in found if each.is_folder))
        return [each for each in found if not each.is_folder] + [each for inner in deeper for each in inner]

    async def _asked(self, folder: str) -> list[RemoteEntry]:
        async with self._turns:
            return await tried(lambda: self._entries(folder), first_wait_s=self._wait_s)

    @abstractmethod
    async def _entries(self, folder: str) -> list[RemoteEntry]:
        """What lies in a folder below the first, with names below that."""


class _Folders(_Listing):
    """Any file system of fsspec. Its own search is not used, because that leaves out folders that it cannot list."""

    def __init__(self, files: Any, path: str, first_wait_s: float) -> None:
        super().__init__(files, path.rstrip("/"), first_wait_s)
        self._call = StoreCalls(files, timeout_s=TIMEOUT_S)

    async def _entries(self, folder: str) -> list[RemoteEntry]:
        place = f"{self._path}/{folder}" if folder else self._path
        self._files.invalidate_cache(place)
        return self._named(await self._call("ls", place, detail=True))

    def _named(self, listed: Sequence[Mapping[str, Any]]) -> list[RemoteEntry]:
        """Entries by their names below the first folder; what stands for a folder itself is none.

        Raises:
            Final: a name has an empty part, as in `a//b`: in a bucket that is another folder, which no disk can have.
        """
        found = {}
        home = self._path.strip("/") + "/"
        for about in listed:
            full = str(about["name"]).lstrip("/")
            if self._is_nameless(about, home) or "//" in full.removeprefix(home[:-1]):
                raise Final(errno.EINVAL, "it holds a folder without a name, as in 'a//b'; rename what lies there")
            name = full.rstrip("/").removeprefix(home)
            if not full.startswith(home) or full == home or (full.endswith("/") and about.get("type") != "directory"):
                continue
            is_folder = about.get("type") == "directory"
            size = about.get("size")
            found[name, is_folder] = RemoteEntry(
                name,
                is_folder,
                None if is_folder or size is None else int(size),
                "" if is_folder else version_of(about),
            )
        return list(found.values())

    def _is_nameless(self, about: Mapping[str, Any], home: str) -> bool:
        """True for the folder without a name in the first one."""
        return False


class _Prefixes(_Folders):
    """S3, which lists all files that begin alike."""

    def _is_nameless(self, about: Mapping[str, Any], home: str) -> bool:
        """See `_Folders._is_nameless`. The empty object that stands for the first folder itself is a file."""
        return about.get("type") == "directory" and str(about["name"]) == home

    async def below(self) -> list[RemoteEntry]:
        """See `_Listing.below`."""

        async def once() -> list[RemoteEntry]:
            self._files.invalidate_cache(self._path)
            found = await self._call("find", self._path, detail=True)
            return [each for each in self._named(list(found.values())) if not each.is_folder]

        return await tried(once, first_wait_s=self._wait_s)


class _Pages(_Listing):
    """A web server, whose pages of folders link to what lies in them."""

    def __init__(self, files: Any, path: str, first_wait_s: float) -> None:
        place, self._mark, self._query = path.partition("?")
        super().__init__(files, place.rstrip("/") + "/", first_wait_s)
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT_S, sock_read=TIMEOUT_S)

    async def _entries(self, folder: str) -> list[RemoteEntry]:
        place = f"{self._path}{quote(folder)}/" if folder else self._path
        shown = f"{folder} in the folder" if folder else "the folder"
        async with await web_answer(self._files, f"{place}{self._mark}{self._query}", {}, self._timeout) as answer:
            if answer.status in _REFUSED:
                raise NoPage(errno.EIO, f"its web server has no page of {shown} ({answer.status})")
            if answer.status != HTTPStatus.OK:
                raise of_status(answer.status)
            if "html" not in answer.headers.get("Content-Type", ""):
                raise NoPage(errno.EIO, f"its web server has no page of {shown}")
            if "Content-Length" not in answer.headers and "chunked" not in answer.headers.get("Transfer-Encoding", ""):
                raise NoPage(errno.EIO, "its web server does not say how long its page of the folder is")
            links = _Links()
            links.feed((await _page(answer)).decode(answer.charset or "utf-8", "replace"))
        found = {}
        for link in links.found:
            raw = _within(place, urljoin(place, link))
            if raw:
                own = unquote(raw.rstrip("/"))
                if own in (".", "..") or {"/", "\\", "\0"} & set(own):
                    raise Final(errno.EINVAL, f"its page lists {own!r:.80}, which no file can be called; rename it")
                below = f"{folder}/{own}" if folder else own
                found[below] = RemoteEntry(below, is_folder=raw.endswith("/"))
        if not found and not links.title.lower().startswith(_TITLES):  # of an empty folder
            raise NoPage(errno.EIO, "the web server's page of the folder links to none of its files")
        return list(found.values())


def _within(place: str, target: str) -> str:
    """The last part of a link's target, as it is written, with its slash; "" unless it lies in a folder.

    Servers quote the same name in several ways, such as `(1)` and `%281%29`, and may be called by another scheme
    behind a proxy.
    """
    here, there = urlsplit(place), urlsplit(target)
    *folders, own = there.path.rstrip("/").split("/")
    is_inside = [unquote(name) for name in folders] == [unquote(name) for name in here.path.rstrip("/").split("/")]
    if not own or not is_inside or there.hostname != here.hostname:
        return ""
    return own + "/" if there.path.endswith("/") else own


async def _page(answer: Any) -> bytes:
    page = bytearray()
    async for chunk in answer.content.iter_chunked(1 << 16):
        page += chunk
        if len(page) > _LARGEST_PAGE:
            raise Final(errno.EFBIG, "its page of the folder does not end; name each slide")
    return bytes(page)


class _Links(HTMLParser):
    """Collects where the links of a page lead, but for those that sort it."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.title = ""
        self._is_title = False

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        """Called for each tag."""
        self._is_title = tag == "title"
        target = dict(attrs).get("href") or ""
        if tag == "a" and "?" not in target and "#" not in target:
            self.found.append(target)

    def handle_endtag(self, tag: str) -> None:
        """Called at the end of each tag."""
        self._is_title = False

    def handle_data(self, data: str) -> None:
        """Called with text."""
        if self._is_title:
            self.title += data.strip()
