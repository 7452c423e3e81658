"""Which process of this machine still runs, told also from a later one that has its number."""

from __future__ import annotations

import os
import secrets
import socket
import sys
from functools import cache
from hashlib import sha256
from pathlib import Path


def runs_here(pid: int, word: str) -> bool | None:
    """Whether a process of this machine still runs; None if another one may have its number by now.

    Args:
        pid: its number.
        word: its `word_of`.
    """
    if pid == os.getpid():
        return word == word_of(pid)
    fields = _fields_of(pid)
    # One that was killed, and whose parent has not asked for its end yet, still has its number.
    if not _runs(pid) or (fields is not None and fields[0] == b"Z"):
        return False
    return None if fields is None else _word_of_start(pid) == word


@cache
def word_of(pid: int) -> str:  # cached by process number, so that a forked child gets its own word
    """A word that tells a process from an earlier one with its number; of this process only, except on Linux."""
    return _word_of_start(pid) or secrets.token_hex(3)


@cache
def this_boot() -> str:
    """A word for this machine since it was started; on Linux, for this process namespace: each container has its own.

    Two machines of one name have different words.
    """
    name = socket.gethostname()
    try:
        name += f"/{Path('/proc/sys/kernel/random/boot_id').read_text()}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        import uuid  # takes long to import

        name += f"/{uuid.getnode()}"
    return sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _word_of_start(pid: int) -> str | None:
    """A word for when a process started, by which one that has the number of a dead one is told from it.

    None where the system does not tell.
    """
    fields = _fields_of(pid)
    # The start is the 20th field after the name (proc(5)).
    return None if fields is None else sha256(b"%d/%s" % (pid, fields[19])).hexdigest()[:6]


def _fields_of(pid: int) -> list[bytes] | None:
    """What Linux tells of a process after its name, its state first; None elsewhere."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    return stat.rpartition(b")")[2].split()  # the name of the program, in brackets, may have spaces


if sys.platform == "win32":
    import ctypes

    def _runs(pid: int) -> bool:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        synchronize, invalid_parameter = 0x100000, 87
        process = kernel.OpenProcess(synchronize, False, pid)
        if not process:
            return ctypes.get_last_error() != invalid_parameter
        is_over = kernel.WaitForSingleObject(process, 0) == 0
        kernel.CloseHandle(process)
        return not is_over

else:

    def _runs(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except (PermissionError, OverflowError):  # another user's process
            return True
        return True
