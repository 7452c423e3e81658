"""Decoded source tiles that threads share, each decoded once however many ask for it."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict

from attrs import define, field
from slideloom import Rgb, SlideError

from slideloom_tiff.jpegs import JpegTiles

_Key = tuple[int, int]  # level, index


@define(eq=False)
class _Entry:
    """A tile: `done` is held by the thread that decodes it, and until then by nobody else."""

    done: threading.Lock = field(factory=threading.Lock)
    pixels: Rgb | None = None
    error: str = ""


class TileCache:
    """The tiles used last.

    Args:
        tiles: what decodes them.
        bytes_per_thread: memory for pixels, times the threads that have asked.
    """

    def __init__(self, tiles: JpegTiles, *, bytes_per_thread: int) -> None:
        self._tiles = tiles
        self._limit = bytes_per_thread
        self._lock = threading.Lock()
        self._threads: set[int] = set()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._held = 0  # bytes

    def get(self, level: int, index: int) -> Rgb | None:
        """Pixels of a tile, not to be written to; None if it was never written.

        Raises:
            SlideError: its bytes are damaged.
        """
        key = (level, index)
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                if not self._tiles.was_written(level, index):
                    return None
                memory = self._memory(level)
                mine = self._entries[key] = _Entry()
                mine.done.acquire()
            else:
                self._entries.move_to_end(key)
                if entry.pixels is not None:
                    return entry.pixels
        if entry is None:
            return self._decoded(mine, level, index, memory)
        with entry.done:  # until the thread that decodes it has done so
            if entry.pixels is None:
                raise SlideError(entry.error)
            return entry.pixels

    def _decoded(self, entry: _Entry, level: int, index: int, memory: Rgb) -> Rgb:
        try:
            self._tiles.decode(level, index, memory)
            entry.pixels = memory
        except BaseException as error:
            entry.error = str(error)
            raise
        finally:
            entry.done.release()
        return memory

    def _memory(self, level: int) -> Rgb:
        """Memory for one tile more: that of the tile used longest ago where nobody holds it, else new.

        The lock is held. Fresh memory of this size comes from the operating system page by page, which takes as long
        as decoding.
        """
        self._threads.add(threading.get_ident())
        size = self._tiles.bytes_of(level)
        self._held += size
        memory = None
        while self._held > self._limit * len(self._threads) and self._entries:
            (old_level, _), entry = self._entries.popitem(last=False)
            self._held -= self._tiles.bytes_of(old_level)
            # Two references to the entry are this name and the question's; a third to the pixels is the entry's.
            pixels = entry.pixels
            is_free = pixels is not None and sys.getrefcount(entry) == 2 and sys.getrefcount(pixels) == 3
            if is_free and old_level == level:
                memory = pixels
        return self._tiles.empty(level) if memory is None else memory
