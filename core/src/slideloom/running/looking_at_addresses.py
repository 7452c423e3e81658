"""Looks for slides at addresses: files, folders and patterns, as on a disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile
from urllib.parse import unquote

from slideloom.base.addresses import Address
from slideloom.base.errors import ConfigError, PluginError, SlideError, Unlisted
from slideloom.planning.remote_copies import remote_tree
from slideloom.plugins.discovery import registry
from slideloom.running.looking_in_folders import is_slide_folder, slides_below, slides_in, tell_once
from slideloom.slides.remote_path import RemotePath, without_dots
from slideloom.slides.remote_tree import RemoteTree, in_parallel


class RemoteSearch:
    """A search for slides, in which no folder is listed and no file looked into twice."""

    def __init__(self) -> None:
        self._known: RemoteTree | None = None

    def slides_at(self, given: Sequence[Address], *, recursive: bool) -> dict[Address, Sequence[Address]]:
        """The slides that each address stands for: itself, unless it is a folder, a pattern, or part of another slide.

        Nothing is asked for a file whose name says that it is a slide of its own, unless others of its folder are
        given, too: it may be called otherwise than what it is, and they may be one series. Nor is anything asked for a
        folder that is called as a slide.

        Raises:
            ConfigError: one holds none, or cannot be looked at.
            PluginError: no installed plugin reads addresses.
        """
        places = [(address, self._first_known(address)) for address in dict.fromkeys(given)]
        shared = _Shared([address for _, address in places])

        def slides(place: tuple[Address, Address]) -> Sequence[Address]:
            return self._slides_at(place[1], is_shared=place[1] in shared, recursive=recursive)

        single = [place for place in places if _is_single(place[1])]
        found = dict(zip(single, in_parallel(slides, single), strict=True))
        return {place[0]: found[place] if place in found else slides(place) for place in places}

    def _first_known(self, address: Address) -> Address:
        """An address as it was first given, however it is quoted."""
        tree = None if address.is_pattern or address.is_folder else self._tree(address)
        return address if tree is None else RemotePath(address, tree).address

    def _slides_at(self, address: Address, *, is_shared: bool, recursive: bool) -> Sequence[Address]:
        formats = registry().formats
        if not address.is_pattern:
            if formats.folder_of(address) is not None:
                return [self._first_known(address.without_slash())]
            if address.is_folder and not address.is_web and address.url.endswith("//"):
                raise ConfigError(
                    f"slides: {address} ends with two slashes, which in a bucket is another folder; give one"
                )
            if not address.name and not address.is_folder:
                raise ConfigError(f"slides: {address} names no file; end the address of a folder with a slash")
            if not address.is_folder and formats.is_plain(address.name) and not is_shared:
                return [address]
        try:
            return self._looked_at(address, recursive=recursive)
        except SlideError as error:
            raise ConfigError(f"slides: {error}") from error

    def parts_like_slides(self, found: Sequence[Address]) -> set[Address]:
        """The files at addresses that belong to others of them.

        Raises:
            ConfigError: one of them cannot be read.
        """
        if len(found) < 2 or (tree := self._tree(found[0])) is None:
            return set()
        formats = registry().formats

        def parts(address: Address) -> Sequence[RemotePath]:
            try:
                return formats.parts_like_slides(RemotePath(address, tree))
            except FileNotFoundError:  # opening it says so
                return ()

        try:
            return {part.address for address in found for part in parts(address)}
        except SlideError as error:
            raise ConfigError(f"slides: {error}") from error

    def _tree(self, address: Address) -> RemoteTree | None:
        if self._known is None:
            try:
                self._known = remote_tree(registry().remote_files(address), is_search=True)
            except PluginError:  # so opening it fails, which the report tells
                return None
        return self._known

    def _looked_at(self, address: Address, *, recursive: bool) -> Sequence[Address]:
        formats, tree = registry().formats, self._tree(address)
        if address.is_pattern and not _is_there(address, tree):
            listed = registry().remote_files(address).list(address)
            if tree is None:
                return listed
            return _told_by_content([RemotePath(item, tree, is_folder=_is_folder(item)) for item in listed])
        if tree is None:
            return [address] if not address.is_folder else registry().remote_files(address).list(address)
        is_file = (address.is_pattern and not address.is_folder) or formats.has_slide_name(address.name)
        path = RemotePath(address, tree, is_folder=False if is_file else None)
        if path.is_dir() and not is_slide_folder(path):
            return _in_folder(path, address, recursive=recursive)
        return _told_by_content([path])


def _is_there(address: Address, tree: RemoteTree | None) -> bool:
    """True if a file or folder is called as a pattern is written: it is meant then, as on a disk."""
    if tree is None:
        return False
    try:
        if address.is_folder:
            return RemotePath(address.without_slash(), tree).is_dir()
        return RemotePath(address, tree, is_folder=False).state() is not None
    except SlideError:  # listing what matches says why, if it fails, too
        return False


def _is_folder(found: Address) -> bool:
    """True for what a pattern found that is no file."""
    return registry().formats.folder_of(found) is not None


class _Shared:
    """Which addresses lie in a folder of which others are given, or that is given itself.

    Folders are compared loosely, as an address may be written in several ways: one look too many does no harm.
    """

    def __init__(self, given: Sequence[Address]) -> None:
        single = {_loosely(address) for address in given if _is_single(address)}
        self._homes = Counter(place.rpartition("/")[0] for place in single)
        self._given = {_loosely(address) for address in given}  # a folder may be written without its slash

    def __contains__(self, address: Address) -> bool:
        if not _is_single(address):
            return False
        *folders, _ = _loosely(address).split("/")
        above = {"/".join(folders[:count]) for count in range(len(folders) + 1)}
        return self._homes["/".join(folders)] > 1 or not above.isdisjoint(self._given)


def _is_single(address: Address) -> bool:
    """True for the address of a file, or of a folder that is written as one."""
    return not address.is_pattern and not address.is_folder


def _loosely(address: Address) -> str:
    """The path of an address, of a pattern that before its first sign, whatever its scheme, case and quoting."""
    path = unquote(address.url).partition("://")[2].casefold()
    if address.is_web:
        path = path.partition("?")[0]
    parts = [part for part in without_dots(path).split("/") if part]
    return "/".join(takewhile(lambda part: not set(part) & set("*["), parts) if address.is_pattern else parts)


def _told_by_content(found: Sequence[RemotePath]) -> Sequence[Address]:
    """The slides that files stand for, as their content tells: one that is called otherwise may be of a series, too."""
    formats = registry().formats

    def told(path: RemotePath) -> Sequence[Address]:
        if formats.folder_of(path.address) is not None:
            return [path.address]
        try:
            slides = formats.slides_of(path, is_named=True)
        except Unlisted:  # opening it says so
            return [path.address]
        except SlideError as error:
            if not formats.is_plain(path.name):
                raise
            tell_once(f"{error}; it is taken for a slide of its own")  # if it stays so, opening it fails
            return [path.address]
        return [slide.address for slide in slides] if slides else [path.address]

    return list(dict.fromkeys(slide for slides in in_parallel(told, found) for slide in slides))


def _in_folder(folder: RemotePath, address: Address, *, recursive: bool) -> Sequence[Address]:
    try:
        found = slides_below(folder) if recursive else slides_in(folder)
        count = sum(1 for _ in folder.iterdir())
    except FileNotFoundError:
        raise ConfigError(f"slides: {address} cannot be listed: there is no such folder; correct the address") from None
    except Unlisted as error:
        raise ConfigError(f"slides: {error}; or name each slide") from None
    if not count:
        raise ConfigError(f"slides: {address} matches no file")
    if not found:
        there = f"{count} files and folders are there, none of them known as one"
        raise ConfigError(f"slides: {address} holds no slide ({there})")
    return _told_by_content(found)
