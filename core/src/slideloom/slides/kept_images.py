"""Images of a slide that several steps look at, kept for the next one that asks."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from typing import Any

from numpy.typing import NDArray

from slideloom.base.geometry import Point, Size
from slideloom.pixels.mosaic import Mosaic

Image = NDArray[Any]  # Any: pixels, or what a step computed from them, such as a mask


class KeptImages:
    """The most recently used images, up to a number of bytes. Thread-safe.

    Args:
        most_bytes: limit for all images together.
        most_image_bytes: an image that takes more than this is not kept; half of the limit by default.
    """

    def __init__(self, most_bytes: int, *, most_image_bytes: int | None = None) -> None:
        self._most_bytes = most_bytes
        self._most_image_bytes = most_bytes // 2 if most_image_bytes is None else most_image_bytes
        self._images: OrderedDict[Hashable, Image] = OrderedDict()
        self._parts: dict[int, tuple[Point, Size]] = {}  # origin and size of what was last kept of a level
        self._lock = threading.Lock()
        self._making = threading.RLock()  # an image may be made from another one that is kept here

    @property
    def held_bytes(self) -> int:
        """Memory in use, in bytes."""
        with self._lock:
            return sum(image.nbytes for image in self._images.values())

    def get(self, key: Hashable) -> Image | None:
        """The image kept under this key, not to be written to; None if there is none."""
        with self._lock:
            if key in self._images:
                self._images.move_to_end(key)
            return self._images.get(key)

    def keep(self, key: Hashable, image: Image) -> None:
        """Keep an image that is not written to any more; the least recently used images make room for it."""
        if image.nbytes > self._most_image_bytes:
            return
        with self._lock:
            self._images[key] = image
            self._images.move_to_end(key)
            while sum(kept.nbytes for kept in self._images.values()) > self._most_bytes:
                self._images.popitem(last=False)

    def made(self, key: Hashable, make: Callable[[], Image]) -> Image:
        """The image kept under this key, not to be written to; made and kept if there is none.

        Threads that ask for the same image at once wait for the one that makes it.
        """
        image = self.get(key)
        if image is None:
            with self._making:
                image = self.get(key)
                if image is None:
                    image = make()
                    self.keep(key, image)
        return image

    def part(self, level: int, origin: Point, size: Size, read: Callable[[], Image]) -> Image:
        """Pixels of a level from `origin` on, as `made` keeps them; `windows` are cut from them."""
        image = self.made((level, origin, size), read)
        self._parts[level] = (origin, size)
        return image

    def forget(self, *, but_of: int | None = None) -> None:
        """Keep nothing but what is kept of one level by `part`."""
        with self._lock:
            part = None if but_of not in self._parts else (but_of, *self._parts[but_of])
            self._images = OrderedDict((key, image) for key, image in self._images.items() if key == part)

    def windows(self, level: int, origins: Sequence[Point], size: Size) -> list[Mosaic] | None:
        """Windows of one size of a level, if what is kept of it holds all of them."""
        if level not in self._parts:
            return None
        start, reach = self._parts[level]
        places = [(origin.x - start.x, origin.y - start.y) for origin in origins]
        fits = all(0 <= x <= reach.width - size.width and 0 <= y <= reach.height - size.height for x, y in places)
        source = self.get((level, start, reach)) if fits else None
        return None if source is None else [Mosaic.of(source).part(x, y, size.width, size.height) for x, y in places]
