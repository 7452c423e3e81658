"""The files that a slide consists of, and a fingerprint that shows whether they have changed."""

from __future__ import annotations

import hashlib
import random
from pathlib import Path

from slideloom.plugins.discovery import registry

_EDGE = 65536
_SAMPLES = 16
_SAMPLE = 16384
_SAMPLED_FILES = 64


def files_of(path: Path) -> list[Path]:
    """All files of a slide, the named one first; empty if there is no such file.

    A slide that is a folder has all files in it. Which files belong to another one, formats tell (`Format.parts`).
    """
    if path.is_dir():
        return [file for file in sorted(path.rglob("*")) if file.is_file()]
    return [path, *registry().formats.parts(path)] if path.exists() else []


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
