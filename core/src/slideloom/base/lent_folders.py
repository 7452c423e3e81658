"""Folders for copies of slides: locked while they are used, and removed afterwards or by the next who needs one."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slideloom.base.errors import SlideError
from slideloom.base.locks import take_lock
from slideloom.base.storing import storing_in

log = logging.getLogger(__name__)

_LOCK = "lock"
_MARGIN = 256 << 20  # bytes that a copy leaves free


@contextmanager
def lent_folder(home: Path) -> Iterator[Path]:
    """A folder in another, removed at the end. Folders of processes that were killed are removed, too.

    Raises:
        OutputError: it cannot be made.
    """
    with storing_in(home):
        home.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(home)
        # It gets its final name only after it is locked, so that no other process takes it for abandoned. (Windows
        # cannot rename a folder with an open file, so there the name is final from the start.)
        new = Path(tempfile.mkdtemp(prefix="slideloom-" if os.name == "nt" else ".slideloom-", dir=home))
        lock = take_lock(new / _LOCK)
    folder = home / new.name.removeprefix(".")
    try:
        if folder != new:
            new.rename(folder)
        yield folder
    finally:
        if lock is not None:
            lock.release()
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(home: Path) -> None:
    for folder in home.glob("slideloom-*"):
        if not (folder / _LOCK).exists():  # not ours
            continue
        try:
            lock = take_lock(folder / _LOCK)
        except OSError:  # it belongs to another user, or its run is just removing it
            continue
        if lock is not None:
            lock.release()
            log.info("%s: removed, because the process that made it was killed", folder)
            shutil.rmtree(folder, ignore_errors=True)


def check_room(folder: Path, size: int, *, name: str, remedy: str) -> None:
    """Refuse to copy a slide to where it does not fit.

    Args:
        folder: where it would go.
        size: of the slide in bytes.
        name: of the slide, for the message.
        remedy: what to do, for the message.

    Raises:
        SlideError: the disk has no room for it.
    """
    free = shutil.disk_usage(folder).free
    if size + _MARGIN > free:
        needed = f"its copy needs {size / 1e9:.2f} GB, and {folder} has {free / 1e9:.2f} GB left"
        raise SlideError(f"{name}: {needed}; {remedy}")
