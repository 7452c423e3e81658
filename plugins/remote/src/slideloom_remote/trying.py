"""Requests that are tried again while it may help."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from slideloom_remote.faults import Final, of_library

T = TypeVar("T")

TRIES = 5
FIRST_WAIT_S = 0.2
"""Pause before the second try, doubled before each further one."""
AT_ONCE = 16
"""Requests at one time for each open slide."""
GIVE_UP = 8
"""Requests in a row that failed, after which no more of a slide is asked for."""


async def tried(ask: Callable[[], Awaitable[T]], *, first_wait_s: float) -> T:
    """What a request gives, tried again after a pause that doubles, while it may go better.

    Raises:
        Passing, Final: it failed.
    """
    for attempt in range(TRIES):
        try:
            return await ask()
        except Exception as error:  # anything that a library of the network raises
            told = of_library(error)
            if isinstance(told, Final) or attempt == TRIES - 1:
                raise told from None
            await asyncio.sleep(first_wait_s * 2**attempt)
    raise AssertionError("the last try returns or raises")
