"""Slides whose pixels are known, from a formula or from an array, and a reader for the former."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from math import floor
from pathlib import Path
from typing import Any, ClassVar

import attrs
import numpy as np
from numpy.typing import NDArray
from slideloom.base.errors import SlideError
from slideloom.base.geometry import Box, Point, Rgb, Size
from slideloom.base.parsing import parse_json
from slideloom.pixels.resampling import resample
from slideloom.settings.options import Settings
from slideloom.slides.info import Level, Resolution, SlideInfo, slide_name
from slideloom.slides.slide import Slide
from slideloom.steps.reader import Reader

WHITE = (255, 255, 255)
MARK = "slideloom-analytic"
_BYTES_AT_MOST = 1 << 20  # an analytic slide is a few hundred bytes of JSON

# Per channel: mean, rise over the slide's width and height (grey levels), and waves as (amplitude in grey levels,
# wavelength in units of the shortest one, direction in degrees, phase in radians). All sums stay within 22 and 233.
_Channel = tuple[float, float, float, tuple[tuple[float, float, float, float], ...]]
_CHANNELS: tuple[_Channel, _Channel, _Channel] = (
    (128.3, 36.0, -22.0, ((22.0, 1.0, 17.0, 0.3), (31.0, 1.9, 101.0, 1.1), (23.0, 4.3, 54.0, 2.7))),
    (121.7, -28.0, 30.0, ((19.0, 1.2, 73.0, 2.2), (27.0, 2.3, 11.0, 0.6), (24.0, 5.1, 142.0, 4.0))),
    (133.1, 24.0, 34.0, ((21.0, 1.1, 128.0, 4.9), (25.0, 1.7, 38.0, 3.2), (24.0, 3.7, 83.0, 0.9))),
)
# The same as columns: (3, 1, 1) numbers of channels, (3, waves, 1) of waves; 2 pi / wavelength along either axis.
_MEAN, _RISE_X, _RISE_Y = (np.array([row[i] for row in _CHANNELS])[:, None, None] for i in range(3))
_AMPLITUDE, _LENGTH, _DEGREES, _PHASE = np.array([row[3] for row in _CHANNELS]).transpose(2, 0, 1)[..., None]
_WAVES_X = 2 * np.pi / _LENGTH * np.cos(np.deg2rad(_DEGREES))
_WAVES_Y = 2 * np.pi / _LENGTH * np.sin(np.deg2rad(_DEGREES))


def _mpp_of(mpp: float | tuple[float, float] | None, source: str) -> Resolution | None:
    if mpp is None:
        return None
    x, y = mpp if isinstance(mpp, tuple) else (mpp, mpp)
    return Resolution(x, y, source)


def _levels(size: Size, downsamples: Sequence[float]) -> tuple[Level, ...]:
    """Levels with every pixel that is entirely on the slide, cropped as by scanners."""
    if not downsamples or downsamples[0] != 1 or list(downsamples) != sorted(set(downsamples)):
        raise ValueError(f"downsamples must rise from 1, not {tuple(downsamples)}")
    return tuple(
        Level(Size(max(1, floor(size.width / d + 1e-9)), max(1, floor(size.height / d + 1e-9))), float(d), float(d))
        for d in downsamples
    )


class AnalyticSlide(Slide):
    """A slide of any size without pixels in memory: f(x, y) is a ramp and three slow waves per channel.

    A pixel of any level is the area average of f over its footprint (rounded half up), so the average over *any* box is
    known exactly: `expected`. f is continuous over x, y in level-0 pixels; pixel (i, j) covers i to i + 1.

    Args:
        size: of level 0 in pixels.
        downsamples: of the levels, rising from 1; need not be whole, such as (1, 4.0003, 16.01).
        mpp: microns per pixel, one number or (x, y), or None as on slides that record none.
        wavelength_px: of the shortest wave, in level-0 pixels; below about 4, the image is no longer band-limited.
        bounds: the scanned area; outside it is background.
        background: colour where there is no image.
        damaged: level-0 boxes; a read that touches one raises SlideError.
        thread_safe: False makes a slide that raises an error when two threads read it at once.
        path: shown in `info`; the file need not exist.
        tiff_mpp, objective_power, vendor, properties: for `info`.
    """

    def __init__(
        self,
        size: Size,
        *,
        downsamples: Sequence[float] = (1,),
        mpp: float | tuple[float, float] | None = 0.5,
        wavelength_px: float = 64.0,
        bounds: Box | None = None,
        background: tuple[int, int, int] = WHITE,
        damaged: Sequence[Box] = (),
        thread_safe: bool = True,
        path: Path = Path("analytic.json"),
        tiff_mpp: float | tuple[float, float] | None = None,
        objective_power: float | None = None,
        vendor: str = "",
        properties: Mapping[str, str] | None = None,
    ) -> None:
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="analytic",
            levels=_levels(size, downsamples),
            mpp=_mpp_of(mpp, "analytic"),
            tiff_mpp=_mpp_of(tiff_mpp, "TIFF resolution"),
            objective_power=objective_power,
            bounds=bounds,
            vendor=vendor,
            background=background,
            properties=dict(properties or {}),
        )
        self.damaged = tuple(damaged)
        self.wavelength_px = wavelength_px
        self.thread_safe = thread_safe  # type: ignore[misc]  # of this slide, where others say it of their class
        self._in_use = threading.Lock()

    def expected(self, box: Box, size: Size) -> NDArray[np.float64]:
        """The exact area average of every pixel of `box` divided into `size`, background included.

        Args:
            box: in level-0 pixels; may be fractional and extend beyond the slide.
            size: of the result.

        Returns:
            (size.height, size.width, 3) float64, not rounded.
        """
        x = box.x + box.width / size.width * np.arange(size.width + 1, dtype=np.float64)
        y = box.y + box.height / size.height * np.arange(size.height + 1, dtype=np.float64)
        return self._average(x, y, self.info.bounds or self.info.box)

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        stored = self.info.levels[level]
        x = stored.downsample_x * (origin.x + np.arange(size.width + 1, dtype=np.float64))
        y = stored.downsample_y * (origin.y + np.arange(size.height + 1, dtype=np.float64))
        here = Box(x[0], y[0], x[-1] - x[0], y[-1] - y[0])
        for box in self.damaged:
            if box.intersection(here):
                raise SlideError(f"{self.info.path.name}: cannot read {here}: the slide is damaged in {box}")
        whole = Box(0, 0, stored.size.width * stored.downsample_x, stored.size.height * stored.downsample_y)
        scanned = whole if self.info.bounds is None else self.info.bounds.intersection(whole)
        with self._alone():
            average = self._average(x, y, scanned or Box(0, 0, 0, 0))
        rounded: Rgb = (average + 0.5).astype(np.uint8, order="C")
        return rounded

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if self.thread_safe:
            yield
        elif self._in_use.acquire(blocking=False):
            try:
                yield
            finally:
                self._in_use.release()
        else:
            raise AssertionError(f"{self.info.path.name}: two threads read a slide that says thread_safe = False")

    def _average(self, x: NDArray[np.float64], y: NDArray[np.float64], scanned: Box) -> NDArray[np.float64]:
        """Averages between the edges `x` (W + 1,) and `y` (H + 1,), where `scanned` has pixels; (H, W, 3)."""
        x_from, x_to = (np.clip(edge, scanned.x, scanned.right) for edge in (x[:-1], x[1:]))
        y_from, y_to = (np.clip(edge, scanned.y, scanned.bottom) for edge in (y[:-1], y[1:]))
        centre_x, centre_y = (x_from + x_to) / 2, (y_from + y_to) / 2
        share_x, share_y = (x_to - x_from) / np.diff(x), (y_to - y_from) / np.diff(y)
        # Each term is a function of y times one of x, so that their sum is one product of matrices.
        ramp_x = _RISE_X * (centre_x / self.info.size.width - 0.5)
        ramp_y = _MEAN + _RISE_Y * (centre_y / self.info.size.height - 0.5)
        # The mean of sin over an interval is sin at its centre times sinc of the half width (numpy's has a pi).
        kx, ky = _WAVES_X / self.wavelength_px, _WAVES_Y / self.wavelength_px
        fade_x = _AMPLITUDE * np.sinc(kx * (x_to - x_from) / (2 * np.pi))
        fade_y = np.sinc(ky * (y_to - y_from) / (2 * np.pi))
        along, across = kx * centre_x + _PHASE, ky * centre_y
        of_x = [np.ones_like(ramp_x), ramp_x, np.sin(along) * fade_x, np.cos(along) * fade_x]
        of_y = [ramp_y, np.ones_like(ramp_y), np.cos(across) * fade_y, np.sin(across) * fade_y]
        planes = np.concatenate(of_y, axis=1).transpose(0, 2, 1) @ np.concatenate(of_x, axis=1)
        result: NDArray[np.float64] = planes.transpose(1, 2, 0)
        if not (share_x == 1).all() or not (share_y == 1).all():
            covered = (share_y[:, None] * share_x[None, :])[..., None]
            result = covered * result + (1 - covered) * np.array(self.info.background)
        return result


class PixelsSlide(Slide):
    """A slide made from an array; smaller levels are area averages of it.

    Args:
        rgb: (H, W, 3) uint8, level 0.
        mpp: microns per pixel, one number or (x, y), or None.
        downsamples: of the levels, rising from 1.
        background: colour outside the slide.
        path: shown in `info`.
    """

    exact_parts = True

    def __init__(
        self,
        rgb: Rgb,
        *,
        mpp: float | tuple[float, float] | None = 0.5,
        downsamples: Sequence[float] = (1,),
        background: tuple[int, int, int] = WHITE,
        path: Path = Path("pixels.json"),
    ) -> None:
        if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
            raise ValueError(f"rgb must be (H, W, 3) uint8, not {rgb.shape} {rgb.dtype}")
        levels = _levels(Size(rgb.shape[1], rgb.shape[0]), downsamples)
        self.info = SlideInfo(
            path=path,
            name=slide_name(path),
            reader="pixels",
            levels=levels,
            mpp=_mpp_of(mpp, "array"),
            background=background,
        )
        self._pixels = [rgb]
        for level in levels[1:]:
            box = Box(0, 0, level.size.width * level.downsample_x, level.size.height * level.downsample_y)
            self._pixels.append(resample(rgb, box=box, size=level.size))

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        """See `Slide.read`."""
        stored = self._pixels[level]
        result = np.empty((size.height, size.width, 3), np.uint8)
        result[:] = self.info.background
        left, top = max(origin.x, 0), max(origin.y, 0)
        part = stored[top : max(origin.y + size.height, 0), left : max(origin.x + size.width, 0)]
        x, y = left - origin.x, top - origin.y
        if part.size:
            result[y : y + part.shape[0], x : x + part.shape[1]] = part
        return result


@attrs.frozen
class Analytic(Settings[Reader]):
    """Opens slides of known pixels, described by a small JSON file; for tests without an image library."""

    name: ClassVar[str] = "analytic"

    def build(self) -> Reader:
        """See `Settings.build`."""
        return AnalyticReader()


class AnalyticReader(Reader):
    """Opens files written by `write_analytic`."""

    def recognises(self, path: Path) -> bool:
        """True for a JSON file that says so at its start."""
        try:
            with path.open("rb") as file:
                return f'"{MARK}"'.encode() in file.read(64)
        except OSError:
            return False

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        try:
            if path.stat().st_size > _BYTES_AT_MOST:
                raise SlideError(f"{path.name}: an analytic slide is smaller than 1 MiB; this is another file")
            options = parse_json(path.read_text(encoding="utf-8"))
            return _slide_of(options, path)
        except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise SlideError(
                f"{path.name}: not a whole analytic slide ({error}); write it with slideloom_testing.write_analytic"
            ) from error


def _slide_of(options: dict[str, Any], path: Path) -> AnalyticSlide:
    if options.pop(MARK) != 1:
        raise ValueError(f'"{MARK}" must be 1')
    size = Size(int(options.pop("width")), int(options.pop("height")))
    for name in ("mpp", "tiff_mpp", "background"):
        if isinstance(options.get(name), list):
            options[name] = tuple(options[name])
    if options.get("bounds") is not None:
        options["bounds"] = Box(*options["bounds"])
    options["damaged"] = [Box(*box) for box in options.get("damaged", ())]
    return AnalyticSlide(size, path=path, **options)


def write_analytic(path: Path, size: Size, **options: Any) -> Path:  # Any: the keywords of AnalyticSlide
    """Write the description of an `AnalyticSlide` that the reader "analytic" opens.

    Args:
        path: of the JSON file; any extension will do.
        size: of level 0 in pixels.
        options: keywords of `AnalyticSlide`, except `path`.

    Returns:
        `path`.
    """
    AnalyticSlide(size, path=path, **options)  # mistakes must show here, not when the slide is opened
    table = {MARK: 1, "width": size.width, "height": size.height}
    for name, value in options.items():
        if isinstance(value, Box):
            table[name] = list(attrs.astuple(value))  # type: ignore[assignment]  # JSON holds both
        elif name == "damaged":
            table[name] = [list(attrs.astuple(box)) for box in value]  # type: ignore[assignment]
        else:
            table[name] = value
    path.write_text(json.dumps(table, default=list), encoding="utf-8")
    return path
