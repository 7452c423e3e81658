"""A slide that is not open: what was noted of it when it was, and an error for all that only its file tells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from slideloom.base.errors import SlideError
from slideloom.base.geometry import Point, Rgb, Size
from slideloom.slides.info import SlideInfo
from slideloom.slides.slide import Slide


class NotOpened(SlideError):
    """What is asked for, only the slide's file tells."""

    def __init__(self, asked: str) -> None:
        super().__init__(f"the slide is not open, and its {asked} are not known")


class AskedProperties(Mapping[str, str]):
    """The properties of an open slide, which notes those that are asked for.

    Attributes:
        all: of them.
    """

    def __init__(self, properties: Mapping[str, str]) -> None:
        self.all = properties
        self._asked: dict[str, str | None] = {}
        self._is_all = False

    def asked(self) -> dict[str, str | None] | None:
        """Those asked for so far, None for each that the file does not have; None if somebody asked for all.

        The others are no one's business: they may name the patient.
        """
        return None if self._is_all else dict(self._asked)

    def __getitem__(self, name: str) -> str:
        self._asked[name] = self.all.get(name)
        return self.all[name]

    def __iter__(self) -> Iterator[str]:
        self._is_all = True
        return iter(self.all)

    def __len__(self) -> int:
        self._is_all = True
        return len(self.all)


class KnownProperties(Mapping[str, str]):
    """Some properties of a slide that is not open; whoever asks for another one learns that it is not known."""

    def __init__(self, known: Mapping[str, str | None]) -> None:
        self._known = known

    def __getitem__(self, name: str) -> str:
        if name not in self._known:
            raise NotOpened("properties")
        value = self._known[name]
        if value is None:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        raise NotOpened("properties")

    def __len__(self) -> int:
        raise NotOpened("properties")


class ClosedSlide(Slide):
    """A slide of which `info` and `identity` are known, and that cannot be read."""

    def __init__(self, info: SlideInfo, identity: list[Any]) -> None:
        self.info = info
        self.identity = identity

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """Raises `NotOpened`."""
        raise NotOpened("pixels")

    def icc_profile(self) -> bytes | None:
        """Raises `NotOpened`."""
        raise NotOpened("colours")
