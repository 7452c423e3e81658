"""Finds the slides of a pipeline: files, folders and patterns in, slides with their names out."""

from __future__ import annotations

import glob
import os
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path, PurePosixPath

from slideloom.base.addresses import Address, SlidePlace, is_address, place_of, redacted
from slideloom.base.errors import ConfigError, SlideError
from slideloom.base.naming import option_name
from slideloom.pipeline.pipeline import Pipeline, Slides
from slideloom.plugins.discovery import registry
from slideloom.running.looking_at_addresses import RemoteSearch
from slideloom.running.looking_in_folders import TOLD, is_slide_folder, slides_below, slides_in, tell_once
from slideloom.running.same_slides import FileStates, copies_among, same_slides
from slideloom.slides.info import slide_name
from slideloom.slides.names import NamedSlide, name_below, with_shared_names


def find_slides(
    include: Sequence[str | SlidePlace],
    exclude: Sequence[str] = (),
    *,
    base: Path | None = None,
    recursive: bool = False,
) -> list[SlidePlace]:
    """The places of `named_slides`, for those to whom slides in folders are called by their files alone."""
    return [slide.place for slide in named_slides(include, exclude, base=base, recursive=recursive)]


def named_slides(
    include: Sequence[str | SlidePlace],
    exclude: Sequence[str] = (),
    *,
    base: Path | None = None,
    recursive: bool = False,
) -> list[NamedSlide]:
    """The slides in the given files, folders and patterns, sorted within each entry and without duplicates.

    A slide is called by its file. With `recursive`, the name of one that is found in a folder also tells the folders
    between the one that is given and its own, as in "lab1/case7/slide". A slide that two entries lead to keeps the name
    by the first.

    The installed formats tell which files are one slide (`Format.slides_of`), whichever of them is named. An address of
    a folder, or with a pattern, stands for what its store lists.

    Args:
        include: files, folders, patterns and addresses.
        exclude: patterns to leave out.
        base: the folder that relative paths start from; by default the current one.
        recursive: also look into the folders of folders, local or not, but for hidden ones and output folders of runs.

    Raises:
        ConfigError: an entry matches nothing, or cannot be listed.
        PluginError: an address is to be listed, and no installed plugin reads addresses.
    """
    formats, far = registry().formats, RemoteSearch()
    places = [place_of(given) for given in include]
    at_addresses = far.slides_at([place for place in places if isinstance(place, Address)], recursive=recursive)
    found: dict[SlidePlace, str] = {}
    for given, place in zip(include, places, strict=True):
        if isinstance(place, Address):
            is_below = recursive and not place.is_pattern
            _add(found, at_addresses[place], below=place if is_below else None)
            continue
        entry = str(place if is_address(given) else given)
        path = _resolved(entry, base)
        is_home = path.is_dir() and not is_slide_folder(path)
        matches = _in_folder(path, entry, recursive=recursive) if is_home else _named_by(path, entry, base)
        below = path if is_home and recursive else None
        named = [slide for match in matches for slide in formats.slides_of(match, is_named=True) or [match]]
        _add(found, named, below=below)
    local = [path for path in found if isinstance(path, Path)]
    parts: set[SlidePlace] = {part for path in local for part in formats.parts_like_slides(path)}
    parts |= far.parts_like_slides([place for place in found if isinstance(place, Address)])
    states = FileStates()
    slides = [NamedSlide(path, name) for path, name in found.items() if path not in parts]
    if any("/" in slide.name for slide in slides):
        # Also of slides that are left out: what is meant for one of them must not be taken for another's.
        slides = with_shared_names(slides, among=list(dict.fromkeys(same_slides(slides, states).values())))
    wanted = without(slides, exclude, base=base)
    left: list[NamedSlide] = []
    for slide, same in same_slides(wanted, states).items():
        if same is slide:
            left.append(slide)
        else:
            tell_once(f"{slide.place}: is the same file as {same.place}, so it is left out")
    if copies := copies_among(left, states):
        tell_once(f"{_in_words(copies)}; {option_name('slides', 'exclude')} leaves a slide out")
    return left


def _in_words(copies: Mapping[Path, Path]) -> str:
    told = ", ".join(f"{copy} of {original}" for copy, original in islice(copies.items(), TOLD))
    more = "" if len(copies) <= TOLD else f" and {len(copies) - TOLD} more"
    if len(copies) == 1:
        return f"a slide seems to be a copy of another, and is taken all the same: {told}"
    return f"{len(copies)} slides seem to be copies of others, and are taken all the same: {told}{more}"


def without(slides: Sequence[NamedSlide], exclude: Sequence[str], *, base: Path | None = None) -> list[NamedSlide]:
    """The slides that match none of the patterns. One that is a slide's name or path stands for that slide alone."""
    out: set[NamedSlide] = set()
    for pattern in exclude:
        meant = [slide for slide in slides if _is_called(slide.place, pattern, base)]
        meant = meant or [slide for slide in slides if _matches(slide.place, pattern, base)]
        if slides and not meant:
            tell_once(
                f"{option_name('slides', 'exclude')}: '{redacted(pattern)}' matches no slide, so it leaves none out; "
                "check how it is written"
            )
        out.update(meant)
    return [slide for slide in slides if slide not in out]


def _add(found: dict[SlidePlace, str], places: Sequence[SlidePlace], *, below: SlidePlace | None) -> None:
    for place in places:
        found.setdefault(place, slide_name(place) if below is None else name_below(place, below))


def _resolved(entry: str, base: Path | None) -> Path:
    path = Path(entry).expanduser()
    return path if base is None or path.is_absolute() else base / path


def _in_folder(folder: Path, entry: str, *, recursive: bool) -> list[Path]:
    found = slides_below(folder) if recursive else slides_in(folder)
    if not found:
        raise ConfigError(f"slides: the folder '{entry}' holds no slide; give a folder or files that are slides")
    return found


def _named_by(path: Path, entry: str, base: Path | None) -> list[Path]:
    """The file of this name, or what a pattern finds."""
    if not glob.has_magic(entry) or path.exists():
        return [path]
    found = sorted(Path(name) for name in glob.glob(_as_meant(path), recursive=True))  # noqa: PTH207 - `**` and roots
    if not found:
        raise ConfigError(f"slides: '{entry}' matches no file{' in ' + str(base) if base else ''}; correct the pattern")
    return found


def _as_meant(pattern: Path) -> str:
    """A pattern, with the folders that are there as they are written, such as `run[1]`, taken as they are written."""
    home = next(folder for folder in pattern.parents if folder.is_dir() or folder == folder.parent)
    return str(Path(glob.escape(str(home))) / pattern.relative_to(home))


def _is_called(place: SlidePlace, text: str, base: Path | None) -> bool:
    """True if a text is the name or the path of a slide's file, also one that has the signs of patterns."""
    if isinstance(place, Address):
        return text in (place.name, place.url)
    return place.name == text or _absolute(place) == _absolute(_resolved(text, base))


def _matches(place: SlidePlace, pattern: str, base: Path | None) -> bool:
    if isinstance(place, Address):
        plain = place.url.partition("?")[0] if place.is_web else place.url
        return PurePosixPath(place.name).match(pattern) or fnmatchcase(plain, pattern)
    whole = Path(_absolute(_resolved(pattern, base)))
    return place.match(pattern) or Path(_absolute(place)).match(_as_meant(whole))


def _absolute(path: Path) -> str:
    """The whole path, without `..`; links are left as they are."""
    return os.path.abspath(path)  # noqa: PTH100 - `Path.absolute` keeps `..`


def require_slides(slides: Sequence[SlidePlace | NamedSlide]) -> None:
    """Raise `SlideError` if there is nothing to do."""
    if not slides:
        raise SlideError("no slides given; name files, a folder or a pattern")


def slides_of(pipeline: Pipeline, base: Path | None) -> list[NamedSlide]:
    """The slides of a pipeline."""
    rules: Slides = pipeline.slides
    return named_slides(rules.include, rules.exclude, base=base, recursive=rules.recursive)
