"""A full disk, for tests of code that writes files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


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
