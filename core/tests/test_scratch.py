"""Memory that is used again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from slideloom.base.scratch import Scratch


def test_the_same_use_gets_the_same_memory_and_another_use_does_not() -> None:
    scratch = Scratch()
    first = scratch.take("a", 4, 5, 3, dtype=np.uint8)
    other = scratch.take("b", 4, 5, 3, dtype=np.uint8)
    smaller = scratch.take("a", 2, 3, dtype=np.uint8)

    assert (first.shape, first.dtype, first.flags.c_contiguous) == ((4, 5, 3), np.uint8, True)
    assert smaller.shape == (2, 3)
    assert np.shares_memory(first, smaller)
    assert not np.shares_memory(first, other)
    assert scratch.take("a", 100, 3, dtype=np.uint8).shape == (100, 3)


def test_a_thread_has_memory_of_its_own() -> None:
    scratch = Scratch()
    mine = scratch.take("a", 10, dtype=np.float32)
    with ThreadPoolExecutor(1) as pool:
        other = pool.submit(lambda: scratch.take("a", 10, dtype=np.float32)).result()

    assert not np.shares_memory(mine, other)
