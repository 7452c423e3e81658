"""Gives memory that was freed back to the system, where the C library would keep it."""

from __future__ import annotations

import ctypes
import sys


def give_back_freed_memory() -> None:
    """Give back what Python and its libraries have freed. After each large piece of work, not within one.

    Glibc keeps freed memory of up to 32 MB a piece for later use, which adds up in processes that do one thing after
    another. Other C libraries give it back themselves.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # musl has none
        if trim is not None:
            trim(0)
