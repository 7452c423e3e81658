"""A cache of decoded source tiles that threads share: each tile is decoded once, even if several threads ask for it."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from attrs import define, field, frozen
from slideloom import Rgb, SlideError

from slideloom_tiff.jpegs import JpegTiles

_Key = tuple[int, int]  # level, index


@define(eq=False)
class _Entry:
    """One tile. The thread that decodes it holds `done`; `leases` counts those who may be using its pixels."""

    done: threading.Lock = field(factory=threading.Lock)
    leases: int = 0
    pixels: Rgb | None = None
    error: str = "the thread that should have decoded this tile ended"


class _User:
    """A thread that uses a cache; held by the thread alone, so it ends with it."""


_New = tuple[int, _Entry, Rgb]  # index, entry, and the memory to decode it into


@frozen
class LeasedTiles:
    """The tiles of one lease, valid while it lasts.

    Attributes:
        pixels: decoded tiles by index, each (tile height, tile width, 3) uint8; do not write to them.
        errors: why a tile is damaged, by index.
    """

    pixels: dict[int, Rgb]
    errors: dict[int, str]


class TileCache:
    """A cache of the most recently used tiles.

    Args:
        tiles: decodes them.
        bytes_per_thread: memory for pixels; the limit is this times the number of living threads that have used the
            cache since it was last cleared.
    """

    def __init__(self, tiles: JpegTiles, *, bytes_per_thread: int) -> None:
        self._tiles = tiles
        self._limit = bytes_per_thread
        self._lock = threading.Lock()
        self._local = threading.local()
        self._users: weakref.WeakSet[_User] = weakref.WeakSet()
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()
        self._held = 0  # bytes

    @property
    def held_bytes(self) -> int:
        """Memory of the tiles, in bytes."""
        with self._lock:
            return self._held

    def room(self, level: int) -> int:
        """Number of tiles of a level that fit in one thread's share of the memory."""
        return self._limit // self._tiles.bytes_of(level)

    @contextmanager
    def lease(self, level: int, indices: Iterable[int]) -> Iterator[LeasedTiles]:
        """Tiles by index, without those that were never written and without negative indices.

        Within the context their pixels do not change; after it, their memory may be used for other tiles.

        This thread first reads and decodes every tile that no other thread is decoding, and only then waits for the
        others. So tiles are read in few pieces, and threads cannot deadlock.
        """
        entries, mine = self._entries_for(level, indices)
        try:
            if mine:
                self._decode(level, mine)
            yield self._found(entries)
        finally:
            self._end(entries)

    def _end(self, entries: dict[int, _Entry]) -> None:
        """End a lease."""
        with self._lock:
            for entry in entries.values():
                entry.leases -= 1

    def _found(self, entries: dict[int, _Entry]) -> LeasedTiles:
        tiles = LeasedTiles({}, {})
        for index, entry in entries.items():
            if entry.pixels is None:
                with entry.done:  # wait for the thread that decodes it
                    pass
            if entry.pixels is None:
                tiles.errors[index] = entry.error
            else:
                tiles.pixels[index] = entry.pixels
        return tiles

    def _entries_for(self, level: int, indices: Iterable[int]) -> tuple[dict[int, _Entry], list[_New]]:
        """The entries of the tiles, leased; and the new ones among them, which this thread has to decode."""
        entries: dict[int, _Entry] = {}
        mine: list[_New] = []
        try:
            with self._lock:
                self._users.add(self._user())
                size, limit = self._tiles.bytes_of(level), self._limit * len(self._users)
                for index in indices:
                    entry = self._entry(level, index, mine, size=size, limit=limit)
                    if entry is not None:
                        entry.leases += 1  # now, so that the next tile does not get its memory
                        entries[index] = entry
        except BaseException:  # such as MemoryError: other threads must not wait for tiles that nobody will decode
            for _, entry, _ in mine:
                entry.done.release()
            self._forget(level, mine)
            self._end(entries)
            raise
        return entries, mine

    def _entry(self, level: int, index: int, mine: list[_New], *, size: int, limit: int) -> _Entry | None:
        """The tile's entry, or None if it was never written. Adds a new entry to `mine`. The caller holds the lock.

        `size` is that of a tile and `limit` that of all, in bytes.
        """
        key = (level, index)
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
            return entry
        if index < 0 or not self._tiles.was_written(level, index):
            return None
        memory = self._memory(level, size=size, limit=limit)
        entry = self._entries[key] = _Entry()
        entry.done.acquire()
        mine.append((index, entry, memory))
        return entry

    def _decode(self, level: int, mine: Sequence[_New]) -> None:
        """Decode the tiles of new entries; a damaged tile gets an error instead of pixels."""
        rest = iter(mine)
        is_done = False
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
            is_done = True
        finally:
            if not is_done:  # something other than a damaged tile ended the loop, such as the user's interrupt
                for _, entry, _ in rest:
                    entry.done.release()
                self._forget(level, mine)

    def _forget(self, level: int, mine: Sequence[_New]) -> None:
        """Take out new entries that were not decoded, so that who asks for these tiles later gets them."""
        with self._lock:
            for index, entry, _ in mine:
                key = (level, index)
                if entry.pixels is None and self._entries.get(key) is entry:
                    del self._entries[key]
                    self._held -= self._tiles.bytes_of(level)

    def clear(self) -> None:
        """Give back the memory of all tiles but those that are leased, and forget who has used the cache."""
        with self._lock:
            self._entries.clear()
            self._held = 0
            self._users.clear()

    def _user(self) -> _User:
        """This thread, until it ends."""
        user: _User | None = getattr(self._local, "user", None)
        if user is None:
            user = self._local.user = _User()
        return user

    def _memory(self, level: int, *, size: int, limit: int) -> Rgb:
        """Memory for one more tile: that of the least recently used tile if nobody leases it, else new memory.

        The caller holds the lock. The operating system gives new memory of this size page by page, which takes as
        long as decoding.
        """
        memory = None
        while self._held + size > limit and self._entries:
            (old_level, _), entry = self._entries.popitem(last=False)
            self._held -= size if old_level == level else self._tiles.bytes_of(old_level)
            if old_level == level and not entry.leases:
                memory = entry.pixels
        if memory is None:
            memory = self._tiles.empty(level)
        self._held += size  # last, as there may be no memory
        return memory
