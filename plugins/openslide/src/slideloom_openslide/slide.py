"""Slides read with OpenSlide."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import cv2
import numpy as np
import openslide
from numpy.typing import NDArray
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
    opencv_in_one_thread,
    slide_name,
)
from slideloom_formats.czi_files import czi_fault
from slideloom_formats.dicom import dicom_obstacle, frames_fault
from slideloom_formats.files_beside import missing_part
from slideloom_formats.openable import check_there
from slideloom_formats.tiff import StoredTiles, tiff_fault

from slideloom_openslide import metadata
from slideloom_openslide.interpolation import MARGIN_PX, NO_SHIFT, without_interpolation
from slideloom_openslide.plain_tiff import (
    check_plain_tiff,
    checks_of,
    is_first_largest,
    is_one_picture,
    levels_of,
    unusual_tiles,
)
from slideloom_openslide.settings import OpenSlideReader

_resample = NativeResampler(cv2)

# OpenSlide draws in parts of 4096 pixels and shifts each slightly differently; our reads, with margins, are smaller.
_PART_PX = 2048
_DAMAGED = "the file is damaged or cut short: copy it again from its source"
_CONVERT = "OpenSlide does not read slides of this kind: name another reader, or convert the slide (QuPath, bfconvert)"
# What OpenSlide says of files that are whole, and of a kind that it does not read.
_OTHER_KIND = re.compile(r"unsupported|not supported|unrecogni[sz]ed|attribute \w+ value|unexpected|can't handle", re.I)
_UNKNOWN_COMPRESSION = "Unsupported TIFF compression"  # of an SVS
# Rounding leaves an alpha of 254 at the seams between its tiles.
_OPAQUE = 250


class OpenSlideFiles(Reader):
    """Opens the formats that OpenSlide supports.

    Args:
        settings: how much memory to use.
    """

    def __init__(self, settings: OpenSlideReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True if OpenSlide supports the format, or if the file is a truncated or damaged TIFF, so that `open` says so.

        False for an SVS in a compression that OpenSlide does not know; for a plain TIFF whose first tile it cannot
        decode, whose first image is not the largest, or which is not one RGB picture; for OME-TIFF, which it takes for
        a plain TIFF without its pyramid; and for DICOM and CZI that it cannot open, or only by ending the process.
        """
        if missing_part(path) or dicom_obstacle(path) or _structure_fault(path):
            return False
        if unusual_tiles(path) is not None:
            return True  # so that `open` can say so
        try:
            vendor = openslide.OpenSlide.detect_format(path)
            if vendor == "generic-tiff":
                with openslide.OpenSlide(path) as slide:
                    slide.read_region((0, 0), 0, (1, 1))
                    is_ome = "<OME" in slide.properties.get("tiff.ImageDescription", "")[:2000]
                return not is_ome and is_first_largest(path) and is_one_picture(path)
            if vendor in ("dicom", "zeiss"):  # known by their first bytes, whatever kind of image follows
                with openslide.OpenSlide(path):
                    return True
            if vendor == "aperio":
                return is_one_picture(path) and not _has_unknown_compression(path)
        except (openslide.OpenSlideError, OSError):
            vendor = None
        return vendor is not None or tiff_fault(path) is not None

    def refusal(self, path: Path) -> str | None:
        """See `Reader.refusal`."""
        return _structure_fault(path)

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        obstacle = missing_part(path) or dicom_obstacle(path) or _structure_fault(path)
        if obstacle is not None:
            raise SlideError(f"{path.name}: {obstacle}")
        unusual = unusual_tiles(path)
        if unusual is not None:
            raise SlideError(unusual)
        return OpenSlideSlide(path, cache_bytes=self._settings.cache_mb << 20)


def _structure_fault(path: Path) -> str | None:
    """What OpenSlide does not see, or ends the process for, in the structure of a DICOM or CZI file."""
    try:
        return frames_fault(path) or czi_fault(path)
    except OSError:  # opening it says so
        return None


def _has_unknown_compression(path: Path) -> bool:
    """True for an SVS that OpenSlide knows by its description, and cannot decode."""
    try:
        openslide.OpenSlide(path).close()
    except openslide.OpenSlideError as error:
        return _UNKNOWN_COMPRESSION in str(error)
    return False


class OpenSlideSlide(Slide):
    """An open slide.

    OpenSlide maps positions with one downsample per level, an average of both axes such as 4.0003, and interpolates
    between pixels if a whole level-0 position is not whole on that level. Pixels are exact on levels whose downsample
    is whole; elsewhere the interpolation is undone, to within 0.2 grey levels on average and 3 at most.
    """

    def __init__(self, path: Path, *, cache_bytes: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._cache = openslide.OpenSlideCache(cache_bytes)
        self._handle: openslide.OpenSlide | None = self._opened()
        try:
            sizes = [Size(width, height) for width, height in self._handle.level_dimensions]
            downsamples = self._handle.level_downsamples
            properties = metadata.readable(self._handle.properties)
        except openslide.OpenSlideError as error:
            raise self._damaged("its levels cannot be listed", error) from error
        check_plain_tiff(path, properties)
        # OpenSlide's number of each level. It takes any smaller tiled image of such a file for one, labels too.
        self._numbers = levels_of(path, sizes, properties)
        self._downsamples = tuple(downsamples[number] for number in self._numbers)
        sizes = [sizes[number] for number in self._numbers]
        self._checks = checks_of(path, sizes, properties)
        scanned = metadata.bounds(properties)
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="openslide",
            levels=levels_from_sizes(sizes),
            mpp=metadata.resolution(properties),
            tiff_mpp=metadata.tiff_resolution(properties),
            odd_mpp=metadata.odd_resolution(properties),
            objective_power=metadata.objective_power(properties),
            bounds=scanned.intersection(Box(0, 0, sizes[0].width, sizes[0].height)) if scanned else None,
            vendor=properties.get("openslide.vendor", ""),
            background=metadata.background(properties),
            properties=metadata.public(properties),
        )

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`. Only the part on the slide is read with OpenSlide; the rest is background."""
        stored = self.info.levels[level].size
        left, top = max(0, origin.x), max(0, origin.y)
        right, bottom = min(stored.width, origin.x + size.width), min(stored.height, origin.y + size.height)
        if right <= left or bottom <= top:
            return self._blank(size)
        with opencv_in_one_thread():
            rgb = self._on_level(Point(left, top), level, Size(right - left, bottom - top))
        if rgb.shape[:2] == (size.height, size.width):
            return rgb
        padded = self._blank(size)
        x, y = left - origin.x, top - origin.y
        padded[y : y + rgb.shape[0], x : x + rgb.shape[1]] = rgb
        return padded

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        with opencv_in_one_thread():
            return _resample(rgb, box=box, size=size)

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`."""
        handle = self._handle
        try:
            profile = None if handle is None else handle.color_profile
        except (openslide.OpenSlideError, OSError, ValueError) as error:
            raise SlideError(f"{self._path.name}: its ICC profile cannot be used ({error}); leave out icc") from error
        return None if profile is None else bytes(profile.tobytes())

    def close(self) -> None:
        """Release the file as soon as running reads are done."""
        with self._lock:
            self._handle = None

    def _blank(self, size: Size) -> Rgb:
        return np.full((size.height, size.width, 3), self.info.background, np.uint8)

    def _on_level(self, origin: Point, level: int, size: Size) -> Rgb:
        """Pixels of an area that is entirely on the level."""
        if self._downsamples[level].is_integer():
            return flattened(self._region(origin, level, size), background=self.info.background)
        rgb = np.empty((size.height, size.width, 3), np.uint8)
        for top in range(0, size.height, _PART_PX):
            for left in range(0, size.width, _PART_PX):
                part = Size(min(_PART_PX, size.width - left), min(_PART_PX, size.height - top))
                found = self._between_pixels(Point(origin.x + left, origin.y + top), level, part)
                rgb[top : top + part.height, left : left + part.width] = found
        return rgb

    def _between_pixels(self, origin: Point, level: int, size: Size) -> Rgb:
        """`_on_level` for levels on which OpenSlide interpolates."""
        stored = self.info.levels[level].size
        left, top = max(0, origin.x - MARGIN_PX), max(0, origin.y - MARGIN_PX)
        right = min(stored.width, origin.x + size.width + MARGIN_PX)
        bottom = min(stored.height, origin.y + size.height + MARGIN_PX)
        rgba = self._region(Point(left, top), level, Size(right - left, bottom - top))
        downsample = self._downsamples[level]
        shift_x, shift_y = (round(at * downsample) / downsample - at for at in (left, top))
        # The far edge is mixed with transparency, but its colour is right: OpenSlide's pixels are not premultiplied.
        is_opaque = rgba[:-1, :-1, 3].min(initial=255) >= _OPAQUE
        if is_opaque and max(abs(shift_x), abs(shift_y)) > NO_SHIFT:
            opaque: Rgb = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB).astype(np.uint8, copy=False)
            rgb = without_interpolation(opaque, shift_x=shift_x, shift_y=shift_y)
        else:
            rgb = flattened(rgba, background=self.info.background)
        x, y = origin.x - left, origin.y - top
        return rgb[y : y + size.height, x : x + size.width]

    def _region(self, origin: Point, level: int, size: Size) -> NDArray[np.uint8]:
        """(h, w, 4) uint8, not premultiplied, of an area that is entirely on the level.

        An OpenSlide handle fails for ever after its first error, and threads share it: damage read by another thread
        must not fail this read. So a failed read is repeated once with a new handle.
        """
        downsample, number = self._downsamples[level], self._numbers[level]
        place = (round(origin.x * downsample), round(origin.y * downsample))
        handle = self._handle
        if handle is None:
            raise SlideError(f"{self._path.name}: the slide was closed; open it again before reading")
        checks = self._checks[level]
        if checks is not None:
            self._check(checks, origin, level, size)
        try:
            return np.asarray(handle.read_region(place, number, (size.width, size.height)))
        except openslide.OpenSlideError:
            fresh = self._opened()
        try:
            pixels = np.asarray(fresh.read_region(place, number, (size.width, size.height)))
        except openslide.OpenSlideError as error:
            what = f"level {level}, {size.width}x{size.height} px at ({origin.x}, {origin.y})"
            self._replace(handle, self._opened())
            raise self._damaged(what, error) from error
        self._replace(handle, fresh)
        return pixels

    def _check(self, checks: StoredTiles, origin: Point, level: int, size: Size) -> None:
        what = f"level {level}, {size.width}x{size.height} px at ({origin.x}, {origin.y})"
        try:
            fault = checks.fault(x=origin.x, y=origin.y, width=size.width, height=size.height)
        except OSError as error:
            raise self._damaged(what, error) from error
        if fault is not None:
            raise SlideError(f"{self._path.name}: {what}: {fault}; {_DAMAGED}")

    def _replace(self, broken: openslide.OpenSlide, fresh: openslide.OpenSlide) -> None:
        # Never close the broken handle here, because another thread may be using it. It closes with its last reference.
        with self._lock:
            if self._handle is broken:
                self._handle = fresh

    def _opened(self) -> openslide.OpenSlide:
        try:
            handle = openslide.OpenSlide(self._path)
            handle.set_cache(self._cache)
        except (openslide.OpenSlideError, OSError) as error:
            raise self._unopened(error) from error
        return handle

    def _unopened(self, error: Exception) -> SlideError:
        """What keeps the slide from being opened."""
        check_there(self._path, may_be_folder=True)
        fault = tiff_fault(self._path)
        if fault is not None:
            return SlideError(f"{self._path.name}: {fault}; {_DAMAGED}")
        if isinstance(error, openslide.OpenSlideUnsupportedFormatError):
            return SlideError(
                f"{self._path.name}: OpenSlide does not know this format; name another reader, or convert the slide"
            )
        return self._damaged("it cannot be opened", error)

    def _damaged(self, what: str, error: Exception) -> SlideError:
        remedy = _CONVERT if _OTHER_KIND.search(str(error)) else _DAMAGED
        return SlideError(f"{self._path.name}: {what}: {error}; {remedy}")


def flattened(rgba: NDArray[np.uint8], *, background: tuple[int, int, int]) -> Rgb:
    """An image with transparency on a plain background.

    Args:
        rgba: (H, W, 4) uint8, not premultiplied, contiguous.
        background: R, G, B.

    Returns:
        (H, W, 3) uint8: (colour * alpha + background * (255 - alpha)) / 255, rounded to nearest.
    """
    rgb: Rgb = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB).astype(np.uint8, copy=False)
    # Alpha is the highest byte of a little-endian pixel, so the minimum over whole pixels tells whether all are opaque.
    if int(rgba.view("<u4").min()) >= 0xFF000000:
        return rgb
    alpha = rgba[..., 3:].astype(np.uint32)
    mixed = rgb * alpha + np.array(background, np.uint32) * (255 - alpha)
    return ((mixed + 127) // 255).astype(np.uint8)
