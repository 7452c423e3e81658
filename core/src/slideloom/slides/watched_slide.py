"""A slide that others read, too: by one thread at a time if need be, and as long as someone wants its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Point, Rgb, Size
from slideloom.pixels.mosaic import Mosaic
from slideloom.slides.slide import Slide


def _nothing() -> None:
    pass


class WatchedSlide(Slide):
    """The pixels of another slide, with a word before each read. It shares what the other one keeps.

    Closing it, or giving it another resolution, does not touch the other slide.

    Args:
        slide: open.
        before: called before each read; what it raises ends the read.
        turn: a lock that is held while the slide is read; with one, this slide is thread-safe whatever the other is.
    """

    def __init__(
        self,
        slide: Slide,
        *,
        before: Callable[[], None] = _nothing,
        turn: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._slide, self._before = slide, before
        self._turn: AbstractContextManager[Any] = nullcontext() if turn is None else turn
        self._takes_turns = turn is not None
        self.info, self.identity = slide.info, slide.identity
        self.thread_safe = slide.thread_safe or self._takes_turns  # type: ignore[misc]  # as the slide itself is
        self.exact_parts = slide.exact_parts  # type: ignore[misc]  # the same
        self.__dict__.update(_kept=slide._kept)

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        self._before()
        with self._turn:
            return self._slide.read(origin, level, size)

    def read_many(self, origins: Sequence[Point], level: int, size: Size) -> list[Rgb | SlideError]:
        """See `Slide.read_many`."""
        self._before()
        with self._turn:
            return self._slide.read_many(origins, level, size)

    def read_each(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Rgb | Mosaic | SlideError]:
        """See `Slide.read_each`."""
        if self._takes_turns:  # not held while others work on the pixels
            yield from self.read_many(origins, level, size)
            return
        self._before()
        for found in self._slide.read_each(origins, level, size):
            yield found
            self._before()

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        return self._slide.resample(rgb, box=box, size=size)

    def resample_into(self, source: Rgb | Mosaic, *, box: Box, out: Rgb) -> None:
        """See `Slide.resample_into`."""
        self._slide.resample_into(source, box=box, out=out)

    def give_back_memory(self) -> None:
        """See `Slide.give_back_memory`."""
        self._slide.give_back_memory()

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`."""
        with self._turn:
            return self._slide.icc_profile()

    def _refuse_if_closed(self) -> None:
        super()._refuse_if_closed()
        self._slide._refuse_if_closed()
