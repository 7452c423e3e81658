"""When the command's process looks for garbage.

Nearly everything that a start makes, modules and classes, stays until the process ends. Python would go through all of
it several times while it grows, and once more at the end: a fifth of the processor time of a run on a small slide.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

_is_put_off = False


@contextmanager
def collecting_put_off() -> Iterator[None]:
    """Within it, garbage is not looked for until `begin_collecting`. For a process that runs one command and ends."""
    global _is_put_off  # noqa: PLW0603 - a process has one collector
    was_enabled, _is_put_off = gc.isenabled(), True
    gc.disable()
    try:
        yield
    finally:
        _is_put_off = False
        if was_enabled:
            gc.enable()


def begin_collecting() -> None:
    """Look for garbage from now on, but not among what exists already. Does nothing if it was never put off."""
    if _is_put_off:
        gc.freeze()
        gc.enable()
