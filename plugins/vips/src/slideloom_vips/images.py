"""libvips images: opening, conversion to RGB, and multi-threaded reads that survive damaged areas."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyvips
from slideloom import Rgb, SlideError

from slideloom_vips.levels import Stored

# No operation is repeated here: libvips' operation cache would only keep files open, and return pixels of a file that
# has been replaced or of a tile that could not be decoded.
pyvips.cache_set_max(0)
pyvips.concurrency_set(1)  # the core runs the threads

# An image that is not tiled is decoded whole, into a temporary file above 100 MB; larger images than this are refused.
MAX_WHOLE_BYTES = 4 << 30
MAX_TILE_BYTES = 256 << 20

_BYTES_PER_CHANNEL = {"uchar": 1, "ushort": 2}
REMEDY = "if it is a copy, copy it again from its source; else name another reader or convert it to tiled RGB TIFF"


def opened(path: Path, options: tuple[tuple[str, int], ...] = ()) -> Any:  # Any: pyvips has no types
    """The image of `path` that `options` select, as a libvips image that is not decoded yet.

    Raises:
        SlideError: libvips cannot open it.
    """
    try:
        return pyvips.Image.new_from_file(str(path), access="random", fail_on="error", **dict(options))
    except pyvips.Error as error:
        raise SlideError(f"{path.name}: libvips cannot open it: {one_line(error)}; {REMEDY}") from error


def has(image: Any, field: str) -> bool:
    """True if the image carries this metadata field."""
    return bool(image.get_typeof(field))


def as_rgb(image: Any, path: Path) -> Any:
    """The image with three 8-bit sRGB channels: the upper 8 of 16 bits, and transparency over white.

    Raises:
        SlideError: it is not a colour image, but has floating-point numbers or many channels, for example.
    """
    if image.format not in _BYTES_PER_CHANNEL:
        raise SlideError(
            f"{path.name}: its pixels are of type {image.format}, not 8 or 16 bits without sign; convert it to RGB"
        )
    try:
        if image.interpretation != "srgb":
            image = image.colourspace("srgb")
        if image.hasalpha():
            image = image.flatten(background=[255, 255, 255])
    except pyvips.Error as error:
        raise SlideError(f"{path.name}: its colours cannot be read as RGB: {one_line(error)}; {REMEDY}") from error
    if image.bands != 3 or image.format != "uchar":
        raise SlideError(f"{path.name}: it has {image.bands} channels, not RGB, grey or CMYK; convert it to RGB")
    return image


def check_cost(image: Any, path: Path) -> None:
    """Refuse an image whose decoding would need absurd memory.

    Raises:
        SlideError: it does; the message names the remedy.
    """
    per_pixel = image.bands * _BYTES_PER_CHANNEL.get(image.format, 8)
    if has(image, "tile-width"):
        tile = image.get("tile-width") * image.get("tile-height") * per_pixel
        if tile > MAX_TILE_BYTES:
            raise SlideError(f"{path.name}: one tile decodes to {tile >> 20} MiB; write it again with smaller tiles")
    elif image.width * image.height * per_pixel > MAX_WHOLE_BYTES:
        gib = image.width * image.height * per_pixel / (1 << 30)
        raise SlideError(
            f"{path.name}: {image.width}x{image.height} px are not stored in tiles and decode to {gib:.0f} GiB; "
            "if the file is to be trusted, convert it: vips tiffsave IN OUT.tif --tile --pyramid --compression jpeg"
        )


class Level:
    """Reads one level from several threads.

    For a tiled image, libvips reports a tile that cannot be decoded once, and then returns black pixels for it. So
    every read in progress has its own image, which is discarded after an error. Without tiles there is one image,
    decoded whole at the first read; it keeps failing after an error.

    Args:
        path: of the file.
        stored: which image of the file.
        reads_at_once: most images; each keeps 1.5 rows of decoded tiles.
    """

    def __init__(self, path: Path, stored: Stored, *, reads_at_once: int) -> None:
        self._path = path
        self._stored = stored
        self._limit = threading.BoundedSemaphore(reads_at_once)
        self._lock = threading.Lock()
        self._free: list[Any] = []
        self._whole: Any = None

    def read(self, *, x: int, y: int, width: int, height: int) -> Rgb:
        """(height, width, 3) uint8, read-only, of an area that is entirely on the level.

        Raises:
            SlideError: it cannot be decoded.
        """
        if not self._stored.is_tiled:
            return self._fetch(self._decoded_whole(), x, y, width, height)
        with self._limit:
            with self._lock:
                image = self._free.pop() if self._free else None
            if image is None:
                image = as_rgb(opened(self._path, self._stored.options), self._path)
            rgb = self._fetch(image, x, y, width, height)
            with self._lock:
                self._free.append(image)
        return rgb

    def close(self) -> None:
        """Release the images; running reads keep theirs."""
        with self._lock:
            self._free.clear()
            self._whole = None

    def _decoded_whole(self) -> Any:
        with self._lock:
            if self._whole is None:
                self._whole = as_rgb(opened(self._path, self._stored.options), self._path)
            return self._whole

    def _fetch(self, image: Any, x: int, y: int, width: int, height: int) -> Rgb:
        try:
            pixels = pyvips.Region.new(image).fetch(x, y, width, height)
        except pyvips.Error as error:
            raise SlideError(
                f"{self._path.name}: {width}x{height} px at ({x}, {y}) cannot be decoded: {one_line(error)}; {REMEDY}"
            ) from error
        rgb: Rgb = np.frombuffer(pixels, np.uint8).reshape(height, width, 3)
        return rgb


def one_line(error: Exception) -> str:
    """libvips' message, which has several lines, as one line."""
    detail = getattr(error, "detail", "") or str(error)
    if isinstance(detail, bytes):
        detail = detail.decode(errors="replace")
    return "; ".join(dict.fromkeys(line.strip() for line in str(detail).splitlines() if line.strip()))
