"""Memory for the pixels of batches, which is used again and again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from slideloom.base.geometry import IntArray, RgbBatch


class BatchMemory(threading.local):
    """Memory for the pixels of batches. Each thread has its own, and lends it to one batch after another.

    The operating system gives new memory of this size page by page, which costs as much as decoding a JPEG. Memory is
    lent again only if no step can still hold it, according to the steps' `keeps_pixels`.

    Args:
        count: maximum number of tiles in a batch.
        side: width and height of a tile in pixels.
    """

    def __init__(self, count: int, side: int) -> None:
        self._shape = (count, side, side, 3)
        self._free: list[RgbBatch] = []
        self._lent: list[RgbBatch] = []

    @contextmanager
    def lending(self) -> Iterator[None]:
        """For one batch of tiles: memory that it took and that was not left to a step is given back at the end."""
        self._lent.clear()  # if the batch before ended in an error, the error may still hold its memory
        yield
        self.give_back()

    def take(self) -> RgbBatch:
        """Uninitialised memory (count, side, side, 3) uint8."""
        memory = self._free.pop() if self._free else np.empty(self._shape, np.uint8)
        self._lent.append(memory)
        return memory

    def give_back(self, *, all_but: int = 0) -> None:
        """Give back what was taken, except for the last `all_but`."""
        end = len(self._lent) - all_but
        self._free += self._lent[:end]
        del self._lent[:end]

    def leave(self) -> None:
        """Leave what was taken so far to a step; it is never lent again."""
        self._lent.clear()

    def lent(self, rgb: RgbBatch) -> RgbBatch | None:
        """The same pixels to write to, if they are tiles of lent memory; None if they lie elsewhere or otherwise.

        Otherwise lies what a normalizer turned over without copying it.
        """
        start = rgb.ctypes.data
        for memory in self._lent:
            first, rest = divmod(start - memory.ctypes.data, memory.strides[0])
            if 0 <= first < len(memory) and not rest and rgb.strides == memory.strides:
                return memory[first : first + len(rgb)]
        return None


def closed_up(rgb: RgbBatch, which: IntArray) -> RgbBatch:
    """Some tiles of a batch next to each other: a part of the same memory, in which as many as possible stay in place.

    Tissue is in one piece along most rows of tiles, so that nothing is copied.

    Args:
        rgb: (B, h, w, 3) uint8; written to.
        which: (N,) the tiles' places in it, ascending.

    Returns:
        (N, h, w, 3) uint8.
    """
    tiles = which.tolist()
    first = int(np.bincount(which - np.arange(len(which))).argmax()) if tiles else 0
    moves = [(place, tile) for place, tile in enumerate(tiles, first) if place != tile]
    # Those that stay lie between those that move up, the last of them first, and those that move down. So no tile is
    # overwritten before it has moved.
    up, down = [move for move in moves if move[0] > move[1]], [move for move in moves if move[0] < move[1]]
    for place, tile in (*reversed(up), *down):
        rgb[place] = rgb[tile]
    return rgb[first : first + len(tiles)]
