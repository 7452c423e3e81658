"""The library of `faults.c`, built where there is a C compiler, and its switches in a process that has it loaded."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_SOURCE = Path(__file__).with_name("faults.c")
_NAME = "faults.so"


def build(folder: Path) -> None:
    """Build the library into a folder; without a compiler, or elsewhere than on Linux, there is none."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler and Path("/proc/self/fd").exists():
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", folder / _NAME, _SOURCE, "-ldl"], check=True)


def is_built(folder: Path) -> bool:
    """True if calls can be made to fail here."""
    return (folder / _NAME).exists()


def environment(folder: Path) -> dict[str, str]:
    """What a process is started with to have the library."""
    return {"LD_PRELOAD": str(folder / _NAME)} if is_built(folder) else {}


class Switch:
    """Makes calls of this process fail."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self._library.stress_count.restype = ctypes.c_long
        self._library.stress_last.restype = ctypes.c_char_p

    @contextmanager
    def failing(self, watched: Path, *, at: int, number: int, sticky: bool) -> Iterator[None]:
        """Within it, the call number `at` that touches `watched` fails with the errno `number`.

        Args:
            at: from 1; 0 for none, to count calls.
            sticky: all later calls fail, too.
        """
        self._library.stress_watch(os.fsencode(watched))
        self._library.stress_arm(ctypes.c_long(at), number, int(sticky))
        try:
            yield
        finally:
            self._library.stress_watch(b"")

    @property
    def calls(self) -> int:
        """How many calls touched the watched folder."""
        return int(self._library.stress_count())

    @property
    def failed(self) -> str:
        """Name of the call that failed, or ""."""
        name: bytes = self._library.stress_last()
        return name.decode()
