"""The slide at any magnification for a viewer: coarse levels from memory, read once, and fine ones from the file."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from math import ceil, floor

import numpy as np

from slideloom.base.geometry import Box, Rgb, Size
from slideloom.slides.slide import Slide

# The finest level in memory has at most this many pixels, 50 MB; with the coarser ones 67 MB.
MOST_PX = 4096 * 4096
# Pixels of the file that one read decodes while the levels are made.
_READ_PX = 4_000_000
_ON_GRID = 1e-3  # of a pixel, that far off counts as a whole one


class ViewPyramid:
    """Pictures of a slide for a viewer. Thread-safe.

    The first coarse picture reads the whole slide once, from the coarsest stored level that is fine enough; all others
    are then cut from memory. Other threads wait for that only if they want a coarse picture, too.

    Args:
        slide: open, and thread-safe.
        threads: that read the slide at once for the coarse levels.

    Attributes:
        least: downsample of the finest level in memory, a power of two.
    """

    def __init__(self, slide: Slide, *, threads: int = 1) -> None:
        self._slide, self._threads = slide, threads
        self._making = threading.Lock()
        self._levels: list[Rgb] = []  # each half as wide as the one before
        self.least = 1
        while ceil(slide.info.size.width / self.least) * ceil(slide.info.size.height / self.least) > MOST_PX:
            self.least *= 2

    def at(self, downsample: float, x: float, y: float, size: Size) -> Rgb:
        """Part of the slide.

        Args:
            downsample: level-0 pixels along each side of a pixel of the picture, above 0; below 1 enlarges.
            x, y: of its top left corner, in level-0 pixels.
            size: of the picture.

        Returns:
            (size.height, size.width, 3) uint8, in new memory; the slide's background outside of it.

        Raises:
            SlideError: pixels cannot be read.
        """
        return self.within(Box(x, y, size.width * downsample, size.height * downsample), size)

    def within(self, box: Box, size: Size) -> Rgb:
        """The part of the slide in a level-0 box, as a picture of a size; see `at`."""
        downsample = min(box.width / size.width, box.height / size.height)
        if downsample < self.least:
            return self._slide.read_at(box, size)
        levels = self._made()
        number = min(len(levels) - 1, int(np.log2(downsample / self.least + 1e-9)))
        return self._cut(levels[number], box.scaled(x=1 / (self.least << number), y=1 / (self.least << number)), size)

    def _cut(self, level: Rgb, box: Box, size: Size) -> Rgb:
        """Part of a level, by a box in its pixels."""
        left, top = floor(box.x + 1e-6), floor(box.y + 1e-6)
        right, bottom = max(left + 1, ceil(box.right - 1e-6)), max(top + 1, ceil(box.bottom - 1e-6))
        height, width = level.shape[:2]
        window: Rgb = np.empty((bottom - top, right - left, 3), np.uint8)
        if left < 0 or top < 0 or right > width or bottom > height:
            window[...] = self._slide.info.background
        x0, x1, y0, y1 = max(left, 0), min(right, width), max(top, 0), min(bottom, height)
        if x0 < x1 and y0 < y1:
            window[y0 - top : y1 - top, x0 - left : x1 - left] = level[y0:y1, x0:x1]
        inner = box.moved(x=-left, y=-top)
        if window.shape[:2] == (size.height, size.width) and max(abs(inner.x), abs(inner.y)) < _ON_GRID:
            return window
        return self._slide.resample(window, box=inner, size=size)

    def _made(self) -> list[Rgb]:
        if not self._levels:
            with self._making:
                if not self._levels:
                    self._levels = self._halved(self._read())
        return self._levels

    def _read(self) -> Rgb:
        """The finest level: (h, w, 3) uint8, its last column and row cover what is left of the slide."""
        info, step = self._slide.info, self.least
        shape = ceil(info.size.height / step), ceil(info.size.width / step)
        level = info.level_for(step)
        stored = info.levels[level]
        source_px = step * step / (stored.downsample_x * stored.downsample_y)
        rows = max(1, int(_READ_PX / (source_px * shape[1])))
        rows = max(64, rows // 64 * 64) if rows >= 64 else rows  # whole rows of stored tiles, mostly
        columns = max(1, min(shape[1], int(_READ_PX / (source_px * rows))))
        base: Rgb = np.empty((*shape, 3), np.uint8)

        def fill(place: tuple[int, int]) -> None:
            top, left = place
            part = base[top : top + rows, left : left + columns]
            height, width = part.shape[:2]
            box = Box(left * step, top * step, width * step, height * step)
            part[...] = self._slide.read_boxes([box], Size(width, height), level=level)[0]

        places = [(top, left) for top in range(0, shape[0], rows) for left in range(0, shape[1], columns)]
        if self._threads == 1:
            for place in places:
                fill(place)
        else:
            with ThreadPoolExecutor(self._threads, thread_name_prefix="slideloom-view") as pool:
                list(pool.map(fill, places))
        return base

    @staticmethod
    def _halved(base: Rgb) -> list[Rgb]:
        """The level, and each next one half as wide, until one has a single pixel along a side."""
        levels = [base]
        while max(levels[-1].shape[:2]) > 1:
            levels.append(_half(levels[-1]))
        return levels


def _half(rgb: Rgb) -> Rgb:
    """Each pixel the mean of 2 x 2, rounded half up; a last odd row or column counts twice."""
    height, width = rgb.shape[:2]
    if height % 2 or width % 2:
        rgb = np.pad(rgb, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
    total = rgb[0::2, 0::2].astype(np.uint16)
    for part in (rgb[0::2, 1::2], rgb[1::2, 0::2], rgb[1::2, 1::2]):
        total += part
    half: Rgb = ((total + 2) >> 2).astype(np.uint8)
    return half
