"""libvips images: opening, conversion to RGB, and multi-threaded reads that survive damaged areas."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyvips
import simplejpeg
from slideloom import Point, Rgb, Size, SlideError, option_given
from slideloom_formats.tiff import jpeg_fault

from slideloom_vips.checks import checks_of
from slideloom_vips.decoding import Undecodable, one_line, reads
from slideloom_vips.levels import Stored

# No operation is repeated here: libvips' operation cache would only keep files open, and return pixels of a file that
# has been replaced or of a tile that could not be decoded.
pyvips.cache_set_max(0)
pyvips.concurrency_set(1)  # the core runs the threads
# libvips warns of each tile that it does not decode. Here that is an error, or another reader takes the file.
logging.getLogger("pyvips").setLevel(logging.ERROR)

# An image that is not tiled is decoded whole, into a temporary file above 100 MB; larger images than this are refused.
MAX_WHOLE_BYTES = 4 << 30
MAX_TILE_BYTES = 256 << 20

_HALF_OF_16_BITS = 1 << 15  # bright glass is above this in any brightfield image that uses the whole range

_BYTES_PER_CHANNEL = {"uchar": 1, "ushort": 2}
REMEDY = "if it is a copy, copy it again from its source; else name another reader or convert it to tiled RGB TIFF"


def opened(
    path: Path, options: tuple[tuple[str, int], ...] = (), *, access: Literal["random", "sequential"] = "random"
) -> Any:  # Any: pyvips has no types
    """The image of `path` that `options` select, as libvips gives it, nothing decoded yet.

    Raises:
        SlideError: libvips cannot open it.
    """
    # libvips fills what it cannot decode with black or white unless a warning is a failure; it warns of harmless
    # things in PNG files only, and what is damaged there is an error.
    fail_on = "error" if is_png(path) else "warning"
    try:
        with reads.alone():
            return pyvips.Image.new_from_file(str(path), access=access, fail_on=fail_on, **dict(options))
    except pyvips.Error as error:
        raise SlideError(f"{path.name}: libvips cannot open it: {said(error)}; {REMEDY}") from error


def is_png(path: Path) -> bool:
    """True for a PNG file by its first bytes."""
    return _begins_with(path, b"\x89PNG")


def _is_jpeg(path: Path) -> bool:
    return _begins_with(path, b"\xff\xd8\xff")


def _begins_with(path: Path, signature: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(signature)) == signature
    except OSError:  # which opening will say better
        return False


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
        raise SlideError(f"{path.name}: its colours cannot be read as RGB: {said(error)}; {REMEDY}") from error
    if image.bands != 3 or image.format != "uchar":
        raise SlideError(f"{path.name}: it has {image.bands} channels, not RGB, grey or CMYK; convert it to RGB")
    return image


def is_readable(path: Path, options: tuple[tuple[str, int], ...]) -> bool:
    """True if the first row of an image can be decoded."""
    try:
        image = opened(path, options, access="sequential")
        reads.fetched_alone(image, 0, 0, image.width, 1)
    except (SlideError, Undecodable):
        return False
    return True


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


def check_range(image: Any, path: Path, options: tuple[tuple[str, int], ...], tiles: Sequence[Point]) -> None:
    """Refuse 16-bit samples that do not use all bits: 12 of 16, as cameras give them, would be nearly black.

    Args:
        image: as libvips opens it.
        path: of the file.
        options: that select the image.
        tiles: where some of its tiles begin; one that is not in tiles is decoded whole.

    Raises:
        SlideError: the brightest of these samples is in the darker half of the range.
    """
    if image.format != "ushort":
        return
    colours = image.bands - image.hasalpha()
    peak = 0
    for place in tiles:
        whole = Size(image.width, image.height)
        size = whole
        if has(image, "tile-width"):
            size = Size(image.get("tile-width"), image.get("tile-height"))
        width, height = min(size.width, whole.width - place.x), min(size.height, whole.height - place.y)
        try:
            raw = reads.fetched_alone(opened(path, options), place.x, place.y, width, height)
        except Undecodable:  # reading it says so
            continue
        peak = max(peak, int(np.frombuffer(raw, np.uint16).reshape(-1, image.bands)[:, :colours].max()))
    if 0 < peak < _HALF_OF_16_BITS:
        bits = peak.bit_length()
        scale = 255 / (2**bits - 1)
        raise SlideError(
            f"{path.name}: its 16-bit samples go up to {peak} only, as if they had {bits} bits, and would be shown "
            f"nearly black; name the white one: "
            f"{option_given('slides', 'reader', f'tifffile:white={2**bits - 1}')}, or stretch them: "
            f"vips linear {path.name} OUT.tif[tile,pyramid] {scale:.6g} 0 --uchar"
        )


class Level:
    """Reads one level from several threads.

    Tiles: libvips reports a tile that cannot be decoded once, and then hands out what it made of it. So every read in
    progress has an image of its own, and one that failed is thrown away. Without tiles there is one image, decoded
    whole at the first read; if that fails, so does every read.

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
        self._checks = checks_of(path, stored.options)
        self._whole: Any = None  # an image, or the error that decoding it met

    def read(self, *, x: int, y: int, width: int, height: int) -> Rgb:
        """(height, width, 3) uint8, read-only, of an area that is entirely on the level.

        Raises:
            SlideError: it cannot be decoded.
        """
        place = x, y, width, height
        with self._undecodable_as_slide_error(*place):
            if not self._stored.is_tiled:
                return _pixels(reads.fetched(self._decoded_whole(), *place)[0], width, height)
            self._check(*place)
            with self._limit:
                with self._lock:
                    image = self._free.pop() if self._free else None
                if image is None:
                    image = self._made()
                found, is_good = reads.fetched(image, *place)
                if not is_good:
                    return _pixels(reads.fetched_alone(self._made(), *place), width, height)
                with self._lock:
                    self._free.append(image)
            return _pixels(found, width, height)

    def _check(self, x: int, y: int, width: int, height: int) -> None:
        if self._checks is None:
            return
        try:
            fault = self._checks.fault(x=x, y=y, width=width, height=height)
        except OSError as error:
            raise Undecodable(error.strerror or str(error)) from error
        if fault is not None:
            raise Undecodable(fault)

    def _made(self) -> Any:
        return as_rgb(opened(self._path, self._stored.options), self._path)

    @contextmanager
    def _undecodable_as_slide_error(self, x: int, y: int, width: int, height: int) -> Iterator[None]:
        try:
            yield
        except Undecodable as error:
            raise SlideError(
                f"{self._path.name}: {width}x{height} px at ({x}, {y}) cannot be decoded: {error}; {REMEDY}"
            ) from error

    def close(self) -> None:
        """Release the images; running reads keep theirs."""
        with self._lock:
            self._free.clear()
            self._whole = None

    def _decoded_whole(self) -> Any:
        with self._lock:
            if self._whole is None:
                try:
                    self._whole = self._checked_whole()
                except Undecodable as error:
                    self._whole = error
            if isinstance(self._whole, Undecodable):
                raise self._whole
            return self._whole

    def _checked_whole(self) -> Any:
        self._check(0, 0, self._stored.size.width, self._stored.size.height)
        if _is_jpeg(self._path) and (fault := jpeg_fault(self._path.read_bytes(), simplejpeg)) is not None:
            raise Undecodable(fault)
        image = self._made()
        _, is_good = reads.fetched(image, 0, 0, 1, 1)  # decodes all
        if not is_good and not is_png(self._path):
            image = self._made()
            reads.fetched_alone(image, 0, 0, 1, 1)
        return image


def _pixels(content: memoryview, width: int, height: int) -> Rgb:
    rgb: Rgb = np.frombuffer(content, np.uint8).reshape(height, width, 3)
    return rgb


def said(error: pyvips.Error) -> str:
    """What libvips said, on one line."""
    detail = error.detail or str(error)
    return one_line(detail.decode(errors="replace") if isinstance(detail, bytes) else str(detail))
