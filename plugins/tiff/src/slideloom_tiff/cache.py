"""Decoded source tiles that threads share, each decoded once however many ask for it."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence

from attrs import define, field, frozen
from slideloom import Rgb, SlideError

from slideloom_tiff.jpegs import JpegTiles

_Key = tuple[int, int]  # level, index


@define(eq=False)
class _Entry:
    """A tile: `done` is held by the thread that decodes it, and until then by nobody else."""

    done: threading.Lock = field(factory=threading.Lock)
    pixels: Rgb | None = None
    error: str = "the thread that was to decode this tile ended"


@frozen
class Tiles:
    """What was asked for.

    Attributes:
        pixels: of tiles by index, not to be written to.
        errors: why a tile is damaged, by index.
    """

    pixels: dict[int, Rgb]
    errors: dict[int, str]


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

    def room(self, level: int) -> int:
        """How many tiles of a level one thread's share of the memory holds."""
        return self._limit // self._tiles.bytes_of(level)

    def get(self, level: int, indices: Iterable[int]) -> Tiles:
        """Tiles by index; those that were never written, and negative indices, are left out.

        All that are not here are read and decoded before any that another thread decodes is waited for: so they are
        read in few pieces, and threads never wait for each other in turn.
        """
        mine: list[tuple[int, _Entry, Rgb]] = []
        with self._lock:
            entries = {index: entry for index in indices if (entry := self._entry(level, index, mine)) is not None}
        if mine:
            self._decode(level, mine)
        tiles = Tiles({}, {})
        for index, entry in entries.items():
            if entry.pixels is None:
                with entry.done:  # until the thread that decodes it has done so
                    pass
            if entry.pixels is None:
                tiles.errors[index] = entry.error
            else:
                tiles.pixels[index] = entry.pixels
        return tiles

    def _entry(self, level: int, index: int, mine: list[tuple[int, _Entry, Rgb]]) -> _Entry | None:
        """The tile's entry, or None if it was never written; a new one is added to `mine`. The lock is held."""
        key = (level, index)
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry
        if index < 0 or not self._tiles.was_written(level, index):
            return None
        memory = self._memory(level)
        entry = self._entries[key] = _Entry()
        entry.done.acquire()
        mine.append((index, entry, memory))
        return entry

    def _decode(self, level: int, mine: Sequence[tuple[int, _Entry, Rgb]]) -> None:
        """Decode the tiles of new entries; those that are damaged get the error instead."""
        rest = iter(mine)
        try:
            fetched = self._tiles.fetch(level, [index for index, _, _ in mine])
            for index, entry, memory in rest:
                try:
                    self._tiles.decode(level, index, memory, fetched.get(index))
                    entry.pixels = memory
                except SlideError as error:
                    entry.error = str(error)
                finally:
                    entry.done.release()
        finally:
            for _, entry, _ in rest:  # only if something else than a damaged tile ended the loop
                entry.done.release()

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
