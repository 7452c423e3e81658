"""Decoded source tiles that threads share, each decoded once however many ask for it."""

from __future__ import annotations

import sys
import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

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

    def missing(self, level: int, indices: Iterable[int]) -> list[int]:
        """Those tiles that are to be decoded: they were written, and are not here."""
        with self._lock:
            absent = [index for index in indices if index >= 0 and (level, index) not in self._entries]
        return [index for index in absent if self._tiles.was_written(level, index)]

    def get(
        self, level: int, indices: Sequence[int], fetched: Mapping[int, memoryview] = MappingProxyType({})
    ) -> list[Rgb | None]:
        """Pixels of tiles, not to be written to; None for one that was never written, or whose index is negative.

        Args:
            level: of the tiles.
            indices: of the tiles.
            fetched: bytes of tiles, read before; what is not among them is read now.

        Raises:
            SlideError: the bytes of one of them are damaged.
        """
        mine: list[tuple[_Entry, int, Rgb]] = []
        with self._lock:
            entries = [self._entry(level, index, mine) if index >= 0 else None for index in indices]
        # What other threads wait for comes before what this one waits for, so that none waits for another in turn.
        self._decode(level, mine, fetched)
        found: list[Rgb | None] = []
        for entry in entries:
            if entry is not None and entry.pixels is None:
                with entry.done:  # until the thread that decodes it has done so
                    if entry.pixels is None:
                        raise SlideError(entry.error)
            found.append(None if entry is None else entry.pixels)
        return found

    def _entry(self, level: int, index: int, mine: list[tuple[_Entry, int, Rgb]]) -> _Entry | None:
        """The tile's entry, or None if it was never written; a new one is added to `mine`. The lock is held."""
        key = (level, index)
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry
        if not self._tiles.was_written(level, index):
            return None
        memory = self._memory(level)
        entry = self._entries[key] = _Entry()
        entry.done.acquire()
        mine.append((entry, index, memory))
        return entry

    def _decode(self, level: int, mine: Sequence[tuple[_Entry, int, Rgb]], fetched: Mapping[int, memoryview]) -> None:
        """Decode the tiles of new entries; those that are damaged get the error instead."""
        for position, (entry, index, memory) in enumerate(mine):
            try:
                self._tiles.decode(level, index, memory, fetched.get(index))
                entry.pixels = memory
            except SlideError as error:
                entry.error = str(error)
            except BaseException as error:
                for other, _, _ in mine[position:]:
                    other.error = str(error) or type(error).__name__
                for other, _, _ in mine[position + 1 :]:
                    other.done.release()
                raise
            finally:
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
