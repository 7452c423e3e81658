"""Looks for slides in a folder, on a disk or at an address: files and folders that formats know or readers open."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from slideloom.base.errors import PluginError, Unlisted
from slideloom.base.naming import option_given
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import registry
from slideloom.slides.remote_path import RemotePath
from slideloom.slides.remote_tree import in_parallel

log = logging.getLogger(__name__)
PathT = TypeVar("PathT", Path, RemotePath)

_DEEPEST = 4  # folders below folders: those of a patient, a study and a series, and one more
_REPORT = "extraction_report.json"  # of a run, in its output folder
TOLD = 6
"""Kinds, folders or copies that a warning names."""


def slides_in(folder: PathT) -> list[PathT]:
    """The slides in a folder: files and folders that a format knows or a reader opens, and series in folders below.

    The files of a series often lie in a folder of their own, so that of a study, or of a patient, holds folders.
    """
    # Hidden files are not slides: macOS makes a `._a.svs` beside each `a.svs` that it copies.
    items: list[PathT] = sorted(item for item in folder.iterdir() if not item.name.startswith("."))
    found: list[PathT] = []
    others: list[PathT] = []
    for item, slides in zip(items, _slides_of_each(items), strict=True):
        found += slides
        if not slides:
            others.append(item)
    _tell_others(folder, others)
    return list(dict.fromkeys(found))


def slides_below(folder: PathT) -> list[PathT]:
    """The slides in a folder and in the folders below it."""
    found: list[PathT] = []
    others: list[PathT] = []
    if isinstance(folder, RemotePath):
        folder.tree.all_below(folder)  # in fewer requests than folder by folder
    for place, folders, files in _walk(folder):
        if _REPORT in files:
            tell_once(f"{place}: is the output folder of a run, so nothing in it is taken for a slide")
            folders.clear()
            continue
        inner = {name: _as_one(place / name) for name in sorted(folders) if not name.startswith(".")}
        folders[:] = [name for name, taken in inner.items() if taken is None]
        slides = [slide for taken in inner.values() for slide in taken or ()]
        items = [place / name for name in sorted(files) if not name.startswith(".")]
        for item, found_there in zip(items, _slides_of_each(items), strict=True):
            slides += found_there
            others += [] if found_there else [item]
        found += slides
    _tell_others(folder, others)
    return list(dict.fromkeys(found))


def _slides_of_each(items: Sequence[PathT]) -> Sequence[Sequence[PathT]]:
    """What each item stands for; of those at addresses, several are looked into at a time."""
    if items and isinstance(items[0], RemotePath):
        return in_parallel(_slides_of, items)
    return [_slides_of(item) for item in items]


def _slides_of(item: PathT) -> Sequence[PathT]:
    """The slides that an item of a folder stands for."""
    found = _as_one(item)
    if found is not None:
        return found
    return _series_below(item) if item.is_dir() else ()


def _as_one(item: PathT) -> Sequence[PathT] | None:
    """The slides that a file stands for, or a folder that is not looked into; None if no format or reader knows it."""
    found = registry().formats.slides_of(item, is_named=False)
    return [item] if found is None and item.is_dir() and _is_opened_as_folder(item) else found


def _kind(item: Path | RemotePath) -> str:
    """What a file is called when files that are left out are counted."""
    if not item.is_file():
        return "broken links or pipes"
    return item.suffix.lower() or "without extension"


def _tell_others(folder: PathT, others: Sequence[PathT]) -> None:
    """Say what is left out of a folder: files by kind, and subfolders that hold slides."""
    kinds = Counter(_kind(item) for item in others if not item.is_dir())
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(TOLD))
        more = "" if len(kinds) <= TOLD else " and others"
        tell_once(f"{folder}: {kinds.total()} files are left out: {listed}{more}")
    holding = [item for item in others if item.is_dir() and _holds_slides(item)]
    if holding:
        names = ", ".join(item.name for item in holding[:TOLD]) + ("" if len(holding) <= TOLD else ", ...")
        tell_once(
            f"{folder}: slides in its subfolders are left out ({names}); give "
            f"{option_given('slides', 'recursive', True)}, or name these folders"
        )


@lru_cache
def tell_once(words: str) -> None:
    """A warning that is given once per process: a project looks for its slides again and again."""
    log.warning("%s", words)


def _holds_slides(folder: PathT) -> bool:
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
    except (OSError, Unlisted):  # somebody else's
        return False


def _series_below(folder: PathT) -> list[PathT]:
    """The slides in a folder, and in those that it holds, whose files lie in folders of their own.

    Output folders, which hold millions of files, are not looked into.
    """
    formats = registry().formats
    found: dict[PathT, None] = {}
    for place, folders, files in _walk(folder):
        if _REPORT in files:
            folders.clear()
            continue
        depth = len(_below(place, folder))
        if depth == _DEEPEST:
            folders.clear()
        inner = sorted(name for name in folders if not name.startswith("."))
        folders[:] = [name for name in inner if formats.slides_of(place / name, is_named=False) is None]
        candidates = [place / name for name in sorted(files) if not name.startswith(".")]
        is_remote = isinstance(place, RemotePath)
        each = in_parallel(formats.series_of, candidates) if is_remote else map(formats.series_of, candidates)
        found.update(dict.fromkeys(slide for slides in each for slide in slides))
    return list(found)


def _walk(folder: PathT) -> Iterator[tuple[PathT, list[str], list[str]]]:
    """As `os.walk`, with folders as paths."""
    if isinstance(folder, RemotePath):
        yield from folder.walk()
    else:
        for home, folders, files in os.walk(folder):
            yield Path(home), folders, files


def _below(place: PathT, folder: PathT) -> Sequence[str]:
    """The folders on the way from one to another."""
    return () if place == folder else place.relative_to(folder).parts


def is_slide_folder(path: PathT) -> bool:
    """True for a folder that is one slide, or the part of one that stands for it, as a format or a reader knows."""
    return bool(registry().formats.slides_of(path, is_named=True)) or _is_opened_as_folder(path)


def _is_opened_as_folder(path: Path | RemotePath) -> bool:
    """True for a folder that a reader opens as one slide; of one at an address, formats alone tell."""
    if isinstance(path, RemotePath):
        return False
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
