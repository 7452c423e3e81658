"""Which slides are one slide by two names: links, and copies. Either would count twice."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR, S_ISLNK, S_ISREG
from typing import Any, cast

from slideloom.base.addresses import Address, SlidePlace
from slideloom.base.errors import SlideError, SlideloomError
from slideloom.planning.slide_files import fingerprint
from slideloom.plugins.discovery import registry
from slideloom.running.looking_at_addresses import RemoteSearch
from slideloom.slides.names import NamedSlide, own_name

log = logging.getLogger(__name__)

_MIDDLE = 4096  # bytes


class FileStates:
    """What disks say of slides' files, each of which is asked for once: a network disk takes long to answer."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[bool, os.stat_result | None]] = {}

    def is_link(self, path: Path) -> bool:
        """True for a symbolic link."""
        return self._asked(path)[0]

    def state(self, path: Path) -> os.stat_result | None:
        """Of the file, or of what a link leads to; None if it cannot be had: then the slide fails in its turn."""
        return self._asked(path)[1]

    def _asked(self, path: Path) -> tuple[bool, os.stat_result | None]:
        if path not in self._known:
            is_link, state = False, None
            with suppress(OSError):
                state = path.lstat()
                is_link = S_ISLNK(state.st_mode)
            if is_link:
                state = None
                with suppress(OSError):
                    state = path.stat()
            self._known[path] = is_link, state
        return self._known[path]


def same_slides(slides: Sequence[NamedSlide], states: FileStates) -> dict[NamedSlide, NamedSlide]:
    """For each slide, the one of them that is really there: a link would be the same slide by another name.

    Of names that are equally real, such as hard links, the first stands for all. A slide of several files is only the
    same as another if its other files are, too: what is opened may be a small picture or a list that two slides share.

    Args:
        slides: those to be compared.
        states: of their files, as far as they were asked for.
    """
    real_folder = lru_cache(maxsize=None)(_real)  # each is looked at once, as cohorts have few
    links: set[NamedSlide] = set()
    real: dict[NamedSlide, object] = {}
    for slide in slides:
        place = slide.place
        state = None
        if isinstance(place, Path):
            state = states.state(place)
            if states.is_link(place):
                place = _real(place)
                links.add(slide)
            else:
                place = real_folder(place.parent) / place.name
        real[slide] = _hard_linked(state) or place
    files: dict[object, list[NamedSlide]] = {}
    found: dict[NamedSlide, NamedSlide] = {}
    for slide in sorted(real, key=links.__contains__):  # links last
        alike = files.setdefault(real[slide], [])
        found[slide] = next((other for other in alike if _is_all_of(slide, other)), slide)
        if found[slide] is slide:
            alike.append(slide)
    return {slide: found[slide] for slide in real}


def _real(path: Path) -> Path:
    """Where links lead to. Unlike `Path.resolve`, this raises nothing for a link that leads back to itself."""
    return Path(os.path.realpath(path))


def _is_all_of(slide: NamedSlide, other: NamedSlide) -> bool:
    """True if a slide has no file that another one with the same first file has not."""
    if not isinstance(slide.place, Path) or not isinstance(other.place, Path):
        return True
    try:
        ours, theirs = (_parts(one) for one in (slide.place, other.place))
    except OSError:  # it fails when its turn comes
        return False
    return ours <= theirs


def _parts(place: Path) -> set[tuple[int, int] | Path]:
    """What the other files of a slide are for their disks."""
    if place.is_dir():
        return set()
    states = ((path, path.stat()) for path in registry().formats.parts(place))
    return {(state.st_dev, state.st_ino) if state.st_ino else path.resolve() for path, state in states}


def _hard_linked(state: os.stat_result | None) -> tuple[int, int] | None:
    """What a file is for its disk, if it has several names there."""
    if state is None or not S_ISREG(state.st_mode) or state.st_nlink == 1 or not state.st_ino:
        return None
    return state.st_dev, state.st_ino


def given_twice(slides: Sequence[NamedSlide]) -> dict[NamedSlide, str]:
    """Slides that are files of a slide that an earlier one stands for, too, with the reason and the remedy.

    `named_slides` leaves none such; who names slides otherwise may.
    """
    local = [slide for slide in slides if isinstance(slide.place, Path)]
    same = {slide: other for slide, other in same_slides(local, FileStates()).items() if slide is not other}
    first: dict[SlidePlace, NamedSlide] = {}
    for slide, stands_for in [*_on_disks(local), *_at_addresses(slides)]:
        for whole in stands_for:
            other = first.setdefault(whole, slide)
            if other is not slide:
                same.setdefault(slide, other)
    return {
        slide: f"{slide.place}: is the same slide as {other.place}, and would be there twice; leave one out"
        for slide, other in same.items()
        if other.name != slide.name  # which is refused anyway
    }


def _on_disks(slides: Sequence[NamedSlide]) -> Iterator[tuple[NamedSlide, Sequence[SlidePlace]]]:
    for slide in slides:
        with suppress(OSError, SlideError):  # it fails when its turn comes
            stands_for = registry().formats.slides_of(cast("Path", slide.place), is_named=True) or ()
            yield slide, [_real(whole.parent) / whole.name for whole in stands_for]


def _at_addresses(slides: Sequence[NamedSlide]) -> Iterator[tuple[NamedSlide, Sequence[SlidePlace]]]:
    at = {slide: slide.place for slide in slides if isinstance(slide.place, Address)}
    try:
        found = RemoteSearch().slides_at(list(at.values()), recursive=False) if len(at) > 1 else {}
    except SlideloomError as error:  # such a slide fails when its turn comes
        log.warning("the addresses of the run could not be compared, so a slide may be there twice: %s", error)
        return
    yield from ((slide, found.get(place, ())) for slide, place in at.items())


def copies_among(slides: Sequence[NamedSlide], states: FileStates) -> dict[Path, Path]:
    """For each slide that seems to be a copy of an earlier one, whatever it is called, that one.

    Samples of content are compared (see `fingerprint`), and only of slides whose files have the same size and the same
    middle, so that few are read of many uncompressed ones. Slides that are folders are compared if they have the same
    name, as it takes long to look through them.

    Args:
        slides: those to be compared.
        states: of their files, as far as they were asked for.
    """
    sizes: dict[int | str, list[Path]] = {}
    for slide in slides:
        if isinstance(slide.place, Path) and (state := states.state(slide.place)) is not None:
            # Empty files are alike, and no slides; a pipe or a device would be waited for, or never end.
            if S_ISREG(state.st_mode) and state.st_size:
                sizes.setdefault(state.st_size, []).append(slide.place)
            elif S_ISDIR(state.st_mode):
                sizes.setdefault(own_name(slide.name).casefold(), []).append(slide.place)
    alike: dict[object, list[Path]] = {}
    for size, paths in sizes.items():
        for path in paths if len(paths) > 1 else ():
            with suppress(OSError):
                alike.setdefault((size, _middle(path, size)), []).append(path)
    first: dict[object, Path] = {}
    copies: dict[Path, Path] = {}
    for path in (path for paths in alike.values() if len(paths) > 1 for path in paths):
        with suppress(OSError):
            files: list[Any] = fingerprint(path)  # Any: the name, size, time and sample of each
            content = tuple(sorted((size, sample) for _, size, _, sample in files))
            if (original := first.setdefault(content, path)) != path:
                copies[path] = original
    return copies


def _middle(path: Path, size: int | str) -> bytes:
    """Some bytes from the middle of a file, where pictures of one size differ as a rule; none of a folder."""
    if isinstance(size, str):
        return b""
    with path.open("rb", buffering=0) as file:
        file.seek(size // 2)
        return file.read(_MIDDLE)
