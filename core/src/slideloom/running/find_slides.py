"""Finds the slides of a pipeline: files, folders and patterns in, paths out."""

from __future__ import annotations

import glob
import logging
import os
from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath

from slideloom.base.addresses import Address, SlidePlace, is_address, place_of
from slideloom.base.errors import ConfigError, PluginError, SlideError
from slideloom.base.naming import option_given
from slideloom.pipeline.pipeline import Pipeline, Slides
from slideloom.plugins.blaming import blaming
from slideloom.plugins.discovery import registry
from slideloom.slides.dicom_files import read_dicom, stands_for_series
from slideloom.slides.formats_apart import is_zarr
from slideloom.slides.slide_files import files_of

log = logging.getLogger(__name__)

# Only these are looked for in folders; a file that is named directly is always tried.
_EXTENSIONS = "svs tif tiff btf tf2 tf8 qptiff ndpi vms vmu scn mrxs svslide bif dcm czi vsi isyntax ozx jpg jpeg png"
SLIDE_EXTENSIONS = frozenset(f".{extension}" for extension in _EXTENSIONS.split())

_DICOM_EXTENSIONS = frozenset(("", ".dcm", ".dicom", ".ima"))
_SCANNERS = SLIDE_EXTENSIONS - {".jpg", ".jpeg", ".png"}  # pictures in a subfolder are as likely tiles
_DEEPEST = 4  # folders below folders: those of a patient, a study and a series, and one more
_REPORT = "extraction_report.json"  # of a run, in its output folder
_TOLD = 6  # kinds or folders, in a warning
_LISTS = (".vms", ".vmu")  # of the files that a slide is made of


def find_slides(
    include: Sequence[str | SlidePlace],
    exclude: Sequence[str] = (),
    *,
    base: Path | None = None,
    recursive: bool = False,
) -> list[SlidePlace]:
    """The slides in the given files, folders and patterns, sorted within each entry and without duplicates.

    The files of one DICOM series are one slide, and stand for it whichever of them is named. Files that a VMS slide is
    made of are none. An address of a folder, or with a pattern, stands for what its store lists.

    Args:
        include: files, folders, patterns and addresses.
        exclude: patterns to leave out.
        base: the folder that relative paths start from; by default the current one.
        recursive: also look into the folders of folders, but for hidden ones and output folders of runs.

    Raises:
        ConfigError: an entry matches nothing, or cannot be listed.
        PluginError: an address is to be listed, and no installed plugin reads addresses.
    """
    found: dict[SlidePlace, None] = {}
    for given in include:
        if isinstance(place := place_of(given), Address):
            found.update(dict.fromkeys(_at(place)))
            continue
        entry = str(place if is_address(given) else given)
        path = _resolved(entry, base)
        if path.is_dir() and not _is_slide_folder(path):
            matches = _below(path) if recursive else _in_folder(path)
        elif glob.has_magic(entry) and not path.exists():
            matches = sorted(Path(name) for name in glob.glob(str(path), recursive=True))  # noqa: PTH207 - `**` and roots
        else:
            matches = [path]
        if not matches:
            raise ConfigError(f"slides: '{entry}' matches no file{' in ' + str(base) if base else ''}")
        found.update(dict.fromkeys(stands_for_series(match) or match for match in matches))
    local = [path for path in found if isinstance(path, Path)]
    parts: set[SlidePlace] = {part for path in local if path.suffix.lower() in _LISTS for part in files_of(path)[1:]}
    slides = [path for path in found if path not in parts]
    return [path for path in slides if not any(_matches(path, pattern, base) for pattern in exclude)]


def _at(address: Address) -> list[Address]:
    """The slides at an address: itself, unless it is a folder or a pattern."""
    if not (address.is_folder or address.is_pattern):
        if not address.name:
            raise ConfigError(f"slides: {address} names no file; end the address of a folder with a slash")
        return [address]
    listed = registry().remote_files(address).list(address)
    wanted = [item for item in listed if address.is_pattern or item.suffix.lower() in SLIDE_EXTENSIONS]
    if not wanted:
        there = f"{len(listed)} files are there, none with a known extension"
        raise ConfigError(f"slides: {address} holds no slide ({there})")
    return wanted


def _in_folder(folder: Path) -> list[Path]:
    """The slides in a folder: files of known extensions, folders that a reader opens, and DICOM files.

    The files of a DICOM slide often lie in a folder of their own, so that of a study, or of a patient, holds folders.
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
        inner = [place / name for name in sorted(folders) if not name.startswith(".")]
        slides = [item for item in inner if _is_slide_folder(item)]
        folders[:] = [item.name for item in inner if item not in slides and not _is_mirax_data(item)]
        for item in (place / name for name in sorted(files) if not name.startswith(".")):
            taken = _slides_of(item)
            slides += taken
            others += [] if taken else [item]
        found += slides
    _tell_others(folder, others)
    return list(dict.fromkeys(found))


def _slides_of(item: Path) -> list[Path]:
    """The slides that an item of a folder stands for."""
    if item.is_dir():
        if _is_slide_folder(item):
            return [item]
        return [] if _is_mirax_data(item) else _dicom_below(item)
    if is_zarr(item):
        return [item]
    if _may_be_dicom(item) and read_dicom(item) is not None:
        slide = stands_for_series(item)
        return [] if slide is None else [slide]
    return [item] if item.suffix.lower() in SLIDE_EXTENSIONS else []


def _tell_others(folder: Path, others: Sequence[Path]) -> None:
    """Say what is left out of a folder: files by kind, and subfolders that hold slides."""
    kinds = Counter(item.suffix.lower() or "without extension" for item in others if item.is_file())
    if kinds:
        listed = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_TOLD))
        more = "" if len(kinds) <= _TOLD else " and others"
        _tell_once(f"{folder}: {kinds.total()} files are left out: {listed}{more}")
    holding = [item for item in others if item.is_dir() and not _is_mirax_data(item) and _holds_slides(item)]
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
    try:
        return any((item.is_file() and item.suffix.lower() in _SCANNERS) or is_zarr(item) for item in folder.iterdir())
    except OSError:  # somebody else's
        return False


def _is_mirax_data(folder: Path) -> bool:
    return folder.with_name(f"{folder.name}.mrxs").exists()


def _dicom_below(folder: Path) -> list[Path]:
    """The DICOM slides in a folder and in those that it holds, but for output folders, which hold millions of files."""
    found: dict[Path, None] = {}
    for home, folders, files in os.walk(folder):
        place = Path(home)
        if _REPORT in files:
            folders.clear()
            continue
        if len(place.relative_to(folder).parts) == _DEEPEST:
            folders.clear()
        folders[:] = sorted(
            name
            for name in folders
            if not name.startswith(".") and f"{name}.mrxs" not in files and not is_zarr(place / name)
        )
        candidates = (place / name for name in sorted(files) if not name.startswith("."))
        slides = (stands_for_series(path) for path in candidates if _may_be_dicom(path))
        found.update(dict.fromkeys(slide for slide in slides if slide is not None))
    return list(found)


def _may_be_dicom(path: Path) -> bool:
    """True if DICOM files have such names: an extension of theirs, none, or a UID."""
    return path.suffix.lower() in _DICOM_EXTENSIONS or path.suffix[1:].isdecimal()


def _resolved(entry: str, base: Path | None) -> Path:
    path = Path(entry).expanduser()
    return path if base is None or path.is_absolute() else base / path


def _matches(path: SlidePlace, pattern: str, base: Path | None) -> bool:
    if isinstance(path, Address):
        plain = path.url.partition("?")[0]
        return PurePosixPath(path.name).match(pattern) or fnmatchcase(plain, pattern)
    return path.match(pattern) or path.match(str(_resolved(pattern, base)))


def _is_slide_folder(path: Path) -> bool:
    """True for a folder that a reader opens as one slide, or would, if it were installed."""
    if is_zarr(path):
        return True
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


def require_slides(slides: Sequence[SlidePlace]) -> None:
    """Raise `SlideError` if there is nothing to do."""
    if not slides:
        raise SlideError("no slides given; name files, a folder or a pattern")


def slides_of(pipeline: Pipeline, base: Path | None) -> list[SlidePlace]:
    """The slides of a pipeline."""
    rules: Slides = pipeline.slides
    return find_slides(rules.include, rules.exclude, base=base, recursive=rules.recursive)
