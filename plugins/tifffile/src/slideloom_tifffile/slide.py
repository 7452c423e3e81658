"""Slides read with tifffile: only the tiles or strips that an area needs."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
from slideloom import (
    Box,
    KeptImages,
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
    option_given,
    slide_name,
)
from slideloom_formats.files_beside import missing_part
from slideloom_formats.ome_xml import ome_xml
from slideloom_formats.openable import check_there
from slideloom_formats.tiff import (
    TiffError,
    TiffTag,
    check_orientation,
    described,
    imagej_resolution,
    odd_tiff_resolution,
    tiff_fault,
    tiff_icc_profile,
    tiff_resolution,
)

from slideloom_tifffile.colours import Colours
from slideloom_tifffile.contents import Picture, StoredLevel, picture_in
from slideloom_tifffile.ome import significant_bits
from slideloom_tifffile.refusals import NotRead
from slideloom_tifffile.segments import Segments, TiffFile, named
from slideloom_tifffile.settings import TifffileReader

_resample = NativeResampler(cv2)
_WHITE = 255
_TRIES = 8  # segments of which one must be decoded
_HALF_OF_16_BITS = 1 << 15  # bright glass is above this in any brightfield image that uses the whole range
_PERSONAL = ("barcode", "patient", "accession")


class TifffileFiles(Reader):
    """Opens TIFF files.

    Args:
        settings: what to read where there is a choice.
    """

    def __init__(self, settings: TifffileReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True for a TIFF that is one RGB picture, or of which one was chosen, if one of its segments is decoded."""
        try:
            if not path.is_file() or _is_dicom(path) or missing_part(path) is not None:
                return False
            picture = picture_in(path, self._settings)
            with closing(TiffFile(path)) as file:
                return _is_decoded(Pixels(file, picture, self._settings, name=path.name))
        except (NotRead, ValueError, OSError):  # another format, or damaged: another reader may know it
            return False

    def refusal(self, path: Path) -> str | None:
        """See `Reader.refusal`."""
        try:
            if not path.is_file() or _is_dicom(path) or missing_part(path) is not None:
                return None
            picture = picture_in(path, self._settings)
            with closing(TiffFile(path)) as file:
                Pixels(file, picture, self._settings, name=path.name)
        except NotRead as reason:
            return str(reason)
        except (ValueError, OSError):  # another format, or damaged
            return None
        return None

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        check_there(path)
        absent = missing_part(path)
        if absent is not None:
            raise SlideError(f"{path.name}: {absent}")
        try:
            return TifffileSlide(path, picture_in(path, self._settings), self._settings)
        except NotRead as reason:
            raise SlideError(f"{path.name}: {reason}") from None
        except (ValueError, OSError) as error:
            remedy = "let another reader open it" if tiff_fault(path) is None else "copy it again from its source"
            raise SlideError(f"{path.name}: cannot be read as TIFF ({error}); {remedy}") from error


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(132)[128:] == b"DICM"


class Pixels:
    """The pixels of a picture's levels, by segment. Thread-safe.

    Args:
        file: the open file.
        picture: the slide in it.
        settings: how 16 bits are shown, and how much memory to use.
        name: of the file, for messages.

    Raises:
        NotRead: its compression or its colours are not read here.
    """

    def __init__(self, file: TiffFile, picture: Picture, settings: TifffileReader, *, name: str) -> None:
        self._name = name
        self.levels = picture.levels
        self.segments = [
            [Segments(file, plane, grid) for plane, grid in zip(level.planes, level.grids, strict=True)]
            for level in picture.levels
        ]
        base = picture.base
        stated = _stated_white(picture)
        self.colours = Colours.of(
            base,
            self.segments[0][0].page,
            planes=len(picture.levels[0].planes),
            white=settings.white if settings.white is not None else stated,
        )
        self.is_stated = settings.white is None and stated is not None
        self._kept = KeptImages(settings.cache_mb << 20)

    def rgb(self, level: int, number: int) -> Rgb | None:
        """A segment (h, w, 3) uint8, not to be written to; None if it was never written.

        Raises:
            SlideError: it is damaged.
        """
        grids = self.levels[level].grids
        if not any(grid.was_written(number) for grid in grids):
            return None
        found = self._kept.get((level, number))
        if found is None:
            found = self._decoded(level, number)
            self._kept.keep((level, number), found)
        return found

    def _decoded(self, level: int, number: int) -> Rgb:
        word = "tile" if self.levels[level].grid.is_tiled else "strip"
        try:
            samples, is_ycc = self.raw(level, number)
            return self.colours.rgb(samples, is_ycc=is_ycc)
        except (ValueError, OSError) as error:
            raise named(error, name=self._name, what=f"{word} {number} of level {level}") from error

    def raw(self, level: int, number: int) -> tuple[np.ndarray, bool]:
        """The samples of a segment, and True if they are luma and chroma; see `Segments.samples`."""
        parts = [segments.samples(number) for segments in self.segments[level]]
        if len(parts) == 1:
            return parts[0]
        return np.concatenate([part for part, _ in parts], axis=-1), False


def _some_written(level: StoredLevel) -> list[int]:
    """Some of the segments that have bytes, from the first to the last."""
    written = np.flatnonzero(level.grid.written())
    return [written[i] for i in np.linspace(0, len(written) - 1, min(_TRIES, len(written))).astype(np.intp).tolist()]


def _is_decoded(pixels: Pixels) -> bool:
    for number in _some_written(pixels.levels[0]):
        try:
            pixels.rgb(0, number)
        except SlideError:
            continue
        return True
    return False


def _stated_white(picture: Picture) -> int | None:
    """The largest sample, where OME-XML says how many bits are used."""
    root = ome_xml(picture.first.text(TiffTag.DESCRIPTION))
    bits = significant_bits(root, picture.levels[0].size)
    return (1 << bits) - 1 if bits is not None and 8 <= bits < 16 else None


class TifffileSlide(Slide):
    """An open slide."""

    exact_parts = True

    def __init__(self, path: Path, picture: Picture, settings: TifffileReader) -> None:
        check_orientation(path, picture.base.number(TiffTag.ORIENTATION))
        self._path, self._base = path, picture.base
        self._file = TiffFile(path)
        try:
            self._pixels = Pixels(self._file, picture, settings, name=path.name)
            _check_range(self._pixels, chosen=settings.white)
        except BaseException:
            self._file.close()
            raise
        base, text = picture.base, picture.description
        about = described(text, size=picture.levels[0].size)
        x, y = base.rational(TiffTag.X_RESOLUTION), base.rational(TiffTag.Y_RESOLUTION)
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="tifffile",
            levels=levels_from_sizes([level.size for level in picture.levels]),
            mpp=about.mpp or imagej_resolution(text, x, y),
            tiff_mpp=None if text.startswith("ImageJ=") else tiff_resolution(base),
            odd_mpp=about.odd_mpp or odd_tiff_resolution(base),
            objective_power=about.objective_power,
            vendor=about.vendor or "generic-tiff",
            shown_as=self._pixels.colours.told,
            properties=_properties(picture),
        )

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        rgb = np.full((size.height, size.width, 3), _WHITE, np.uint8)
        grid = self._pixels.levels[level].grid
        left, top = max(0, origin.x), max(0, origin.y)
        right, bottom = min(grid.size.width, origin.x + size.width), min(grid.size.height, origin.y + size.height)
        if right <= left or bottom <= top:
            return rgb
        width, height = grid.tile.width, grid.tile.height
        for row in range(top // height, (bottom - 1) // height + 1):
            for column in range(left // width, (right - 1) // width + 1):
                found = self._pixels.rgb(level, row * grid.columns + column)
                if found is None:
                    continue
                x0, x1 = max(left, column * width), min(right, (column + 1) * width)
                y0, y1 = max(top, row * height), min(bottom, (row + 1) * height)
                part = found[y0 - row * height : y1 - row * height, x0 - column * width : x1 - column * width]
                rgb[y0 - origin.y : y1 - origin.y, x0 - origin.x : x1 - origin.x] = part
        return rgb

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        with opencv_in_one_thread():
            return _resample(rgb, box=box, size=size)

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`."""
        try:
            return tiff_icc_profile(self._path, self._base)
        except (TiffError, OSError) as error:
            raise SlideError(f"{self._path.name}: its ICC profile cannot be read ({error})") from error

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _check_range(pixels: Pixels, *, chosen: int | None) -> None:
    """Refuse 16-bit samples that would be shown nearly black, or that exceed what the file says of them.

    Raises:
        NotRead: they would be.
    """
    colours = pixels.colours
    if chosen is not None or colours.bits <= 8 or colours.palette is not None:
        return
    peak = 0
    for number in _some_written(pixels.levels[0]):
        try:
            samples, _ = pixels.raw(0, number)
        except (ValueError, OSError):  # reading it says so
            continue
        peak = max(peak, int(samples[..., : colours.colours].max()))
    if pixels.is_stated and colours.white is not None and peak > colours.white:
        raise NotRead(
            f"its OME-XML says that samples go up to {colours.white}, but they go up to {peak}; say which one is "
            f"white: {option_given('slides', 'reader', 'tifffile:white=65535')}"
        )
    if not pixels.is_stated and 0 < peak < _HALF_OF_16_BITS:
        white = 2 ** peak.bit_length() - 1
        raise NotRead(
            f"its 16-bit samples go up to {peak} only, as if they had {peak.bit_length()} bits, and would be shown "
            f"nearly black; say which one is white: "
            f"{option_given('slides', 'reader', f'tifffile:white={white}')}"
        )


def _properties(picture: Picture) -> dict[str, str]:
    base, text = picture.base, picture.description
    found = {
        "tiff.Compression": str(base.number(TiffTag.COMPRESSION, 1)),
        "tiff.BitsPerSample": str(base.number(TiffTag.BITS, 1)),
        "tiff.Software": base.text(TiffTag.SOFTWARE),
        "tiff.ImageDescription": text,
    }
    if any(word in text.lower() for word in _PERSONAL):
        del found["tiff.ImageDescription"]
    return {key: value for key, value in found.items() if value}
