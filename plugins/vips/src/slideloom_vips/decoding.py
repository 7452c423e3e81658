"""Pixels out of libvips, and none where a file is damaged.

libvips decodes a damaged JPEG tile as far as it can, makes the rest up, and calls that a success; but libjpeg's warning
is then among libvips' messages. These are one text for the whole process. So reads that run at the same time only learn
that one of them may be bad, and each of them is repeated alone.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pyvips
from pyvips import ffi, glib_lib, vips_lib


class Undecodable(Exception):
    """What libvips said, on one line."""


class _Reads:
    """Reads that run together, and one that runs alone."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._together = 0
        self._is_alone = False
        self._messages = threading.Lock()  # of who looks at libvips' messages while others read
        self._failed = 0  # reads; each took everybody's messages away

    def fetched(self, image: Any, x: int, y: int, width: int, height: int) -> tuple[memoryview, bool]:
        """The pixels of a place, and True if they are good; if not, `fetched_alone` knows.

        Raises:
            Undecodable: they cannot be decoded.
        """
        with self._with_others():
            before = self._failed
            pixels = _region(image, x, y, width, height)
            with self._messages:
                if pixels is None:
                    self._failed += 1
                    raise Undecodable(_taken())
                return pixels, before == self._failed and not _text()

    def fetched_alone(self, image: Any, x: int, y: int, width: int, height: int) -> memoryview:
        """The pixels of a place of an image that nothing was read of yet, while no other read runs.

        Raises:
            Undecodable: they cannot be decoded, or in part only.
        """
        with self.alone():
            vips_lib.vips_error_clear()
            pixels = _region(image, x, y, width, height)
            said = _taken()
        if pixels is None or said:
            raise Undecodable(said)
        return pixels

    @contextmanager
    def _with_others(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """While no read runs. For what takes libvips' messages away when it fails, such as opening a file."""
        with self._changed:
            self._changed.wait_for(lambda: not self._is_alone)
            self._is_alone = True
            self._changed.wait_for(lambda: not self._together)
        try:
            yield
        finally:
            with self._changed:
                self._is_alone = False
                self._changed.notify_all()


reads = _Reads()


def _region(image: Any, x: int, y: int, width: int, height: int) -> memoryview | None:
    # Not `Region.fetch`, which takes the messages away before anybody can say that it did.
    region = pyvips.Region.new(image)
    size = ffi.new("size_t *")
    pointer = vips_lib.vips_region_fetch(region.pointer, x, y, width, height, size)
    if pointer == ffi.NULL:
        return None
    return memoryview(ffi.buffer(ffi.gc(pointer, glib_lib.g_free), size[0]))


def _text() -> str:
    return str(ffi.string(vips_lib.vips_error_buffer()).decode(errors="replace"))


def _taken() -> str:
    """All messages so far as one line; there are none afterwards."""
    text = one_line(_text())
    vips_lib.vips_error_clear()
    return text


def one_line(text: str) -> str:
    """libvips' message, which spreads over several lines and may repeat itself, as one."""
    return "; ".join(dict.fromkeys(line.strip() for line in text.splitlines() if line.strip()))
