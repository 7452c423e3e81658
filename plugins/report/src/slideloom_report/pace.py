"""How far a report has come, on standard error, for people who wait for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

_QUIET_S = 20.0  # elsewhere than on a terminal, between two lines


@contextmanager
def shown_pace(
    out: TextIO | None = None, *, clock: Callable[[], float] = time.monotonic
) -> Iterator[Callable[[int, int], None]]:
    """A function that shows how many of how many slides are in the report.

    On a terminal it is one line, which is gone at the end; elsewhere a line every 20 seconds, and so none for a report
    that is made quickly.
    """
    stream = sys.stderr if out is None else out
    is_terminal = stream.isatty()
    last = began = clock()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = clock()
        left = (now - began) / done * (total - done) if done else 0.0
        words = f"report: {done} of {total} slides, about {left:.0f} s left"
        if is_terminal:
            stream.write(f"\r{words}\x1b[K")
            stream.flush()
        elif now - last >= _QUIET_S:
            last = now
            stream.write(f"{words}\n")
            stream.flush()

    try:
        yield show
    finally:
        if is_terminal:
            stream.write("\r\x1b[K")
            stream.flush()
