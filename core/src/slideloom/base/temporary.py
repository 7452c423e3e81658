"""Names of unfinished files and folders: hidden, unique to a process, and removed if their process has died.

`.a.tfrecords.1f2e3d4c-4711-9f8e7d-0.partial` will become `a.tfrecords`. The name contains the machine, the process, a
word that distinguishes this process from an earlier one with the same number, and a counter. So two runs never write
to the same file, even if a lock fails to keep them apart.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import sha256
from itertools import count
from math import inf
from pathlib import Path

from slideloom.base.live_processes import runs_here, word_of

_TEMPORARY = re.compile(
    r"\.(?P<name>.+)\.(?P<host>[0-9a-f]{8})-(?P<pid>\d{1,10})-(?P<word>[0-9a-f]{6})-\d+\.(?P<kind>partial|old)",
    re.DOTALL,
)
# We cannot tell whether a process on another machine is alive, but a live one writes more often than once a day.
_SECONDS_OF_SILENCE = 24 * 3600.0
_SECONDS_BETWEEN_SWEEPS = 60.0
_SHARE_OF_SWEEPS = 0.01  # of the time: listing a folder of a million files on a network may take minutes

_given: deque[tuple[int, Path]] = deque(maxlen=4096)  # the last names for unfinished files, and the process of each
_swept: dict[Path, float] = {}  # when this process will next look through a folder


def partial_path(path: Path) -> Path:
    """A name beside `path` for a file that will become `path` when it is finished; every call gives another name."""
    made = _beside(path, "partial")
    _given.append((os.getpid(), made))
    return made


@contextmanager
def tidied_when_interrupted() -> Iterator[None]:
    """Within it, an interrupt that comes between the making of a file and its registration leaves no file behind."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        for process, path in _given:
            if process == os.getpid():
                with suppress(OSError):  # it does no harm, and a later run removes it
                    discard_path(path)
        raise


def aside_path(path: Path) -> Path:
    """A name beside `path` for the old file at `path` that makes room for a new one; every call gives another name."""
    return _beside(path, "old")


def keep_aside(path: Path, word: str) -> Path:
    """Rename a file out of the way for good: `a.tfrecords` becomes `a.tfrecords.foreign-20260102T030405`.

    Args:
        path: a file or folder.
        word: why it is moved, such as "foreign" or "damaged".

    Returns:
        The new name, which was free.
    """
    stamp = time.strftime("%Y%m%dT%H%M%S")
    goal = path.with_name(f"{path.name}.{word}-{stamp}")
    for number in count(2):
        if not os.path.lexists(goal):
            break
        goal = path.with_name(f"{path.name}.{word}-{stamp}-{number}")
    path.rename(goal)
    return goal


def is_temporary(name: str) -> bool:
    """True for a file name that has the form of a temporary name."""
    return name.startswith(".") and name.endswith((".partial", ".old"))


def discard_path(path: Path) -> None:
    """Remove a file or a folder with all it holds, if it is there.

    A folder loses its name first: a process that dies on the way leaves nothing that could be taken for the whole.
    """
    if not path.is_dir() or path.is_symlink():
        path.unlink(missing_ok=True)
        return
    found = _TEMPORARY.fullmatch(path.name)
    goal = path
    if found is None:
        goal = partial_path(path)
    elif found["kind"] == "old":  # it would come back
        goal = path.with_name(f"{path.name.removesuffix('old')}partial")
    with suppress(OSError):  # a new name may need room on a full disk, which removing gives
        path = path.rename(goal)
    shutil.rmtree(path)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary files that dead processes left in a folder.

    A process of this machine is dead if it no longer runs; one of another machine, if its file was not written to for
    a day. A file that such a process had moved aside gets its name back, unless the name is taken.
    """
    for path, found in _temporary_in(folder):
        with suppress(OSError):  # already gone, or another user's file, which does no harm
            if not _is_abandoned(path, found):
                continue
            place = path.with_name(found["name"])
            if found["kind"] == "old" and not place.exists():
                path.rename(place)
            else:
                discard_path(path)


def remove_abandoned_at_times(folder: Path) -> None:
    """The same, but once a minute at most, or more rarely where it takes long; who writes in a folder asks often."""
    began = time.monotonic()
    if began >= _swept.get(folder, -inf):
        _swept[folder] = began + _SECONDS_BETWEEN_SWEEPS
        remove_abandoned(folder)
        ended = time.monotonic()
        _swept[folder] = max(_swept[folder], ended + (ended - began) / _SHARE_OF_SWEEPS)


def forget_sweeps() -> None:
    """Begin anew: whoever writes into a folder next looks first for what dead processes left there."""
    _swept.clear()


def _temporary_in(folder: Path) -> Iterator[tuple[Path, re.Match[str]]]:
    try:
        names = os.listdir(folder)  # noqa: PTH208 - making a path for each of a million tiles is slow
    except OSError:  # the folder is missing, so there is nothing in it
        return
    for name in names:
        found = _TEMPORARY.fullmatch(name) if name.startswith(".") else None
        if found is not None:
            yield folder / name, found


def _beside(path: Path, kind: str) -> Path:
    mark = f"{_machine()}-{os.getpid()}-{word_of(os.getpid())}-{next(_numbers)}"
    return path.with_name(f".{path.name}.{mark}.{kind}")


_numbers = count()


@cache
def _machine() -> str:
    """The name of this machine; on Linux, of this process namespace, because each container has its own."""
    name = socket.gethostname()
    with suppress(OSError):
        name += f"/{Path('/proc/self/ns/pid').stat().st_ino}"
    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _is_abandoned(path: Path, found: re.Match[str]) -> bool:
    if found["host"] != _machine():
        return time.time() - path.lstat().st_mtime > _SECONDS_OF_SILENCE
    return runs_here(int(found["pid"]), found["word"]) is False
