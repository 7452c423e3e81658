"""Full disks, and what dead processes left, for tests of what writes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from slideloom.base.temporary import aside_path, partial_path


@contextmanager
def full_disk(*, after_bytes: int) -> Iterator[None]:
    """Context in which no file of this process grows beyond `after_bytes`: the kernel refuses the rest of a write.

    The test is skipped on systems without such a limit (Windows).
    """
    resource = pytest.importorskip("resource", reason="file sizes can be limited only on POSIX systems")
    import signal

    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)


def left_by_a_dead_process(path: Path, *, aside: bool = False) -> Path:
    """The temporary name that a process gave to what was to be `path`, or with `aside` to what was; it runs no more."""
    name = (aside_path if aside else partial_path).__name__
    words = f"import sys; from pathlib import Path; from slideloom.base.temporary import {name} as named; "
    command = [sys.executable, "-c", words + "sys.stdout.buffer.write(bytes(named(Path(sys.argv[1]))))", str(path)]
    done = subprocess.run(command, capture_output=True, check=True)  # noqa: S603 - our own words
    return Path(done.stdout.decode())
