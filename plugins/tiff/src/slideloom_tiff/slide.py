"""Slides whose JPEG tiles are read from their byte ranges and decoded once."""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import simplejpeg
from slideloom import (
    Box,
    NativeResampler,
    Point,
    Reader,
    Rgb,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    levels_from_sizes,
    slide_name,
)

from slideloom_tiff import metadata
from slideloom_tiff.directories import Directory, NotTiffError, read_directories
from slideloom_tiff.levels import TiledLevel, is_aperio, slide_levels

cv2.setNumThreads(1)  # the core's threads work on tiles of their own; OpenCV's would only compete

_resample = NativeResampler(cv2)
_WHITE = 255


class TiffFiles(Reader):
    """Opens SVS and TIFF files whose levels are grids of JPEG tiles.

    Args:
        cache_bytes: decoded source tiles kept per thread.
    """

    def __init__(self, *, cache_bytes: int) -> None:
        self._cache_bytes = cache_bytes

    def recognises(self, path: Path) -> bool:
        """True if every level of the file is a grid of JPEG tiles that lies within the file."""
        try:
            if not path.is_file():
                return False
            images = read_directories(path)
            levels = slide_levels(images)
        except (NotTiffError, OSError):  # another format, or damaged: the other readers say what is wrong
            return False
        return levels is not None

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        try:
            images = read_directories(path)
        except (NotTiffError, OSError) as error:
            raise SlideError(f"{path.name}: cannot be read as TIFF ({error}); copy it again from its source") from error
        levels = slide_levels(images)
        if levels is None:
            raise SlideError(f"{path.name}: is not a slide of JPEG tiles; let another reader open it")
        return TiffSlide(path, images, levels, cache_bytes=self._cache_bytes)


class TiffSlide(Slide):
    """One slide, open. Each thread has a cache of the source tiles it decoded last."""

    def __init__(
        self, path: Path, images: Sequence[Directory], levels: Sequence[TiledLevel], *, cache_bytes: int
    ) -> None:
        found = metadata.properties(images)
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="tiff",
            levels=levels_from_sizes([level.size for level in levels]),
            mpp=metadata.resolution(found),
            tiff_mpp=metadata.tiff_resolution(images),
            objective_power=metadata.objective_power(found),
            vendor="aperio" if is_aperio(images) else "generic-tiff",
            properties=found,
        )
        self._levels = list(levels)
        self._name = path.name
        self._cache_bytes = cache_bytes
        self._local = threading.local()
        try:
            self._file = _File(path)
        except OSError as error:
            raise SlideError(f"{path.name}: cannot be opened: {error.strerror}") from error

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        return _resample(rgb, box=box, size=size)

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        stored = self._levels[level]
        left, top = max(0, origin.x), max(0, origin.y)
        right = min(stored.size.width, origin.x + size.width)
        bottom = min(stored.size.height, origin.y + size.height)
        whole = (right - left, bottom - top) == (size.width, size.height)
        if whole:
            rgb = np.empty((size.height, size.width, 3), np.uint8)
        else:
            rgb = np.full((size.height, size.width, 3), _WHITE, np.uint8)
        if right <= left or bottom <= top:
            return rgb
        width, height = stored.tile.width, stored.tile.height
        for row in range(top // height, (bottom - 1) // height + 1):
            y0, y1 = max(top, row * height), min(bottom, (row + 1) * height)
            for column in range(left // width, (right - 1) // width + 1):
                x0, x1 = max(left, column * width), min(right, (column + 1) * width)
                tile = self._tile(level, row * stored.columns + column)
                target = rgb[y0 - origin.y : y1 - origin.y, x0 - origin.x : x1 - origin.x]
                if tile is None:
                    target[...] = _WHITE
                else:
                    target[...] = tile[y0 - row * height : y1 - row * height, x0 - column * width : x1 - column * width]
        return rgb

    def _tile(self, level: int, index: int) -> Rgb | None:
        """A decoded source tile, None if it was never written.

        Raises:
            SlideError: its bytes are damaged.
        """
        cache: OrderedDict[tuple[int, int], Rgb | None] | None = getattr(self._local, "cache", None)
        if cache is None:
            cache = self._local.cache = OrderedDict()
        key = (level, index)
        if key in cache:
            cache.move_to_end(key)
            return cache[key]
        tile = self._decoded(level, index)
        cache[key] = tile
        stored = self._levels[level].tile
        if len(cache) * stored.area * 3 > self._cache_bytes and len(cache) > 1:
            cache.popitem(last=False)
        return tile

    def _decoded(self, level: int, index: int) -> Rgb | None:
        stored = self._levels[level]
        offset, length = int(stored.offsets[index]), int(stored.lengths[index])
        if not length:
            return None
        try:
            content = self._file.read(offset, length)
            tile: Rgb = simplejpeg.decode_jpeg(stored.head + content[2:], "RGB")
        except (ValueError, OSError) as error:
            raise self._damaged(level, index, str(error)) from error
        if tile.shape != (stored.tile.height, stored.tile.width, 3):
            raise self._damaged(level, index, f"it holds {tile.shape[1]} x {tile.shape[0]} pixels")
        return tile

    def _damaged(self, level: int, index: int, why: str) -> SlideError:
        return SlideError(f"{self._name}: tile {index} of level {level} is damaged ({why}); copy the slide again")


class _File:
    """Byte ranges of a file, for many threads."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb", buffering=0)
        self._lock = threading.Lock()

    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`.

        Raises:
            ValueError: the file ends before that, or was closed.
        """
        if hasattr(os, "pread"):
            content = os.pread(self._file.fileno(), length, offset)
        else:
            with self._lock:
                self._file.seek(offset)
                content = self._file.read(length)
        if len(content) != length:
            raise ValueError(f"the file ends {length - len(content)} bytes too early")
        return content

    def close(self) -> None:
        """Release the file."""
        self._file.close()
