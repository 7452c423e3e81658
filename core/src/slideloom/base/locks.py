"""Locks that are released when their process ends, however it ends.

They are taken with the library filelock. On a file system without locks, a file that names its holder stands in for
one. It stays behind if its holder is killed; it is taken over only if filelock can tell that the holder is dead, which
is possible on the same machine.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from slideloom.base.storing import write_whole

if TYPE_CHECKING:
    from filelock import BaseFileLock

log = logging.getLogger(__name__)

# The errors of flock on file systems without locks: Lustre without -o flock, NFS without its lock daemon, some FUSE.
_NO_LOCKS = {errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP}
_ATTEMPTS = 2  # the first may find that the holder of a stand-in is dead; then the second takes its place


class Lock:
    """A lock that this process holds until `release`."""

    def __init__(self, lock: BaseFileLock, named: Path) -> None:
        self._lock = lock
        self._named = named

    def release(self) -> None:
        """Release the lock."""
        with suppress(OSError):  # the next holder writes over it
            self._named.unlink()
        self._lock.release()


def take_lock(path: Path, *, by: str = "") -> Lock | None:
    """The lock at `path`, or None if another process holds it; see `holder_of`.

    Args:
        path: of the lock.
        by: what this process is, for `holder_of` and `is_held_by`.

    Raises:
        OSError: the lock cannot be written, as on a full disk.
    """
    from filelock import FileLock

    try:
        # Not filelock's own fallback: it knows only one of these errors, and its warning is worded for programmers.
        lock: BaseFileLock = FileLock(path, thread_local=False, fallback_to_soft=False)
        if not _is_taken(lock):
            return None
        # A machine on which locks do not work may hold the stand-in.
        stand_in = _stand_in(path)
        if stand_in.exists() and not _is_free(stand_in):
            lock.release()
            return None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        found = _soft_lock(path, error)
        if found is None:
            return None
        lock = found
    named = _name_of(path)
    try:
        write_whole(named, f"{by}{by and ', '}process {os.getpid()} on {socket.gethostname()}\n".encode())
    except BaseException:
        lock.release()
        raise
    return Lock(lock, named)


def holder_of(path: Path) -> str:
    """Who holds the lock at `path`, in words, and what to do if the holder may be dead."""
    try:
        holder = _name_of(path).read_text(encoding="utf-8").strip()
    except OSError:  # it has just taken or just released the lock
        holder = "a process that is not known yet"
    stand_in = _stand_in(path)
    return f"{holder}; if that is dead, remove {stand_in}" if stand_in.exists() else holder


def is_held_by(path: Path, word: str) -> bool:
    """True if who took the lock at `path` said so with a first word; also while nobody has said anything yet."""
    try:
        return _name_of(path).read_text(encoding="utf-8").split()[:1] in ([word], [])
    except OSError:
        return True


def _name_of(path: Path) -> Path:
    """The file that says who holds the lock. It is not the lock file itself, which nobody else can read on Windows."""
    return path.with_name(f"{path.name}.holder")


def _stand_in(path: Path) -> Path:
    return path.with_name(f"{path.name}.stand-in")


def _soft_lock(path: Path, reason: OSError) -> BaseFileLock | None:
    from filelock import SoftFileLock

    stand_in = _stand_in(path)
    lock = SoftFileLock(stand_in, thread_local=False)
    if not _is_taken(lock):
        return None
    log.warning(
        "%s: this file system has no locks (%s). A file stands in for one: if this run is killed, "
        "remove %s before another machine works here",
        path.parent,
        reason.strerror,
        stand_in,
    )
    return lock


def _is_free(stand_in: Path) -> bool:
    from filelock import SoftFileLock

    lock = SoftFileLock(stand_in, thread_local=False)
    is_free = _is_taken(lock)
    lock.release()
    return is_free


def _is_taken(lock: BaseFileLock) -> bool:
    from filelock import Timeout

    for _ in range(_ATTEMPTS):
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        return True
    return False
