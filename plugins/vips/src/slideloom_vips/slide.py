"""Slides read with libvips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from slideloom import (
    Box,
    NativeResampler,
    Point,
    Reader,
    Resolution,
    Rgb,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    levels_from_sizes,
    opencv_in_one_thread,
    slide_name,
)
from slideloom_formats.files_beside import missing_part
from slideloom_formats.openable import check_there
from slideloom_formats.tiff import (
    PICTURE_TAGS,
    TiffError,
    TiffTag,
    check_orientation,
    described,
    imagej_resolution,
    is_aside,
    odd_tiff_resolution,
    read_tiff_directories,
    tiff_fault,
    tiff_obstacle,
)

from slideloom_vips.checks import check_places
from slideloom_vips.images import Level, as_rgb, check_cost, check_range, has, is_readable, opened
from slideloom_vips.levels import Stored, levels_among
from slideloom_vips.settings import VipsReader

_resample = NativeResampler(cv2)

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_OTHERS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")
_MAX_PAGES = 256  # a pyramid has a dozen
_GRID = (TiffTag.WIDTH, TiffTag.HEIGHT, TiffTag.TILE_WIDTH, TiffTag.TILE_HEIGHT, TiffTag.TILE_BYTES)
_YCBCR, _JPEG = 6, (6, 7)  # photometric interpretation, and compressions that decode to RGB
_TRIES = 8  # tiles of which one must be decoded
# What libvips says of a compression that it was not built to decode, whichever tile is tried.
_CANNOT = ("built without", "not configured", "not implemented")
_WHITE = (255, 255, 255)


class VipsFiles(Reader):
    """Opens TIFF, JPEG and PNG files.

    Args:
        settings: how many reads of one level there may be at the same time.
    """

    def __init__(self, settings: VipsReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True for a JPEG or PNG by its first bytes, and for a TIFF of which libvips decodes a tile, or the first row.

        Also for a TIFF whose directories are damaged, so that `open` can say how. Not for one that is not one RGB
        picture.
        """
        try:
            with path.open("rb") as file:
                head = file.read(132)
        except OSError:
            return False
        if not head.startswith((*_TIFF, *_OTHERS)) or len(head) < 8 or head[128:] == b"DICM":
            return False
        if missing_part(path) is not None:  # the small picture that is left of a slide
            return False
        if head.startswith(_OTHERS) or tiff_fault(path) is not None:
            return True
        return (
            tiff_obstacle(path) is None
            and _unconverted(path) is None
            and self.refusal(path) is None
            and _is_decoded(path)
        )

    def refusal(self, path: Path) -> str | None:
        """See `Reader.refusal`; of a TIFF that is one RGB picture."""
        try:
            if not path.is_file() or tiff_fault(path) is not None or tiff_obstacle(path) is not None:
                return None
            base = levels_among(_images_in(path, opened(path)))[0]
            image = opened(path, base.options)
        except (SlideError, OSError):  # another format
            return None
        try:
            check_cost(image, path)
            if base.is_tiled:  # else it would be decoded whole
                check_range(image, path, base.options, _written_tiles(path, base))
        except SlideError as error:
            return str(error).removeprefix(f"{path.name}: ")
        return None

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        return VipsSlide(path, reads_at_once=self._settings.reads_at_once)


def _unconverted(path: Path) -> str | None:
    """Says so where libvips would show the numbers of YCbCr as those of RGB; else None."""
    try:
        images = read_tiff_directories(path, (TiffTag.PHOTOMETRIC, TiffTag.COMPRESSION))
        kinds = {(image.number(TiffTag.PHOTOMETRIC), image.number(TiffTag.COMPRESSION, 1)) for image in images[:1]}
    except (TiffError, OSError):  # no TIFF, or damaged
        return None
    if any(colours == _YCBCR and compression not in _JPEG for colours, compression in kinds):
        return "it stores YCbCr outside JPEG, which libvips takes for RGB; take the reader openslide"
    return None


def _is_decoded(path: Path) -> bool:
    """True if libvips decodes a piece of what would be level 0."""
    try:
        base = levels_among(_images_in(path, opened(path)))[0]
        if not base.is_tiled:
            return is_readable(path, base.options)
        check_cost(opened(path, base.options), path)
    except SlideError:
        return False
    level = Level(path, base, reads_at_once=1)
    for place in _written_tiles(path, base):
        try:
            level.read(x=place.x, y=place.y, width=1, height=1)
        except SlideError as error:
            if any(words in str(error) for words in _CANNOT):
                return False
        else:
            return True
    return False


def _written_tiles(path: Path, stored: Stored) -> list[Point]:
    """Where some of the tiles that have bytes begin, from the first to the last; the first tile if none is known to."""
    if not stored.is_tiled:
        return [Point(0, 0)]
    try:
        image = read_tiff_directories(path, _GRID)[dict(stored.options).get("page", 0)]
        tile = image.tile_size()
        if tile is None or image.size() != stored.size:  # a sub-image
            return [Point(0, 0)]
        columns, rows = -(-stored.size.width // tile.width), -(-stored.size.height // tile.height)
        written = np.flatnonzero(image.numbers(TiffTag.TILE_BYTES, most=columns * rows))
    except (TiffError, IndexError) as error:
        raise SlideError(f"{path.name}: {error}; the file is damaged or cut short: copy it again") from error
    some = written[np.linspace(0, len(written) - 1, min(_TRIES, len(written))).astype(np.intp)].tolist()
    return [Point(number % columns * tile.width, number // columns * tile.height) for number in some or [0]]


class VipsSlide(Slide):
    """An open image file, with its pyramid if it has one."""

    exact_parts = True

    def __init__(self, path: Path, *, reads_at_once: int) -> None:
        check_there(path)
        fault = tiff_fault(path)  # libvips would list the levels before the damage, as if there were no others
        if fault is not None:
            raise SlideError(f"{path.name}: {fault}; the file is damaged or cut short: copy it again from its source")
        obstacle = missing_part(path) or tiff_obstacle(path) or _unconverted(path)
        if obstacle is not None:
            raise SlideError(f"{path.name}: {obstacle}")
        first = opened(path)
        stored = levels_among(_images_in(path, first))
        for level in stored:
            check_places(path, level.options)
            check_cost(opened(path, level.options), path)
        base = opened(path, stored[0].options)
        for image in (base, first):
            check_orientation(path, int(image.get("orientation")) if has(image, "orientation") else None)
        as_rgb(base, path)  # says now what reads would run into
        size = stored[0].size
        text = next((str(i.get("image-description")) for i in (base, first) if has(i, "image-description")), "")
        about = described(text, size=size)
        check_range(base, path, stored[0].options, _written_tiles(path, stored[0]))
        self._path = path
        self._levels: tuple[Level, ...] | None = tuple(
            Level(path, level, reads_at_once=reads_at_once) for level in stored
        )
        self._icc_profile = bytes(base.get("icc-profile-data")) if has(base, "icc-profile-data") else None
        loader = str(base.get("vips-loader")).removesuffix("load")
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="vips",
            levels=levels_from_sizes([level.size for level in stored]),
            mpp=about.mpp or _imagej_resolution(path, text),
            tiff_mpp=_tiff_resolution(base),
            odd_mpp=about.odd_mpp or _odd_resolution(path),
            objective_power=about.objective_power,
            vendor=about.vendor or loader,
            background=_WHITE,
            properties=_properties(base, text),
        )

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`. The result may be read-only."""
        if self._levels is None:
            raise SlideError(f"{self._path.name}: the slide was closed; open it again before reading")
        stored = self.info.levels[level].size
        left, top = max(0, origin.x), max(0, origin.y)
        right, bottom = min(stored.width, origin.x + size.width), min(stored.height, origin.y + size.height)
        if right <= left or bottom <= top:
            return np.full((size.height, size.width, 3), _WHITE, np.uint8)
        rgb = self._levels[level].read(x=left, y=top, width=right - left, height=bottom - top)
        if rgb.shape[:2] == (size.height, size.width):
            return rgb
        padded = np.full((size.height, size.width, 3), _WHITE, np.uint8)
        x, y = left - origin.x, top - origin.y
        padded[y : y + rgb.shape[0], x : x + rgb.shape[1]] = rgb
        return padded

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        with opencv_in_one_thread():
            return _resample(rgb, box=box, size=size)

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`."""
        return self._icc_profile

    def close(self) -> None:
        """Release the file as soon as running reads are done."""
        levels, self._levels = self._levels, None
        for level in levels or ():
            level.close()


def _images_in(path: Path, first: Any) -> list[Stored]:
    """Every image of the file that may be a level: the pages, or as in OME-TIFF the sub-images of the first."""
    found = [_stored(first, ())]
    asides = _asides(path)
    # libvips gives access to sub-images only by number, so pages and sub-images are listed separately.
    pages = int(first.get("n-pages")) if has(first, "n-pages") else 1
    subs = int(first.get("n-subifds")) if has(first, "n-subifds") else 0
    options = [(("subifd", i),) for i in range(subs)] or [(("page", i),) for i in range(1, min(pages, _MAX_PAGES))]
    for option in options:
        if option in asides:
            continue
        try:
            found.append(_stored(opened(path, option), option))
        except SlideError:
            continue
    return found


def _asides(path: Path) -> set[tuple[tuple[str, int], ...]]:
    """Pages that are masks, or named as label or macro image."""
    try:
        images = read_tiff_directories(path, PICTURE_TAGS)
    except (TiffError, OSError):  # no TIFF, or damaged
        return set()
    return {(("page", number),) for number, image in enumerate(images) if is_aside(image)}


def _stored(image: Any, options: tuple[tuple[str, int], ...]) -> Stored:
    return Stored(
        options=options,
        size=Size(image.width, image.height),
        bands=image.bands,
        format=image.format,
        is_tiled=has(image, "tile-width"),
    )


def _imagej_resolution(path: Path, text: str) -> Resolution | None:
    """By ImageJ's calibration; libvips takes its tags for pixels per inch, or leaves them out."""
    if not text.startswith("ImageJ="):
        return None
    try:
        first = read_tiff_directories(path, (TiffTag.X_RESOLUTION, TiffTag.Y_RESOLUTION))[0]
    except (TiffError, OSError, IndexError):  # what opening it tells
        return None
    return imagej_resolution(text, first.rational(TiffTag.X_RESOLUTION), first.rational(TiffTag.Y_RESOLUTION))


def _odd_resolution(path: Path) -> str:
    """What the resolution tags of a TIFF hold, if that is none; libvips then says 1 pixel per millimetre."""
    try:
        images = read_tiff_directories(path, (TiffTag.X_RESOLUTION, TiffTag.Y_RESOLUTION))
    except (TiffError, OSError):  # no TIFF
        return ""
    return odd_tiff_resolution(images[0]) if images else ""


def _tiff_resolution(image: Any) -> Resolution | None:
    """From the TIFF resolution tags; libvips converts to pixels per millimetre, and names the unit if there is one."""
    if str(image.get("vips-loader")) != "tiffload" or not has(image, "resolution-unit"):
        return None
    if image.get("resolution-unit") not in ("cm", "in") or image.xres <= 0 or image.yres <= 0:
        return None
    return Resolution(1000 / image.xres, 1000 / image.yres, "TIFF resolution")


def _properties(image: Any, description: str) -> dict[str, str]:
    names = ("n-pages", "n-subifds", "tile-width", "tile-height", "bits-per-sample", "resolution-unit", "orientation")
    found = {f"vips.{name}": str(image.get(name)) for name in names if has(image, name)}
    if description:
        found["tiff.ImageDescription"] = description
    return found
