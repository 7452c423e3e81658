"""Slides whose pixels lie in other files than the one that is opened: MIRAX, Hamamatsu's VMS and VMU, Olympus' VSI."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TypeVar

from slideloom import RemotePath, Unlisted

MIRAX_INDEX = "Slidedat.ini"
"""What tells of the files in the folder of a MIRAX slide."""

_PathT = TypeVar("_PathT", Path, RemotePath)
_IMAGE = "ImageFile"  # how keys of images begin in a VMS file


def files_beside(path: _PathT) -> list[_PathT]:
    """The other files of a slide; none if it has none, or is of another format.

    MIRAX has a folder with the slide's name beside it, and Hamamatsu's VMS and VMU files name their images. At an
    address, images that are named and not there are among them.

    Raises:
        OSError: the file cannot be read.
    """
    kind = path.suffix.lower()
    if kind == ".mrxs":
        return _mirax_data_at(path) if isinstance(path, RemotePath) else _mirax_data(path)
    return _named_in(path) if kind in (".vms", ".vmu") else []


def _mirax_data(path: Path) -> list[Path]:
    """The files in the folder of a MIRAX slide."""
    folder = path.with_suffix("")
    return [file for file in sorted(folder.rglob("*")) if file.is_file()] if folder.is_dir() else []


def _mirax_data_at(path: RemotePath) -> list[RemotePath]:
    """The same at an address, with those that its Slidedat.ini names; where nobody lists the folder, these alone."""
    folder = path.with_suffix("")
    described = folder / MIRAX_INDEX
    try:
        listed = sorted(folder.rglob("*"))
        if described not in listed:
            return listed
    except FileNotFoundError:
        return []
    except Unlisted:
        listed = []
    named = [name for key in ("INDEXFILE", "FILE_") for name in _names_in(described, key)]
    beside = [folder / name for name in named if not name.isdecimal()]  # as FILE_COUNT is
    return list(dict.fromkeys([*listed, described, *beside]))


def missing_part(path: Path) -> str | None:
    """Why a file does not hold its slide's pixels, and what to do; None if it does, or nobody knows.

    A MIRAX file is a small picture of the slide, Hamamatsu's VMS and VMU are lists of files, and Olympus' VSI holds
    small pictures only, beside a folder of .ets files.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        return None
    if kind == ".mrxs":
        if not (path.with_suffix("") / MIRAX_INDEX).is_file():
            return (
                f"its data folder {path.stem} with Slidedat.ini is not beside it, and the file itself is only a small "
                "picture of the slide: copy the folder, too"
            )
    elif kind in (".vms", ".vmu"):
        gone = [name for name in _names_in(path, _IMAGE) if not path.with_name(name).is_file()]
        if gone:
            return f"{len(gone)} of the files that it names are not beside it, such as {gone[0]}: copy them, too"
    elif kind == ".vsi":
        data = path.with_name(f"_{path.stem}_")
        where = (
            f"in {data.name}, and no reader takes them" if data.is_dir() else f"in {data.name}, which is not beside it"
        )
        return (
            f"it holds small pictures only; a VSI slide's pixels are .ets files {where}: convert the slide to OME-TIFF "
            "where both are, as with: bfconvert"
        )
    return None


def _named_in(path: _PathT) -> list[_PathT]:
    """The files beside a text file of `key = file name` lines that these lines name."""
    names = [name for name in _names_in(path) if name != path.name]
    if isinstance(path, RemotePath):
        images = set(_names_in(path, _IMAGE))
        there = _beside_address(path, names)
        return [path.with_name(name) for name in names if name in images or name in there]
    return [path.with_name(name) for name in names if path.with_name(name).is_file()]


def _beside_address(path: RemotePath, names: Collection[str]) -> set[str]:
    """Which of these names are those of files beside one at an address."""
    try:
        return {item.name for item in path.parent.iterdir() if item.is_file()}.intersection(names)
    except Unlisted:  # each has to be asked for, so those are left out that are numbers, or words
        return {name for name in names if "." in name and path.with_name(name).is_file()}


def _names_in(path: Path | RemotePath, key: str = "") -> list[str]:
    """The plain file names in a text file of `key = file name` lines whose key begins like this."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and line.strip().startswith(key)]
    names = dict.fromkeys(value.strip() for _, _, value in pairs)
    return [name for name in names if name and not {"/", "\\", "\0"} & set(name)]
