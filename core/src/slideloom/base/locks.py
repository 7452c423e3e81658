"""Locks that the operating system drops when their process ends, however it ends."""

from __future__ import annotations

import sys
from typing import IO

if sys.platform == "win32":
    import msvcrt

    def take_lock(file: IO[str]) -> bool:
        """True if this process now holds the lock on an open file, False if another does."""
        file.seek(0)
        try:
            # One byte far behind the text, so that others can still read who holds the lock.
            file.seek(2**30)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def take_lock(file: IO[str]) -> bool:
        """True if this process now holds the lock on an open file, False if another does."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
