"""The files that a slide consists of, and a fingerprint that shows whether they have changed."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

_EDGE = 65536
_SAMPLES = 16
_SAMPLE = 16384
_HEADER = 65536  # of a DICOM file; its series is named within it
_SAMPLED_FILES = 64
_SERIES = b"\x20\x00\x0e\x00"  # tag (0020,000E), Series Instance UID, little endian


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
    elif kind in (".dcm", "", ".dicom"):
        beside = _of_series(path)
    return [path, *beside]


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
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    names = dict.fromkeys(line.partition("=")[2].strip() for line in lines if "=" in line)
    plain = [name for name in names if name and not {"/", "\\", "\0"} & set(name)]
    return [path.with_name(name) for name in plain if path.with_name(name).is_file() and name != path.name]


def _of_series(path: Path) -> list[Path]:
    """The other DICOM files of this one's series, in its folder."""
    series = _series_of(path)
    if not series:
        return []
    others = sorted(file for file in path.parent.iterdir() if file.suffix == path.suffix and file != path)
    return [file for file in others if file.is_file() and _series_of(file) == series]


def _series_of(path: Path) -> bytes:
    """The Series Instance UID of a DICOM file; empty for any other file."""
    with path.open("rb") as file:
        header = file.read(_HEADER)
    place = header.find(_SERIES) if header[128:132] == b"DICM" else -1
    if place < 0:
        return b""
    field = header[place + 4 : place + 8]
    # With or without the two letters of its type, the length is before the value.
    length = int.from_bytes(field[2:4] if field[:2] == b"UI" else field, "little")
    return header[place + 8 : place + 8 + length].rstrip(b"\0 ")
