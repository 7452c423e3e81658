"""When the command's process looks for garbage.

Nearly everything that a start makes, modules and classes, stays until the process ends. Python would go through all of
it several times while it grows, and once more at the end: a fifth of the processor time of a run on a small slide.
"""

from __future__ import annotations

import gc

_is_put_off = False


def put_off_collecting() -> None:
    """Look for no garbage until `begin_collecting`. Only for a process that runs one command and ends."""
    global _is_put_off  # noqa: PLW0603 - a process has one collector
    _is_put_off = True
    gc.disable()


def begin_collecting() -> None:
    """Look for garbage from now on, but not among what exists already. Does nothing if it was never put off."""
    if _is_put_off:
        gc.freeze()
        gc.enable()
