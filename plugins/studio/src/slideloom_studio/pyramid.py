"""A slide as square pictures in powers of two, for the viewer: z = 0 shows all of it, the last z its own pixels."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable
from math import ceil

import numpy as np
import simplejpeg
from attrs import frozen
from slideloom.base.geometry import Box, Rgb, Size
from slideloom.viewing.view_pyramid import ViewPyramid

from slideloom_studio.calls import Refused

TILE_PX = 256
QUALITY = 90
KEPT_BYTES = 64_000_000
_WHITE = 255


@frozen
class Zoom:
    """One resolution of the pyramid.

    Attributes:
        z: its number; 0 is the coarsest.
        downsample: level-0 pixels per pixel, a power of two.
        columns, rows: number of tiles.
    """

    z: int
    downsample: int
    columns: int
    rows: int


def zooms(size: Size) -> list[Zoom]:
    """The resolutions of a slide, from the one that fits into one tile to level 0."""
    last = 0
    while max(size.width, size.height) > TILE_PX << last:
        last += 1
    found = []
    for z in range(last + 1):
        covered = TILE_PX << (last - z)
        found.append(Zoom(z, 1 << (last - z), ceil(size.width / covered), ceil(size.height / covered)))
    return found


def tile_box(size: Size, *, z: int, column: int, row: int) -> Box:
    """What a tile shows, in level-0 pixels; at the right and the bottom it reaches beyond the slide.

    Raises:
        Refused: there is no such tile.
    """
    known = zooms(size)
    if not (0 <= z < len(known) and 0 <= column < known[z].columns and 0 <= row < known[z].rows):
        raise Refused(404, f"the slide has no tile {column}, {row} at zoom {z}; reload the page")
    covered = TILE_PX * known[z].downsample
    return Box(column * covered, row * covered, covered, covered)


def tile_rgb(view: ViewPyramid, box: Box) -> Rgb:
    """A tile's pixels, (256, 256, 3) uint8.

    Raises:
        SlideError: they cannot be read.
    """
    return view.at(box.width / TILE_PX, box.x, box.y, Size(TILE_PX, TILE_PX))


def padded(rgb: Rgb, box: Box, size: Size) -> Rgb:
    """A tile with white beyond the slide, whatever the slide's background is."""
    downsample = box.width / TILE_PX
    width, height = ceil((size.width - box.x) / downsample), ceil((size.height - box.y) / downsample)
    if width >= TILE_PX and height >= TILE_PX:
        return rgb
    result: Rgb = np.full_like(rgb, _WHITE)
    result[:height, :width] = rgb[:height, :width]
    return result


def jpeg(rgb: Rgb) -> bytes:
    """(H, W, 3) uint8 as JPEG, with colours in full resolution (4:4:4)."""
    content: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(rgb), quality=QUALITY, colorsubsampling="444")
    return content


class KeptPictures:
    """The most recently made pictures as bytes, up to a total size. Thread-safe.

    Args:
        most_bytes: of all pictures together.
    """

    def __init__(self, most_bytes: int = KEPT_BYTES) -> None:
        self._most_bytes = most_bytes
        self._kept: OrderedDict[Hashable, bytes] = OrderedDict()
        self._held = 0
        self._lock = threading.Lock()

    def get(self, key: Hashable) -> bytes | None:
        """The picture kept under this key, if any."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: Hashable, content: bytes) -> None:
        """Keep a picture; those not used for longest make room for it."""
        with self._lock:
            self._held += len(content) - len(self._kept.pop(key, b""))
            self._kept[key] = content
            while self._held > self._most_bytes:
                self._held -= len(self._kept.popitem(last=False)[1])

    @property
    def held_bytes(self) -> int:
        """Memory in use."""
        with self._lock:
            return self._held
