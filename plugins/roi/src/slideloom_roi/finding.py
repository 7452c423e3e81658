"""Finds the file of a slide in a folder, and files that only look as if they were meant for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from unicodedata import normalize

from slideloom import RoiError, SlideInfo, own_name, slide_name

PACKED = ".gz"
# Suffixes of region files, whether or not they are read here.
_ENDINGS = (
    ".csv", ".tsv", ".txt", ".geojson", ".json", ".ndpa", ".xml", ".annotations", ".zip", ".kml", ".qpdata",
)  # fmt: skip
_LEAST_LETTERS = 3  # a shorter name is a prefix of too many others
_NAMED_AT_MOST = 3


def places_of(info: SlideInfo) -> dict[str, tuple[str, ...]]:
    """Where a slide's files may be, the most exact first: folder below that of regions, names without endings.

    The files of a slide in folders are in folders of the same names, or in none, if no other slide has its name there.

    Raises:
        RoiError: the slide's name is not a file name.
    """
    found: dict[str, tuple[str, ...]] = {}
    for name in info.names:
        folder, _, own = name.rpartition("/")
        if Path(own).name != own or not own:
            raise RoiError(f"{info.name!r} is not a file name; rename the slide")
        found[folder] = (*found.get(folder, ()), _normal(own))
    return {folder: tuple(dict.fromkeys(stems)) for folder, stems in found.items()}


def files_of(paths: Sequence[Path], stems: Sequence[str], suffixes: Sequence[str]) -> list[Path]:
    """The slide's files among `paths`: `<slide><suffix>`, or `<file name of the slide><suffix>` as in QuPath.

    Suffixes may be in capital letters, and may be followed by `.gz`.
    """
    found = []
    for path in paths:
        for number, suffix in enumerate(suffixes):
            stem = _before(path.name, suffix)
            if stem is None:
                continue
            place = next((i for i, own in enumerate(stems) if stem == own or _is_same_file(path, stem, own)), None)
            if place is not None and path.is_file():
                found.append((place, number, path))
                break
    return [path for *_, path in sorted(found)]


def left_to_others(
    paths: Sequence[Path], info: SlideInfo, suffixes: Sequence[str], *, shown: Callable[[Path], str] = str
) -> list[str]:
    """A sentence for each file in the folder of regions itself that may be another slide's of the same name."""
    folder, slash, own = info.name.rpartition("/")
    if not (slash and info.shares_name):
        return []
    return [
        f"{shown(path)} was not read: several slides have this name; if it is meant for {info.name}, move it to the "
        f"folder {folder} there"
        for path in files_of(paths, (_normal(own), _normal(info.path.name)), suffixes)
    ]


def near_misses(
    paths: Sequence[Path], info: SlideInfo, suffixes: Sequence[str], *, shown: Callable[[Path], str] = str
) -> list[str]:
    """A sentence for each file that looks as if it were meant for a slide for which `files_of` finds none."""
    names = next(iter(places_of(info).values()))
    found = []
    for path in paths:
        stem = next((text for ending in _ENDINGS if (text := _before(path.name, ending)) is not None), None)
        wrong = None if stem is None else _almost(stem, names)
        if stem is not None and wrong is not None:
            found.append((path, stem, wrong))
    others = _slides_beside(info) if found else set()
    found = [(path, stem, wrong) for path, stem, wrong in found if stem in names or stem not in others]
    sentences = [
        f"{shown(path)} {_told(path, stem, wrong, info, suffixes)}" for path, stem, wrong in found[:_NAMED_AT_MOST]
    ]
    if len(found) > _NAMED_AT_MOST:
        sentences.append(f"{len(found) - _NAMED_AT_MOST} more files have such names")
    return sentences


def _told(path: Path, stem: str, wrong: str, info: SlideInfo, suffixes: Sequence[str]) -> str:
    reasons, remedy = [wrong] if wrong else [], f"rename it to {own_name(info.name)}{path.name[len(stem) :]}"
    if _before(path.name, ".zip") is not None:
        reasons, remedy = [*reasons, "it is packed"], "unpack it"
    elif all(_before(path.name, suffix) is None for suffix in suffixes):
        reasons.append(f"it does not end in {' or '.join(suffixes)}")
        remedy = "export it in such a format, or use the source for the one it has"
    return f"was not read: {' and '.join(reasons)}; if it is meant for {info.path.name}, {remedy}"


def listed(folder: Path) -> list[Path]:
    """The files in a folder, except hidden ones: macOS leaves a `._a.csv` beside each `a.csv` that it copies.

    Raises:
        RoiError: it cannot be read.
    """
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise RoiError(f"{folder}: cannot be read ({error.strerror or error}); check the folder") from error


def _normal(name: str) -> str:
    """The name with composed accents, because some file systems decompose them."""
    return normalize("NFC", name)


def _before(name: str, suffix: str) -> str | None:
    """The file name without a suffix, in any case and with or without `.gz`; None if it has another suffix."""
    if name[-len(PACKED) :].lower() == PACKED:
        name = name[: -len(PACKED)]
    if not suffix:
        return _normal(name)
    return _normal(name[: -len(suffix)]) if name[-len(suffix) :].lower() == suffix.lower() else None


def _is_same_file(path: Path, stem: str, own: str) -> bool:
    """True where the file system itself does not tell capital letters."""
    if stem.casefold() != own.casefold():
        return False
    wanted = path.parent / (own + path.name[len(stem) :])
    return wanted.is_file() and wanted.samefile(path)


def _almost(stem: str, names: Sequence[str]) -> str | None:
    """What is wrong with a name; "" if nothing is, None if it is unrelated."""
    if stem in names:
        return ""
    if stem.casefold() in [name.casefold() for name in names]:
        return "its name differs in capital letters"
    for name in names:
        if _begins(stem, name):
            return "its name goes on where the slide's ends"
    if len(stem) >= _LEAST_LETTERS and _begins(names[0], stem):
        return "its name ends where the slide's goes on"
    return None


def _begins(longer: str, shorter: str) -> bool:
    """True if a name starts with another that ends at a word boundary: "slide-1" is not a prefix of "slide-10"."""
    return len(longer) > len(shorter) and longer.startswith(shorter) and not longer[len(shorter)].isalnum()


def _slides_beside(info: SlideInfo) -> set[str]:
    """Names of the other slides in the same folder: a file with such a name is theirs."""
    if not isinstance(info.path, Path):
        return set()
    try:
        paths = [path for path in info.path.parent.iterdir() if not path.name.lower().endswith((*_ENDINGS, PACKED))]
    except OSError:
        return set()
    return {_normal(name) for path in paths for name in (path.name, slide_name(path))}
