"""What the installed formats know of a file, asked one after the other."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar, cast

from slideloom.base.addresses import Address
from slideloom.base.errors import PluginError, SlideloomError
from slideloom.base.system_errors import in_words
from slideloom.slides.remote_path import RemotePath
from slideloom.steps.format import Format

KnownT = TypeVar("KnownT")
PathT = TypeVar("PathT", Path, RemotePath)


class Formats:
    """The installed formats, in the order of their plugins.

    What the system says of a file is raised as it is; any other error of a format is a `PluginError` that names it.
    """

    def __init__(self, formats: Sequence[Format]) -> None:
        self._formats = tuple(formats)
        self._endings = tuple(ending for each in formats for ending in each.extensions)
        self._plain = tuple(ending for each in formats if not each.is_series for ending in each.extensions)
        self._of_slides = tuple(ending for each in formats if not each.is_picture for ending in each.extensions)

    def has_slide_name(self, name: str, *, pictures: bool = True) -> bool:
        """True if slides have such names; of any name if no format is installed that tells.

        Args:
            name: of a file.
            pictures: False to leave out what is as likely a tile.
        """
        return not self._endings or name.lower().endswith(self._endings if pictures else self._of_slides)

    def is_plain(self, name: str) -> bool:
        """True if a file of such a name is one slide, whatever is in it and beside it."""
        return not self._endings or name.lower().endswith(self._plain)

    def slides_of(self, path: PathT, *, is_named: bool) -> Sequence[PathT] | None:
        """See `Format.slides_of`. If no format is installed that tells, a file is a slide.

        At an address, formats that take none go by names.
        """
        ask = partial(_slides_of, path, is_named=is_named)
        found = _first(self._formats, path, ask)
        return [path] if found is None and not self._endings and not path.is_dir() else found

    def series_of(self, path: PathT) -> Sequence[PathT]:
        """The slides that a file in a folder stands for as part of a series; none if it is in no series."""
        asked = [each for each in _taking(self._formats, path) if each.is_series]
        found = _first(asked, path, partial(_slides_of, path, is_named=False)) or ()
        return [slide for slide in found if self.series(slide) is not None]

    def series(self, path: PathT) -> Format | None:
        """The format of which a file is one of a series; None if it is in no series."""
        asked = [each for each in _taking(self._formats, path) if each.is_series]
        return _first(asked, path, lambda each: each if each.recognises(_as_path(path)) else None)

    def parts(self, path: PathT) -> Sequence[PathT]:
        """See `Format.parts`. A file at an address whose name says that it is no series is not looked into."""
        is_plain = isinstance(path, RemotePath) and self.is_plain(path.name)
        return _parts([each for each in _taking(self._formats, path) if not (is_plain and each.is_series)], path)

    def parts_of_copy(self, path: Path, origin: RemotePath) -> Sequence[Path | RemotePath]:
        """Parts that are known only when the slide's first file was copied: there, or where it came from.

        That is of formats that take no addresses, and of a series whose files are called otherwise.
        """
        series = self.series(path) if self.is_plain(path.name) else None
        if series is not None and series.takes_addresses:
            return _parts([series], origin)
        return _parts([each for each in self._formats if not each.takes_addresses], path)

    def parts_like_slides(self, path: PathT) -> Sequence[PathT]:
        """Of `parts`, those that would be taken for slides of their own."""
        return _parts([each for each in _taking(self._formats, path) if each.parts_look_like_slides], path)

    def refusal(self, path: Path, *, readers_say_more: bool) -> str | None:
        """Why no reader takes a file, by the formats that leave the first word to readers, or by the others."""
        asked = [each for each in self._formats if each.readers_say_more == readers_say_more]
        return _first(asked, path, lambda each: _text(each.refusal(path)))

    def folder_of(self, address: Address) -> Format | None:
        """The format of the slide that a folder at an address is, or is part of, by their names; None for any other."""
        parts = address.url.partition("?")[0].lower().split("/")[2:]
        named = ((each, each.folder_extensions) for each in self._formats if each.folder_extensions)
        return next((each for each, endings in named if any(part.endswith(endings) for part in parts)), None)

    def advice(self, path: Path, readers: Collection[str]) -> str | None:
        """What a file is that no reader takes, and what would read it."""
        return _first(self._formats, path, lambda each: _text(each.advice(path, readers)))

    def to_install(self, path: Path, installed: Collection[str]) -> str | None:
        """How to get the reader of a file's format; None if it is installed, or the format is unknown.

        Args:
            path: of the file or folder.
            installed: names of the distributions that are.
        """
        asked = [each for each in self._formats if each.reader]
        kind = _first(asked, path, lambda each: each if each.recognises(path) else None)
        return None if kind is None else reader_to_install(kind, installed)


def reader_to_install(kind: Format, installed: Collection[str]) -> str | None:
    """How to get the reader of a format; None if it is among the installed distributions, or there is none."""
    if not kind.reader or kind.reader in installed:
        return None
    return f"a reader for it may be this one, for {kind.name}: pip install {kind.reader}"


def _as_path(path: Path | RemotePath) -> Path:
    """A path as formats declare that they take it; those that take no others are never given one at an address."""
    return cast("Path", path)


def _taking(formats: Sequence[Format], path: Path | RemotePath) -> list[Format]:
    """The formats that can be asked about a file."""
    return [each for each in formats if each.takes_addresses or isinstance(path, Path)]


def _slides_of(path: PathT, each: Format, *, is_named: bool) -> Sequence[PathT] | None:
    if isinstance(path, Path) or each.takes_addresses:
        return _paths(each.slides_of(_as_path(path), is_named=is_named), like=path)
    return [path] if path.name.lower().endswith(each.extensions) and not path.is_dir() else None


def _parts(formats: Sequence[Format], path: PathT) -> Sequence[PathT]:
    return _first(formats, path, lambda each: _paths(each.parts(_as_path(path)), like=path) or None) or ()


def _first(formats: Sequence[Format], path: Path | RemotePath, ask: Callable[[Format], KnownT | None]) -> KnownT | None:
    """The first answer that is not None."""
    for each in formats:
        try:
            answer = ask(each)
        except (SlideloomError, OSError, KeyboardInterrupt):
            raise
        except BaseException as error:  # also SystemExit: no format may end the process
            where = f"format '{each.name}' of {type(each).__module__}"
            raise PluginError(f"{where} failed on {path.name}: {in_words(error)}") from error
        if answer is not None:
            return answer
    return None


def _paths(answer: Sequence[Path] | None, *, like: PathT) -> Sequence[PathT] | None:
    """What a format says that it found, checked to be what its contract says."""
    kind = Path if isinstance(like, Path) else RemotePath
    if answer is None or (isinstance(answer, (list, tuple)) and all(isinstance(item, kind) for item in answer)):
        return cast("Sequence[PathT] | None", answer)
    raise TypeError(f"it returned {answer!r:.80}, and a list of {kind.__name__} is wanted")


def _text(answer: str | None) -> str | None:
    if answer is None or isinstance(answer, str):
        return answer
    raise TypeError(f"it returned {answer!r:.80}, and a text is wanted")


def checked_formats(formats: Sequence[Format]) -> Sequence[Format]:
    """The formats of a plugin, whose endings are such that files can be found by them.

    Raises:
        PluginError: one is not.
    """
    for each in formats:
        for name in ("extensions", "folder_extensions"):
            endings = getattr(each, name)
            if not isinstance(endings, tuple) or not all(map(_is_ending, endings)):
                raise PluginError(
                    f"format '{each.name}': {name} is {endings!r}, and a tuple of endings in lower case is wanted, "
                    'each with its dot, such as (".svs",)'
                )
    return formats


def _is_ending(text: object) -> bool:
    return isinstance(text, str) and text.startswith(".") and len(text) > 1 and text == text.lower()
