"""The files that a slide consists of, and a fingerprint that shows whether they have changed."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from slideloom.slides.dicom_files import series_in

_EDGE = 65536
_SAMPLES = 16
_SAMPLE = 16384
_SAMPLED_FILES = 64


def files_of(path: Path) -> list[Path]:
    """All files of a slide, the named one first; empty if there is no such file.

    A slide that is a folder has all files in it. MIRAX has a folder with the slide's name beside it, Hamamatsu's VMS
    and VMU files name their images, and the DICOM files of one series in a folder are one slide.
    """
    if path.is_dir():
        return [file for file in sorted(path.rglob("*")) if file.is_file()]
    if not path.exists():
        return []
    kind = path.suffix.lower()
    beside: list[Path] = []
    if kind == ".mrxs" and path.with_suffix("").is_dir():
        beside = [file for file in sorted(path.with_suffix("").rglob("*")) if file.is_file()]
    elif kind in (".vms", ".vmu"):
        beside = _named_in(path)
    else:
        beside = [file for file in series_in(path) if file != path]
    return [path, *beside]


def missing_part(path: Path) -> str | None:
    """Why a file does not hold its slide's pixels, and what to do; None if it does, or nobody knows.

    A MIRAX file is a small picture of the slide, Hamamatsu's VMS and VMU are lists of files, and Olympus' VSI holds
    small pictures only, beside a folder of .ets files.
    """
    kind = path.suffix.lower()
    if not path.is_file():
        return None
    if kind == ".mrxs":
        if not (path.with_suffix("") / "Slidedat.ini").is_file():
            return (
                f"its data folder {path.stem} with Slidedat.ini is not beside it, and the file itself is only a small "
                "picture of the slide: copy the folder, too"
            )
    elif kind in (".vms", ".vmu"):
        gone = [name for name in _names_in(path, "ImageFile") if not path.with_name(name).is_file()]
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


def fingerprint(path: Path) -> list[object]:
    """Name, size, time of change and SHA-256 of samples of each of a slide's files.

    Samples are the first and last 64 KB and 16 blocks in between: they show that a file was repaired in its middle,
    without hashing gigabytes to find that nothing has changed. If a slide has many files, 64 of them are sampled.
    """
    home = path if path.is_dir() else path.parent
    return [
        [
            file.relative_to(home).as_posix() if file != path else "",
            (state := file.stat()).st_size,
            state.st_mtime_ns,
            _sampled(file, state.st_size) if number < _SAMPLED_FILES else "",
        ]
        for number, file in enumerate(files_of(path))
    ]


def _sampled(path: Path, size: int) -> str:
    found = hashlib.sha256()
    places = [0]
    if size > _EDGE:
        draw = random.Random(size)  # seeded by the size, so that the same places are read each time
        last = max(0, size - _EDGE)
        places += [*sorted(draw.randrange(last) for _ in range(_SAMPLES)), last]
    with path.open("rb", buffering=0) as file:
        for place in places:
            file.seek(place)
            is_edge = place in (places[0], places[-1])
            found.update(file.read(_EDGE if is_edge else _SAMPLE))
    return found.hexdigest()


def _named_in(path: Path) -> list[Path]:
    """The files beside a text file of `key = file name` lines that these lines name."""
    return [path.with_name(name) for name in _names_in(path) if path.with_name(name).is_file() and name != path.name]


def _names_in(path: Path, key: str = "") -> list[str]:
    """The plain file names in a text file of `key = file name` lines whose key begins like this."""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    pairs = [line.partition("=") for line in lines if "=" in line and line.strip().startswith(key)]
    names = dict.fromkeys(value.strip() for _, _, value in pairs)
    return [name for name in names if name and not {"/", "\\", "\0"} & set(name)]
