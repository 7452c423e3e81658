"""Decoded source tiles that threads share, each decoded once however many ask for it."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from attrs import define, field, frozen
from slideloom import Rgb, SlideError

from slideloom_tiff.jpegs import JpegTiles

_Key = tuple[int, int]  # level, index


@define(eq=False)
class _Entry:
    """A tile: `done` is held by the thread that decodes it, `leases` counts who may be looking at its pixels."""

    done: threading.Lock = field(factory=threading.Lock)
    leases: int = 0
    pixels: Rgb | None = None
    error: str = "the thread that was to decode this tile ended"


_New = tuple[int, _Entry, Rgb]  # index, entry, and the memory to decode it into


@frozen
class Tiles:
    """What was asked for, for as long as the lease lasts.

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

    @contextmanager
    def lease(self, level: int, indices: Iterable[int]) -> Iterator[Tiles]:
        """Tiles by index; those that were never written, and negative indices, are left out.

        Their pixels stay what they are within the context; behind it, their memory may get other tiles.

        All that are not here are read and decoded before any that another thread decodes is waited for: so they are
        read in few pieces, and threads never wait for each other in turn.
        """
        entries, mine = self._entries_for(level, indices)
        try:
            if mine:
                self._decode(level, mine)
            yield self._found(entries)
        finally:
            with self._lock:
                for entry in entries.values():
                    entry.leases -= 1

    def _found(self, entries: dict[int, _Entry]) -> Tiles:
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

    def _entries_for(self, level: int, indices: Iterable[int]) -> tuple[dict[int, _Entry], list[_New]]:
        """The tiles' entries, leased, and those that this thread has to decode."""
        entries: dict[int, _Entry] = {}
        mine: list[_New] = []
        try:
            with self._lock:
                for index in indices:
                    entry = self._entry(level, index, mine)
                    if entry is not None:
                        entry.leases += 1  # at once, so that the next one does not get its memory
                        entries[index] = entry
        except BaseException:  # such as MemoryError: other threads must not wait for what will not come
            for _, entry, _ in mine:
                entry.done.release()
            raise
        return entries, mine

    def _entry(self, level: int, index: int, mine: list[_New]) -> _Entry | None:
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

    def _decode(self, level: int, mine: Sequence[_New]) -> None:
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
        """Memory for one tile more: that of the tile used longest ago where no lease is out on it, else new.

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
            if old_level == level and not entry.leases:
                memory = entry.pixels
        return self._tiles.empty(level) if memory is None else memory
