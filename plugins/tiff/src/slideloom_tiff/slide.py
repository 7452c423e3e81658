"""Slides made of JPEG tiles, which are read from their byte ranges and decoded once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from slideloom import (
    Box,
    Level,
    Mosaic,
    NativeResampler,
    Point,
    Reader,
    RemoteFile,
    Rgb,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    levels_from_sizes,
    odd_mpp,
    opencv_in_one_thread,
    slide_name,
)
from slideloom_formats.files_beside import missing_part
from slideloom_formats.tiff import (
    TiffDirectory,
    TiffError,
    TiffTag,
    check_orientation,
    obstacle_in,
    odd_tiff_resolution,
    read_tiff_directories,
    tiff_fault,
    tiff_icc_profile,
    tiff_resolution,
)

from slideloom_tiff import metadata
from slideloom_tiff.cache import LeasedTiles, TileCache
from slideloom_tiff.jpegs import ByteRanges, JpegTiles, is_decodable
from slideloom_tiff.levels import TAGS, TiledLevel, is_aperio, slide_levels, with_scaled
from slideloom_tiff.settings import TiffReader

_resample = NativeResampler(cv2)


class TiffFiles(Reader):
    """Opens SVS and TIFF files whose levels are grids of JPEG tiles.

    Args:
        settings: how much memory to use, and whether to offer levels that the JPEG decoder makes by decoding stored
            ones at 1/2, 1/4 and 1/8.
    """

    def __init__(self, settings: TiffReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True if every level of the file is a grid of JPEG tiles, and the file holds one picture only.

        False for DICOM files that are also TIFFs: read as TIFF, each holds only one level.
        """
        try:
            if not path.is_file() or _is_dicom(path) or missing_part(path) is not None:
                return False
            images = read_tiff_directories(path, TAGS)
            levels = slide_levels(images)
            return levels is not None and obstacle_in(images) is None and _is_decodable(path, levels[0])
        except (TiffError, OSError):  # another format, or damaged: another reader may know it
            return False

    def recognises_remote(self, file: RemoteFile) -> bool:
        """As `recognises`; what the network does is raised."""
        try:
            if file.read(0, min(_DICOM_HEAD, file.size)).endswith(b"DICM"):
                return False
            images = read_tiff_directories(file, TAGS)
            levels = slide_levels(images)
            return levels is not None and obstacle_in(images) is None and _is_decodable(file, levels[0])
        except TiffError:
            return False

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        try:
            return self._opened(path)
        except (TiffError, OSError) as error:
            remedy = "let another reader open it" if tiff_fault(path) is None else "copy it again from its source"
            raise SlideError(f"{path.name}: cannot be read as TIFF ({error}); {remedy}") from error

    def open_remote(self, file: RemoteFile) -> Slide:
        """See `Reader.open_remote`."""
        return self._opened(file)

    def _opened(self, source: Path | RemoteFile) -> Slide:
        images = read_tiff_directories(source, TAGS)
        levels, obstacle = slide_levels(images), obstacle_in(images)
        if isinstance(source, Path):
            obstacle = missing_part(source) or obstacle
        if obstacle is not None:
            raise SlideError(f"{source.name}: {obstacle}")
        if levels is None or not _is_decodable(source, levels[0]):
            raise SlideError(f"{source.name}: is not a slide of JPEG tiles; let another reader open it")
        check_orientation(source, images[0].number(TiffTag.ORIENTATION))
        offered = with_scaled(levels) if self._settings.dct_scale else levels
        return TiffSlide(source, images, offered, cache_bytes=self._settings.cache_mb << 20)


def _is_decodable(source: Path | RemoteFile, level: TiledLevel) -> bool:
    """False if the first tile is a JPEG of a process that is not decoded here."""
    written = np.flatnonzero(level.lengths)
    if not len(written):
        return True
    offset, length = int(level.offsets[written[0]]), int(level.lengths[written[0]])
    if min(offset, length) < 0:  # reading it says so
        return True
    with source.stream() if isinstance(source, RemoteFile) else source.open("rb") as file:
        file.seek(offset)
        return is_decodable(file.read(min(length, _FIRST_BYTES)))


_DICOM_HEAD = 132  # bytes, the last four of which say that it is DICOM
_FIRST_BYTES = 4096  # of a tile; its frame begins within them


def _is_dicom(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(_DICOM_HEAD).endswith(b"DICM")


class TiffSlide(Slide):
    """One open slide. Its threads share a cache of decoded source tiles."""

    exact_parts = True

    def __init__(
        self,
        source: Path | RemoteFile,
        images: Sequence[TiffDirectory],
        levels: Sequence[TiledLevel],
        *,
        cache_bytes: int,
    ) -> None:
        found = metadata.properties(images)
        place = source.address if isinstance(source, RemoteFile) else source
        self.info = SlideInfo(
            path=place,
            name=slide_name(place),
            reader="tiff",
            levels=_levels(levels),
            mpp=metadata.resolution(found),
            tiff_mpp=tiff_resolution(images[0]),
            odd_mpp=odd_mpp({"aperio.MPP": found.get("aperio.MPP")}) or odd_tiff_resolution(images[0]),
            objective_power=metadata.objective_power(found),
            vendor="aperio" if is_aperio(images) else "generic-tiff",
            properties=found,
        )
        self._source, self._base = source, images[0]
        self._levels = list(levels)
        try:
            self._file = source if isinstance(source, RemoteFile) else ByteRanges(source)
        except OSError as error:
            raise SlideError(f"{source.name}: cannot be opened: {error.strerror}") from error
        self._tiles = TileCache(JpegTiles(self._file, levels, name=source.name), bytes_per_thread=cache_bytes)

    def icc_profile(self) -> bytes | None:
        """See `Slide.icc_profile`."""
        try:
            return tiff_icc_profile(self._source, self._base)
        except (TiffError, OSError) as error:
            raise SlideError(f"{self.info.path.name}: its ICC profile cannot be read ({error})") from error

    def give_back_memory(self) -> None:
        """See `Slide.give_back_memory`: of decoded tiles."""
        self._tiles.clear()

    def close(self) -> None:
        """Release the file."""
        self._file.close()

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `Slide.resample`."""
        with opencv_in_one_thread():
            return _resample(rgb, box=box, size=size)

    def resample_into(self, source: Rgb | Mosaic, *, box: Box, out: Rgb) -> None:
        """See `Slide.resample_into`."""
        with opencv_in_one_thread():
            _resample.into(source, box=box, out=out)

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        rgb = np.empty((size.height, size.width, 3), np.uint8)
        for found in self.read_each([origin], level, size):
            if isinstance(found, SlideError):
                raise found
            found.copy_to(rgb)
        return rgb

    def read_each(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[Mosaic | SlideError]:
        """See `Slide.read_each`. Pixels are not copied: they stay in the source tiles, leased until the next group."""
        for windows, needed in self._groups(origins, level, size):
            with self._tiles.lease(level, sorted(needed)) as tiles:
                for window in windows:
                    yield _damage(window, tiles) or window.mosaic(tiles.pixels)

    def read_resampled(
        self, origins: Sequence[Point], level: int, size: Size, *, boxes: Sequence[Box], images: Sequence[Rgb]
    ) -> list[SlideError | None]:
        """See `Slide.read_resampled`; the windows of a group are resampled together, in one lease of their tiles."""
        errors: list[SlideError | None] = []
        for windows, needed in self._groups(origins, level, size):
            here = slice(len(errors), len(errors) + len(windows))
            with self._tiles.lease(level, sorted(needed)) as tiles, opencv_in_one_thread():
                found = [_damage(window, tiles) for window in windows]
                whole = [number for number, error in enumerate(found) if error is None]
                _resample.into_each(
                    [windows[number].mosaic(tiles.pixels) for number in whole],
                    boxes=[boxes[here][number] for number in whole],
                    out=[images[here][number] for number in whole],
                )
            errors += found
        return errors

    def _groups(self, origins: Sequence[Point], level: int, size: Size) -> Iterator[tuple[list[_Window], set[int]]]:
        """Groups of windows to read together, each with its source tiles: what fits the cache, at least one window."""
        stored = self._levels[level]
        most = self._tiles.room(level)
        windows: list[_Window] = []
        needed: set[int] = set()
        for origin in origins:
            window = _Window(stored, origin, size)
            # The union is slow, so it is made only if it can matter.
            may_exceed = len(needed) + len(window.indices) > most
            exceeds = may_exceed and len(needed.union(window.indices)) > most
            if windows and (exceeds or len(windows) == _READ_TOGETHER):
                yield windows, needed
                windows, needed = [], set()
            windows.append(window)
            needed.update(window.indices)
        if windows:
            yield windows, needed


_READ_TOGETHER = 32  # at most this many windows


class _Window:
    """A window of a level. `indices` are the source tiles it touches, row by row; -1 where there is or need be none."""

    def __init__(self, stored: TiledLevel, origin: Point, size: Size) -> None:
        width, height = stored.tile.width, stored.tile.height
        self._stored, self._origin, self._size = stored, origin, size
        self._column, self._row = origin.x // width, origin.y // height
        columns = range(self._column, (origin.x + size.width - 1) // width + 1)
        rows = range(self._row, (origin.y + size.height - 1) // height + 1)
        self._columns = len(columns)
        # A window that begins in the padding of the last tiles needs no tile.
        is_outside = origin.x >= stored.size.width or origin.y >= stored.size.height
        self.indices = [
            row * stored.columns + column
            if not is_outside and 0 <= row < stored.rows and 0 <= column < stored.columns
            else -1
            for row in rows
            for column in columns
        ]

    def mosaic(self, pixels: Mapping[int, Rgb]) -> Mosaic:
        """The window as a mosaic of its source tiles."""
        stored, tile = self._stored, self._stored.tile
        left, top = self._column * tile.width, self._row * tile.height
        return Mosaic(
            tiles=[pixels.get(index) for index in self.indices],
            columns=self._columns,
            tile=tile,
            left=self._origin.x - left,
            top=self._origin.y - top,
            window=self._size,
            end=Size(stored.size.width - left, stored.size.height - top),
        )


def _damage(window: _Window, tiles: LeasedTiles) -> SlideError | None:
    """What is wrong with the first damaged tile of a window."""
    damaged = [index for index in window.indices if index in tiles.errors] if tiles.errors else []
    return SlideError(tiles.errors[damaged[0]]) if damaged else None


def _levels(levels: Sequence[TiledLevel]) -> tuple[Level, ...]:
    """The levels for `SlideInfo`. A level made by the decoder has the downsample of the stored one times `shrink`."""
    stored = iter(levels_from_sizes([level.size for level in levels if level.shrink == 1]))
    found: list[Level] = []
    for level in levels:
        if level.shrink == 1:
            base = next(stored)
            found.append(base)
        else:
            found.append(Level(level.size, base.downsample_x * level.shrink, base.downsample_y * level.shrink))
    return tuple(found)
