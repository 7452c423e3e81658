"""Finds the slides of a pipeline: files, folders and patterns in, slides with their names out."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePosixPath

from slideloom.base.addresses import Address, SlidePlace, is_address, place_of, redacted
from slideloom.base.errors import ConfigError, PluginError, SlideError
from slideloom.base.naming import option_given, option_name
from slideloom.pipeline.pipeline import Pipeline, Slides
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import registry
from slideloom.running.same_slides import copies_among, same_slides
from slideloom.slides.info import slide_name
from slideloom.slides.names import NamedSlide, name_below, with_shared_names

log = logging.getLogger(__name__)

_DEEPEST = 4  # folders below folders: those of a patient, a study and a series, and one more
_REPORT = "extraction_report.json"  # of a run, in its output folder
_TOLD = 6  # kinds, folders or copies, in a warning


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
    formats = registry().formats
    found: dict[SlidePlace, str] = {}
    for given in include:
        if isinstance(place := place_of(given), Address):
            _add(found, _at(place, recursive=recursive), below=place if recursive and place.is_folder else None)
            continue
        entry = str(place if is_address(given) else given)
        path, below = _resolved(entry, base), None
        if path.is_dir() and not _is_slide_folder(path):
            matches = _below(path) if recursive else _in_folder(path)
            below = path if recursive else None
        elif glob.has_magic(entry) and not path.exists():
            matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - `**` and roots
        else:
            matches = [path]
        if not matches:
            raise ConfigError(f"slides: '{entry}' matches no file{' in ' + str(base) if base else ''}")
        named = [slide for match in matches for slide in formats.slides_of(match, is_named=True) or [match]]
        _add(found, named, below=below)
    local = [path for path in found if isinstance(path, Path)]
    parts: set[SlidePlace] = {part for path in local for part in formats.parts_like_slides(path)}
    slides = [NamedSlide(path, name) for path, name in found.items() if path not in parts]
    if any("/" in slide.name for slide in slides):
        # Also of slides that are left out: what is meant for one of them must not be taken for another's.
        slides = with_shared_names(slides, among=list(dict.fromkeys(same_slides(slides).values())))
    wanted = without(slides, exclude, base=base)
    left: list[NamedSlide] = []
    for slide, same in same_slides(wanted).items():
        if same is slide:
            left.append(slide)
        else:
            _tell_once(f"{slide.place}: is the same file as {same.place}, so it is left out")
    if copies := copies_among(left):
        _tell_once(f"{_in_words(copies)}; {option_name('slides', 'exclude')} leaves a slide out")
    return left


def _in_words(copies: Mapping[Path, Path]) -> str:
    told = ", ".join(f"{copy} of {original}" for copy, original in islice(copies.items(), _TOLD))
    more = "" if len(copies) <= _TOLD else f" and {len(copies) - _TOLD} more"
    if len(copies) == 1:
        return f"a slide seems to be a copy of another, and is taken all the same: {told}"
    return f"{len(copies)} slides seem to be copies of others, and are taken all the same: {told}{more}"


def without(slides: Sequence[NamedSlide], exclude: Sequence[str], *, base: Path | None = None) -> list[NamedSlide]:
    """The slides that match none of the patterns."""
    return [slide for slide in slides if not any(_matches(slide.place, pattern, base) for pattern in exclude)]


def _add(found: dict[SlidePlace, str], places: Sequence[SlidePlace], *, below: SlidePlace | None) -> None:
    for place in places:
        found.setdefault(place, slide_name(place) if below is None else name_below(place, below))


def _at(address: Address, *, recursive: bool) -> list[Address]:
    """The slides at an address: itself, unless it is a folder or a pattern. A folder named as a slide is one."""
    if address.is_folder and not address.is_pattern and registry().formats.folder_of(address) is not None:
        return [address.without_slash()]
    if not (address.is_folder or address.is_pattern):
        if not address.name:
            raise ConfigError(f"slides: {address} names no file; end the address of a folder with a slash")
        return [address]
    listed = registry().remote_files(address).list(_all_below(address) if recursive else address)
    if recursive and address.is_folder:
        listed = _without_outputs(address, listed)
    formats = registry().formats
    wanted = [
        item
        for item in listed
        if address.is_pattern
        or formats.has_slide_name(item.name)
        or formats.folder_of(item) is not None
        or item == address.without_slash()  # it is a slide itself
    ]
    if not wanted:
        there = f"{len(listed)} files are there, none with a known extension"
        raise ConfigError(f"slides: {address} holds no slide ({there})")
    return wanted


def _all_below(address: Address) -> Address:
    """A pattern for all files in a folder and in those below it; any other address as it is."""
    return Address(f"{address.url}**") if address.is_folder and not address.is_pattern else address


def _without_outputs(folder: Address, listed: Sequence[Address]) -> list[Address]:
    """The files that are in no hidden folder, and in no output folder of a run."""
    outputs = [item.url.removesuffix(_REPORT) for item in listed if item.name == _REPORT]
    for output in outputs:
        _tell_once(f"{redacted(output)}: is the output folder of a run, so nothing in it is taken for a slide")
    return [
        item
        for item in listed
        if not item.url.startswith(tuple(outputs)) and "/." not in item.url.removeprefix(folder.url.rstrip("/"))
    ]


def _in_folder(folder: Path) -> list[Path]:
    """The slides in a folder: files and folders that a format knows or a reader opens, and series in folders below.

    The files of a series often lie in a folder of their own, so that of a study, or of a patient, holds folders.
    """
    # Hidden files are not slides: macOS makes a `._a.svs` beside each `a.svs` that it copies.
    items = sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    found: list[Path] = []
    others: list[Path] = []
    for item in items:
        slides = _slides_of(item)
        found += slides
        if not slides:
            others.append(item)
    _tell_others(folder, others)
    return list(dict.fromkeys(found))


def _below(folder: Path) -> list[Path]:
    """The slides in a folder and in the folders below it."""
    found: list[Path] = []
    others: list[Path] = []
    for home, folders, files in os.walk(folder):
        place = Path(home)
        if _REPORT in files:
            _tell_once(f"{place}: is the output folder of a run, so nothing in it is taken for a slide")
            folders.clear()
            continue
        inner = {name: _as_one(place / name) for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for name, taken in inner.items() if taken is None]
        slides = [slide for taken in inner.values() for slide in taken or ()]
        for item in (place / name for name in sorted(files) if not name.startswith(".")):
            found_there = _slides_of(item)
            slides += found_there
            others += [] if found_there else [item]
        found += slides
    _tell_others(folder, others)
    return list(dict.fromkeys(found))


def _slides_of(item: Path) -> Sequence[Path]:
    """The slides that an item of a folder stands for."""
    found = _as_one(item)
    if found is not None:
        return found
    return _series_below(item) if item.is_dir() else ()


def _as_one(item: Path) -> Sequence[Path] | None:
    """The slides that a file stands for, or a folder that is not looked into; None if no format or reader knows it."""
    found = registry().formats.slides_of(item, is_named=False)
    return [item] if found is None and item.is_dir() and _is_opened_as_folder(item) else found


def _tell_others(folder: Path, others: Sequence[Path]) -> None:
    """Say what is left out of a folder: files by kind, and subfolders that hold slides."""
    kinds = Counter(item.suffix.lower() or "without extension" for item in others if item.is_file())
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_TOLD))
        more = "" if len(kinds) <= _TOLD else " and others"
        _tell_once(f"{folder}: {kinds.total()} files are left out: {listed}{more}")
    holding = [item for item in others if item.is_dir() and _holds_slides(item)]
    if holding:
        names = ", ".join(item.name for item in holding[:_TOLD]) + ("" if len(holding) <= _TOLD else ", ...")
        _tell_once(
            f"{folder}: slides in its subfolders are left out ({names}); give "
            f"{option_given('slides', 'recursive', True)}, or name these folders"
        )


@lru_cache
def _tell_once(words: str) -> None:
    """A warning that is given once per process: a project looks for its slides again and again."""
    log.warning("%s", words)


def _holds_slides(folder: Path) -> bool:
    """True if slides lie in a folder, as far as names tell; one that is part of a slide holds none."""
    formats = registry().formats
    if formats.slides_of(folder, is_named=False) is not None:
        return False
    try:
        return any(
            bool(formats.slides_of(item, is_named=False))
            if item.is_dir()
            else item.is_file() and formats.has_slide_name(item.name, pictures=False)
            for item in folder.iterdir()
        )
    except OSError:  # somebody else's
        return False


def _series_below(folder: Path) -> list[Path]:
    """The slides in a folder, and in those that it holds, whose files lie in folders of their own.

    Output folders, which hold millions of files, are not looked into.
    """
    formats = registry().formats
    found: dict[Path, None] = {}
    for home, folders, files in os.walk(folder):
        place = Path(home)
        if _REPORT in files:
            folders.clear()
            continue
        if len(place.relative_to(folder).parts) == _DEEPEST:
            folders.clear()
        inner = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in inner if formats.slides_of(place / name, is_named=False) is None]
        candidates = (place / name for name in sorted(files) if not name.startswith("."))
        found.update(dict.fromkeys(slide for path in candidates for slide in formats.series_of(path)))
    return list(found)


def _resolved(entry: str, base: Path | None) -> Path:
    path = Path(entry).expanduser()
    return path if base is None or path.is_absolute() else base / path


def _matches(path: SlidePlace, pattern: str, base: Path | None) -> bool:
    if isinstance(path, Address):
        plain = path.url.partition("?")[0]
        return PurePosixPath(path.name).match(pattern) or fnmatchcase(plain, pattern)
    return path.match(pattern) or path.match(str(_resolved(pattern, base)))


def _is_slide_folder(path: Path) -> bool:
    """True for a folder that is one slide, as a format or a reader knows."""
    return registry().formats.slides_of(path, is_named=True) == [path] or _is_opened_as_folder(path)


def _is_opened_as_folder(path: Path) -> bool:
    """True for a folder that a reader opens as one slide."""
    for cls in registry().all("reader"):
        if cls.opens_folders:
            settings = cls()
            try:
                with blaming(settings, "reader", path.name):
                    if settings.build().recognises(path):
                        return True
            except PluginError as error:  # another reader may recognise the folder, or the slides in it
                log.warning("%s; other readers are asked", error)
    return False


def require_slides(slides: Sequence[SlidePlace | NamedSlide]) -> None:
    """Raise `SlideError` if there is nothing to do."""
    if not slides:
        raise SlideError("no slides given; name files, a folder or a pattern")


def slides_of(pipeline: Pipeline, base: Path | None) -> list[NamedSlide]:
    """The slides of a pipeline."""
    rules: Slides = pipeline.slides
    return named_slides(rules.include, rules.exclude, base=base, recursive=rules.recursive)
