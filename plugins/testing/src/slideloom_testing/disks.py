"""A full disk, for tests of what writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def full_disk(*, after_bytes: int) -> Iterator[None]:
    """Within it, no file of this process grows beyond `after_bytes`: the kernel takes a part and refuses the rest.

    The test is skipped where the system has no such limit (Windows).
    """
    resource = pytest.importorskip("resource", reason="file sizes can be limited on POSIX systems only")
    import signal

    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (after_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)
