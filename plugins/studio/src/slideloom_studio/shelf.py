"""The slides of a session: named by opaque IDs, opened when asked for, a few at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from attrs import define, field, frozen
from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import MissingResolution, SlideError
from slideloom.base.files import FileState
from slideloom.base.machine import usable_cores
from slideloom.pipeline.pipeline import Slides
from slideloom.planning.opening import open_slide, open_without_mpp
from slideloom.slides.names import NamedSlide
from slideloom.slides.slide import Slide
from slideloom.slides.watched_slide import WatchedSlide
from slideloom.viewing.view_pyramid import ViewPyramid

from slideloom_studio.calls import Refused

MOST_OPEN = 4
"""Slides that are open at once. Each keeps up to 130 MB of coarse pictures."""


def _named(given: SlidePlace | NamedSlide) -> NamedSlide:
    return NamedSlide.of(given)


@frozen
class Entry:
    """A slide of the session.

    Attributes:
        id: how requests name it; it says nothing about the file.
        slide: where it is, and what it is called; with folders, if it was found below the folder that was named.
        roi: the folder of its regions, or None.
        out: the output folder of runs, or None.
    """

    id: str
    slide: NamedSlide = field(converter=_named)
    roi: Path | None = None
    out: Path | None = None

    @property
    def name(self) -> str:
        """The slide's name."""
        return self.slide.name

    @property
    def path(self) -> SlidePlace:
        """Its file, or its address."""
        return self.slide.place


@define(eq=False)
class _Opened:
    """A slide that is open, or being opened."""

    slide: Slide | None = None
    state: FileState | None = None
    users: int = 0
    opening: threading.Lock = field(factory=threading.Lock)
    view: ViewPyramid | None = None

    def held(self) -> Slide:
        """The slide, which is open while somebody uses it."""
        if self.slide is None:
            raise AssertionError("a slide in use was closed")
        return self.slide


class Shelf:
    """The slides of a session. Thread-safe.

    Args:
        entries: the slides.
        rules: how slides are opened.
        most_open: slides that are open at once, at most.
    """

    def __init__(self, entries: Sequence[Entry], rules: Slides, *, most_open: int = MOST_OPEN) -> None:
        self.entries: Mapping[str, Entry] = {entry.id: entry for entry in entries}
        self._rules = rules
        self._most_open = most_open
        self._opened: dict[str, _Opened] = {}  # the least recently used first
        self._changed = threading.Condition()
        self.errors: dict[str, str] = {}

    def entry(self, key: str) -> Entry:
        """The slide with this ID.

        Raises:
            Refused: there is none.
        """
        if key not in self.entries:
            raise Refused(404, "no such slide in this session; reload the page")
        return self.entries[key]

    @contextmanager
    def lent(self, key: str) -> Iterator[Slide]:
        """The slide, open until the context ends. Where its file has changed, it is opened again.

        Raises:
            Refused: there is no such slide.
            SlideError: its file is gone, or cannot be opened.
        """
        with self._lent(key) as opened:
            yield opened.held()

    @contextmanager
    def viewing(self, key: str) -> Iterator[ViewPyramid]:
        """As `lent`, at any magnification. Coarse levels are read once, and kept as long as the slide is open."""
        with self._lent(key) as opened:
            if opened.view is None:
                raise AssertionError("a slide in use was closed")
            yield opened.view

    def state(self, key: str) -> FileState | None:
        """What tells whether a slide's file has changed; None for one that is not local.

        Raises:
            SlideError: the file is gone.
        """
        path = self.entry(key).path
        if not isinstance(path, Path):
            return None
        state = FileState.of(path)
        if not state.is_there:
            raise SlideError(f"{path.name}: the file is gone; put it back, or open the studio without it")
        return state

    def close(self) -> None:
        """Close every slide that nobody uses any more; the others are closed by their last user."""
        with self._changed:
            opened, self._opened = self._opened, {}
            for each in opened.values():
                if not each.users:
                    _close(each)

    @property
    def open_count(self) -> int:
        """Number of slides that are open."""
        with self._changed:
            return len(self._opened)

    @contextmanager
    def _lent(self, key: str) -> Iterator[_Opened]:
        entry = self.entry(key)
        opened = self._taken(entry)
        try:
            with opened.opening:
                if opened.slide is None:
                    opened.slide = self._open(entry)
                    opened.view = ViewPyramid(opened.slide, threads=usable_cores())
            yield opened
        finally:
            with self._changed:
                opened.users -= 1
                if opened.slide is None or self._opened.get(key) is not opened:
                    self._discard(key, opened)
                self._changed.notify_all()

    def _taken(self, entry: Entry) -> _Opened:
        state = self.state(entry.id)
        with self._changed:
            found = self._opened.get(entry.id)
            if found is not None and found.state != state:  # the file was replaced
                self._forget(entry.id)
                found = None
            if found is None:
                self._changed.wait_for(self._has_room)
                found = self._opened.get(entry.id) or _Opened(state=state)
            self._opened.pop(entry.id, None)
            self._opened[entry.id] = found
            found.users += 1
            return found

    def _has_room(self) -> bool:
        """Close the slide that was not used for longest, if there are too many; False while all are in use."""
        if len(self._opened) < self._most_open:
            return True
        unused = next((key for key, each in self._opened.items() if not each.users), None)
        if unused is None:
            return False
        self._forget(unused)
        return True

    def _forget(self, key: str) -> None:
        opened = self._opened.pop(key, None)
        if opened is not None and not opened.users:
            _close(opened)

    def _discard(self, key: str, opened: _Opened) -> None:
        """Let go of a slide that did not open, or that is no longer on the shelf."""
        if opened.users:
            return
        if self._opened.get(key) is opened:
            del self._opened[key]
        _close(opened)

    def _open(self, entry: Entry) -> Slide:
        try:
            slide = _opened(entry.slide, self._rules)
        except SlideError as error:
            self.errors[entry.id] = str(error)
            raise
        self.errors.pop(entry.id, None)
        # Threads take turns where the reader cannot be shared.
        return slide if slide.thread_safe else WatchedSlide(slide, turn=threading.RLock())


def _opened(path: NamedSlide, rules: Slides) -> Slide:
    """The slide, also where nothing tells its microns per pixel: it can be looked at all the same."""
    try:
        return open_slide(path, slides=rules)
    except MissingResolution:
        return open_without_mpp(path, rules)


def _close(opened: _Opened) -> None:
    slide, opened.slide, opened.view = opened.slide, None, None
    if slide is not None:
        slide.close()
