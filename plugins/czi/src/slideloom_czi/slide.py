"""CZI slides, read with libCZI."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from pylibCZIrw import czi
from slideloom import (
    NativeResampler,
    Reader,
    Rgb,
    Size,
    Slide,
    SlideError,
    SlideInfo,
    levels_from_sizes,
    option_given,
    slide_name,
)
from slideloom_formats.czi_files import czi_fault
from slideloom_formats.grid_slide import GridSlide, TileGrid, in_eight_bits
from slideloom_formats.openable import check_kind, unreadable

from slideloom_czi import metadata
from slideloom_czi.settings import CziReader

_resample = NativeResampler(cv2)
_MAGIC = b"ZISRAWFILE"
_DAMAGED = "it is damaged or cut short: copy it again from its source"
_TILE = Size(512, 512)  # read at once
_STORED = 32 << 20  # bytes of stored tiles that libCZI keeps decoded; scanners' take 5 to 16 MB
_COLOURS = {"Bgr24": 8, "Bgr48": 16}  # bits of a sample
_GREYS = {"Gray8": 8, "Gray16": 16}
_MOST_CHANNELS = 1000
_MOST_PX = 1 << 40  # of a slide; a damaged directory says more


class CziFiles(Reader):
    """Opens CZI slides.

    Args:
        settings: the scene, channel and focal plane to show, and how much memory to use.
    """

    def __init__(self, settings: CziReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True for a file that begins as CZI does."""
        try:
            with path.open("rb") as file:
                return file.read(len(_MAGIC)) == _MAGIC
        except OSError:
            return False

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        check_kind(path, "CZI", self.recognises)
        try:
            fault = czi_fault(path)
        except OSError as error:
            raise unreadable(path, error) from error
        if fault is not None:
            raise SlideError(f"{path.name}: {fault}")
        try:
            handle = czi.CziReader(str(path), cache_options=czi.CacheOptions(czi.CacheType.Standard, _STORED))
        except Exception as error:  # libCZI's errors have no class of their own
            raise SlideError(f"{path.name}: cannot be opened ({error}); {_DAMAGED}") from error
        try:
            return CziSlide(path, handle, self._settings)
        except BaseException as error:
            handle.close()
            if isinstance(error, SlideError | MemoryError) or not isinstance(error, Exception):
                raise
            raise SlideError(f"{path.name}: cannot be opened ({error}); {_DAMAGED}") from error


@frozen
class _View:
    """What is shown of a file: a scene, or all of a file without scenes, one channel, and one focal plane."""

    scene: int | None
    x: int
    y: int
    size: Size
    channel: int
    plane: int
    pixel_type: str


class CziSlide(GridSlide):
    """An open slide. libCZI composes its pixels from stored tiles; only those that a read touches are decoded.

    Args:
        path: of the file.
        handle: of it.
        settings: what to show.
    """

    def __init__(self, path: Path, handle: czi.CziReader, settings: CziReader) -> None:
        self._name, self._handle, self._lock = path.name, handle, threading.Lock()
        described = handle.metadata
        self._view = view = _view_of(path.name, handle, described, settings)
        if settings.high <= settings.low:
            raise SlideError(f"{path.name}: low={settings.low} must be below high={settings.high}")
        self._low, self._high = settings.low, settings.high
        super().__init__([TileGrid(view.size, _TILE)], cache_bytes=settings.cache_mb << 20, resampler=_resample)
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="czi",
            levels=levels_from_sizes([view.size]),
            mpp=metadata.resolution(described),
            odd_mpp=metadata.odd_resolution(described),
            objective_power=metadata.objective_power(described),
            vendor="zeiss",
            background=(0, 0, 0) if view.pixel_type in _GREYS else (255, 255, 255),
            properties={
                "czi.pixel-type": view.pixel_type,
                **({"czi.scene": str(view.scene)} if view.scene is not None else {}),
                **({"czi.shown": f"{self._low} to {self._high} as 0 to 255"} if self._is_wide else {}),
            },
        )

    @property
    def _is_wide(self) -> bool:
        return {**_COLOURS, **_GREYS}[self._view.pixel_type] > 8

    def decode(self, level: int, column: int, row: int) -> Rgb:
        """See `GridSlide.decode`."""
        view = self._view
        left, top = column * _TILE.width, row * _TILE.height
        width, height = min(_TILE.width, view.size.width - left), min(_TILE.height, view.size.height - top)
        bright = self.info.background[0] / 255
        try:
            with self._lock:
                found = self._handle.read(
                    roi=(view.x + left, view.y + top, width, height),
                    plane={"C": view.channel, "Z": view.plane, "T": 0},
                    scene=view.scene,
                    pixel_type=view.pixel_type,
                    background_pixel=(bright, bright, bright),
                )
        except Exception as error:  # libCZI's errors have no class of their own
            where = f"{width} x {height} pixels at ({left}, {top})"
            raise SlideError(f"{self._name}: {where} cannot be read ({error}); {_DAMAGED}") from error
        samples: NDArray[Any] = found[..., ::-1]  # stored as blue, green, red
        if self._is_wide:
            samples = in_eight_bits(samples, low=self._low, high=self._high)
        tile: Rgb = np.full((_TILE.height, _TILE.width, 3), self.info.background, np.uint8)
        tile[:height, :width] = samples  # one channel is repeated
        return tile

    def close(self) -> None:
        """Release the file, as soon as a running read is done."""
        with self._lock:
            self._handle.close()


def _view_of(name: str, handle: czi.CziReader, described: metadata.Described, settings: CziReader) -> _View:
    """What to show of a file.

    Raises:
        SlideError: it is no RGB picture, or several, and nothing was chosen.
    """
    scene, (x, y, width, height) = _scene(name, handle, described, settings.scene)
    if min(width, height) < 1 or width * height > _MOST_PX:
        raise SlideError(f"{name}: says that it has {width} x {height} pixels; {_DAMAGED}")
    ranges = handle.total_bounding_box
    times, planes = (_count(ranges.get(axis)) for axis in "TZ")
    if times > 1:
        raise SlideError(f"{name}: holds {times} points in time; export one as a file of its own (ZEN)")
    if settings.plane is None and planes > 1:
        choice = option_given("slides", "reader", "czi:plane=0")
        raise SlideError(f"{name}: holds {planes} focal planes; choose one: {choice} to plane={planes - 1}")
    if (settings.plane or 0) >= planes:
        raise SlideError(f"{name}: has no focal plane {settings.plane}; it has {planes}, from 0")
    channel, pixel_type = _channel(name, handle, described, settings.channel)
    plane = (ranges["Z"][0] if "Z" in ranges else 0) + (settings.plane or 0)
    return _View(scene, x, y, Size(width, height), channel, plane, pixel_type)


def _scene(
    name: str, handle: czi.CziReader, described: metadata.Described, wanted: int | None
) -> tuple[int | None, tuple[int, int, int, int]]:
    """Number and rectangle of the scene to show; no number for a file without scenes."""
    scenes = handle.scenes_bounding_rectangle
    if not scenes:
        if wanted is not None:
            raise SlideError(f"{name}: has no scene {wanted}; it is not divided into scenes")
        return None, tuple(handle.total_bounding_rectangle)
    names = metadata.scene_names(described)
    listed = ", ".join(
        f"{number}{f' ({names[number]})' if names.get(number) else ''} of {place.w} x {place.h} pixels"
        for number, place in scenes.items()
    )
    if wanted is None and len(scenes) > 1:
        choice = option_given("slides", "reader", f"czi:scene={next(iter(scenes))}")
        raise SlideError(f"{name}: holds {len(scenes)} scenes: {listed}; choose one, as with {choice}")
    number = next(iter(scenes)) if wanted is None else wanted
    if number not in scenes:
        raise SlideError(f"{name}: has no scene {number}; it has {listed}")
    return number, tuple(scenes[number])


def _channel(name: str, handle: czi.CziReader, described: metadata.Described, wanted: int | None) -> tuple[int, str]:
    """Number and pixel type of the channel to show: the only one, if it is in colours, or the wanted one."""
    count = _count(handle.total_bounding_box.get("C"))
    if count > _MOST_CHANNELS:  # each of which would be asked for
        raise SlideError(f"{name}: says that it has {count} channels; {_DAMAGED}")
    types = dict(handle.pixel_types)
    names = metadata.channel_names(described)
    held = ", ".join(f"{number} ({names[number] if number < len(names) else kind})" for number, kind in types.items())
    if wanted is not None and wanted not in types:
        raise SlideError(f"{name}: has no channel {wanted}; it has {held}")
    shown = types if wanted is None else {wanted: types[wanted]}
    if wanted is None and (len(types) != 1 or set(types.values()) & set(_GREYS)):
        raise SlideError(
            f"{name}: holds {'channels' if len(types) > 1 else 'the channel'} {held}, not an RGB picture; choose one "
            f"to show in grey on black: {option_given('slides', 'reader', 'czi:channel=0')}"
        )
    ((number, kind),) = shown.items()
    if kind not in (*_COLOURS, *_GREYS):
        remedy = _DAMAGED if kind == "Invalid" else "export it as 8-bit RGB (ZEN)"
        raise SlideError(f"{name}: its samples are {kind}, and those of 8 and 16 bits are read; {remedy}")
    return number, kind


def _count(limits: tuple[int, int] | None) -> int:
    return 1 if limits is None else limits[1] - limits[0]
