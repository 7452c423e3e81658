"""DICOM slides: the files of one series, read frame by frame."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import cv2
import numpy as np
from pydicom import Dataset
from slideloom import (
    NativeResampler,
    Reader,
    Rgb,
    Slide,
    SlideError,
    SlideInfo,
    levels_from_sizes,
    option_given,
    slide_name,
)
from slideloom_formats.dicom import not_a_dicom_slide, read_dicom
from slideloom_formats.grid_slide import GridSlide, in_eight_bits
from slideloom_formats.openable import check_kind, check_there

from slideloom_dicom import metadata
from slideloom_dicom.decoding import Samples, decoded
from slideloom_dicom.frames import Frames, OpenFile
from slideloom_dicom.images import Image, levels_of
from slideloom_dicom.instances import Instance
from slideloom_dicom.settings import DicomReader

_resample = NativeResampler(cv2)
_DAMAGED = "the file is damaged or cut short: copy it again from its source"
_SAMPLED = 64  # frames of the smallest level that are looked at for their brightest sample
_DARK = 0.5  # of the range: a picture whose brightest sample is below this would come out nearly black


class DicomFiles(Reader):
    """Opens DICOM slides, of any transfer syntax that stands for an image.

    Args:
        settings: the channel, the focal plane and the range of values to show, and how much memory to use.
    """

    def __init__(self, settings: DicomReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True for a file of a slide whose series has a level in its folder."""
        about = read_dicom(path)
        return about is not None and about.is_slide and not_a_dicom_slide(path) is None

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        check_there(path)
        obstacle = not_a_dicom_slide(path)
        if obstacle is not None:
            raise SlideError(f"{path.name}: {obstacle}")
        check_kind(path, "DICOM", lambda file: read_dicom(file) is not None)
        try:
            return DicomSlide(path, self._settings)
        except (SlideError, MemoryError):
            raise
        except Exception as error:  # a value is parsed when it is asked for, and pydicom raises whatever that leads to
            raise SlideError(f"{path.name}: a value in it cannot be read ({error}); {_DAMAGED}") from error


class DicomSlide(GridSlide):
    """An open slide. Its levels are images of the series, each of one or more files."""

    def __init__(self, path: Path, settings: DicomReader) -> None:
        wanted = None if settings.optical_path is None else str(settings.optical_path)
        self._images = levels_of(path, optical_path=wanted, plane=settings.plane)
        super().__init__(
            [image.grid for image in self._images], cache_bytes=settings.cache_mb << 20, resampler=_resample
        )
        base = self._images[0]
        about = base.files[0].about
        shown = _shown_path(base)
        self._profile = metadata.icc_profile(shown)
        pixels = base.files[0].pixels
        self._low, self._high = settings.low, settings.high or (1 << pixels.bits) - 1
        if self._high <= self._low:
            raise SlideError(f"{path.name}: low={self._low} must be below high={self._high}")
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="dicom",
            levels=levels_from_sizes([image.grid.size for image in self._images]),
            mpp=metadata.resolution(about),
            odd_mpp=metadata.odd_resolution(about),
            objective_power=metadata.objective_power(shown),
            vendor="dicom",
            background=(0, 0, 0) if metadata.is_fluorescence(shown) else (255, 255, 255),
            properties={
                **metadata.properties(about, shown),
                "dicom.Compression": pixels.compression,
                **({"dicom.Shown": f"{self._low} to {self._high} as 0 to 255"} if pixels.is_wide else {}),
            },
        )
        self._opened: list[OpenFile] = []
        try:
            self._sources = [[self._source(part) for part in image.files] for image in self._images]
            if pixels.is_wide and settings.high is None:
                self._refuse_dark()
        except BaseException:
            self._close_files()
            raise

    def decode(self, level: int, column: int, row: int) -> Rgb | None:
        """See `GridSlide.decode`."""
        samples = self._samples(level, column, row)
        if samples is None:
            return None
        eight = samples if samples.dtype == np.uint8 else in_eight_bits(samples, low=self._low, high=self._high)
        if eight.ndim == 3:
            return np.ascontiguousarray(eight, np.uint8)
        return np.repeat(eight[..., None].astype(np.uint8, copy=False), 3, axis=-1)

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`: that of the optical path."""
        return self._profile

    def close(self) -> None:
        """Release the files."""
        self._close_files()

    def _close_files(self) -> None:
        for file in self._opened:
            file.close()

    def _source(self, part: Instance) -> Frames:
        try:
            file = OpenFile(part.path)
        except OSError as error:
            raise SlideError(f"{part.path.name}: cannot be opened ({error.strerror or error})") from error
        self._opened.append(file)
        return part.frames(file)

    def _samples(self, level: int, column: int, row: int) -> Samples | None:
        """A tile as it is stored; None where there is none."""
        image = self._images[level]
        place = image.frame(column, row)
        if place is None:
            return None
        index, number = place
        part = image.files[index]
        try:
            return decoded(self._sources[level][index].read(number), part.pixels)
        except OSError as error:
            problem = f"cannot be read ({error.strerror or error}); check the disk or network that it is on"
            raise SlideError(f"{part.path.name}: frame {number + 1} {problem}") from error
        except ValueError as error:
            raise SlideError(f"{part.path.name}: frame {number + 1} is damaged ({error}); {_DAMAGED}") from error

    def _refuse_dark(self) -> None:
        """Raise `SlideError` where samples stay in the lower half of the range that they are said to have."""
        brightest = 0
        for column, row in _some_tiles(self._images[-1]):
            with suppress(SlideError):  # which reading that tile will tell
                samples = self._samples(len(self._images) - 1, column, row)
                brightest = max(brightest, 0 if samples is None else int(samples.max()))
        if brightest < self._low + _DARK * (self._high - self._low):
            raise SlideError(
                f"{self.info.path.name}: its samples have {self._images[0].files[0].pixels.bits} bits and reach only "
                f"{brightest} of {self._high}, and would be shown nearly black; name the value to show as white: "
                f"{option_given('slides', 'reader', f'dicom:high={max(brightest, 1)}')}"
            )


def _shown_path(image: Image) -> Dataset:
    """What is said of the optical path that an image shows."""
    found = [path for path in image.files[0].paths() if str(path.get("OpticalPathIdentifier", "")) == image.path]
    return found[0] if found else Dataset()


def _some_tiles(image: Image) -> Sequence[tuple[int, int]]:
    """Columns and rows of tiles spread over an image."""
    grid = image.grid
    count = grid.columns * grid.rows
    return [(index % grid.columns, index // grid.columns) for index in range(0, count, max(1, count // _SAMPLED))]
