"""Resampling of a sub-pixel box of an image to a given size: area average when shrinking, linear when enlarging."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from slideloom.base.geometry import Box, Rgb, Size
from slideloom.base.scratch import Scratch
from slideloom.pixels.area import Footprints, area, area_in_numpy, footprints
from slideloom.pixels.linear import COMPILED, Taps, lead, linear, linear_each, taps
from slideloom.pixels.mosaic import Mosaic

# A box edge this close to a whole pixel counts as on it: 1/256 pixel changes no 8-bit value by more than 1.
_ON_GRID = 1 / 256
_NEAR_WHOLE = 1.03  # a ratio of at most this times a whole number is close enough to that number


def resample(rgb: Rgb, *, box: Box, size: Size) -> Rgb:
    """The image within `box`, resampled to `size`: the reference form, in numpy only.

    Along an axis that shrinks, every output pixel is the mean of the source over its own footprint (exact area
    weights). Along an axis that grows, it is the linear interpolation at its centre. Source pixels beyond the
    image repeat its edge.

    Args:
        rgb: (H, W, 3) uint8.
        box: the part to resample, in pixels of `rgb`; edges need not be whole.
        size: of the result, in pixels.

    Returns:
        (size.height, size.width, 3) uint8, rounded half up.
    """
    x = footprints(box.x, box.width, count=size.width, limit=rgb.shape[1])
    y = footprints(box.y, box.height, count=size.height, limit=rgb.shape[0])
    return area_in_numpy(rgb, x=x, y=y)


class NativeResampler:
    """`resample` at native speed, for readers that depend on OpenCV.

    The core has no image library, so the reader passes in its `cv2` module. Boxes on whole pixels are averaged. Others
    are interpolated linearly on a lattice as fine as the source, within 3%, which is then averaged: within one grey
    level of `resample` on band-limited images. Where no lattice is, at ratios such as 1.3, the result is that of
    `resample`. May be called from several threads at once.
    """

    def __init__(self, cv2: Any) -> None:  # Any: OpenCV's stubs cannot be named here without importing it
        self._cv2 = cv2
        self._scratch = Scratch()

    def __call__(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `resample`."""
        result: Rgb = np.empty((size.height, size.width, 3), np.uint8)
        self.into(rgb, box=box, out=result)
        return result

    def into(self, source: Rgb | Mosaic, *, box: Box, out: Rgb) -> None:
        """Resample an image, or the window of a mosaic, into `out`, (h, w, 3) uint8, and to its size."""
        mosaic = source if isinstance(source, Mosaic) else Mosaic.of(source)
        task = _task(mosaic, box, out)
        if task is not None:
            linear_each([task])
            return
        height, width = out.shape[:2]
        aligned, lattice = _way(box, width, height, mosaic.window)
        if aligned is not None:
            part = mosaic.part(*aligned)
            if part.window == Size(width, height):
                part.copy_to(out)
            else:
                self._average(part, out)
        elif lattice is None:
            x, y = _footprints(box, width, height, mosaic.window)
            area(mosaic, x=x, y=y, out=out)
        elif lattice == (1, 1):
            self._interpolate(mosaic, box, out)
        else:
            fine_x, fine_y = lattice
            fine = self._memory("lattice", height * fine_y, width * fine_x)
            self._interpolate(mosaic, box, fine)
            self._shrink(fine, out)

    def into_each(self, sources: Sequence[Rgb | Mosaic], *, boxes: Sequence[Box], out: Sequence[Rgb]) -> None:
        """`into` for many sources, boxes and results, most of them in one call of the compiled loop."""
        together = []
        for source, box, result in zip(sources, boxes, out, strict=True):
            task = _task(source, box, result) if isinstance(source, Mosaic) else None
            if task is not None:
                together.append(task)
            else:
                self.into(source, box=box, out=result)
        if together:
            linear_each(together)

    def _average(self, mosaic: Mosaic, out: Rgb) -> None:
        """The mean over each pixel's footprint.

        If the ratio is slightly above a whole number, the image is first resampled to that multiple of `out`: OpenCV
        averages whole blocks ten times as fast, and the result is the same within 2 grey levels (59 dB).
        """
        height, width = out.shape[:2]
        window = mosaic.window
        fine_x, fine_y = window.width // width, window.height // height
        steps = (window.width / (width * fine_x), window.height / (height * fine_y))
        if 1 < max(steps) <= _NEAR_WHOLE and max(fine_x, fine_y) > 1:
            source = self._memory("lattice", height * fine_y, width * fine_x)
            self._interpolate(mosaic, Box(0, 0, window.width, window.height), source)
        else:
            source = self._image(mosaic)
        self._shrink(source, out)

    def _shrink(self, rgb: Rgb, out: Rgb) -> None:
        cv2 = self._cv2
        done = cv2.resize(rgb, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_AREA)
        if done is not out:  # OpenCV writes to `dst` if it fits, as ours does; otherwise it is copied
            out[...] = done

    def _interpolate(self, mosaic: Mosaic, box: Box, out: Rgb) -> None:
        """Linear interpolation of `box` at the centres of the pixels of `out`."""
        if not COMPILED and self._shift_and_scale(mosaic, box, out):
            return
        x, y = _taps(box, out.shape[1], out.shape[0], mosaic.window)
        linear(mosaic, x=x, y=y, out=out)

    def _shift_and_scale(self, mosaic: Mosaic, box: Box, out: Rgb) -> bool:
        """`_interpolate` without the compiled loop, with the same result; False if that is not possible.

        OpenCV's `resize` is ten times as fast as numpy but must start on a whole source pixel. If the box does not,
        `resize` is started some output pixels earlier, where they meet a whole source pixel, and these output pixels
        are discarded.
        """
        cv2 = self._cv2
        height, width = out.shape[:2]
        step_x, step_y = box.width / width, box.height / height
        lead_x, lead_y = lead(round(box.x, 6), step_x), lead(round(box.y, 6), step_y)
        window = mosaic.window
        if lead_x is None or lead_y is None or window.height < box.bottom or window.width < box.right:
            return False
        (skip_x, first_x), (skip_y, first_y) = lead_x, lead_y
        # The part of the source, including what is discarded before it, and one pixel more than the last sample needs.
        wide = math.ceil((skip_x + width) * step_x) + 1
        high = math.ceil((skip_y + height) * step_y) + 1
        scaled_high, scaled_wide = round(high * (1 / step_y)), round(wide * (1 / step_x))
        if (scaled_high, scaled_wide) == (high, wide) and (step_x, step_y) != (1, 1):
            return False  # OpenCV only copies if the sizes are equal, whatever the factors
        rgb = self._image(mosaic)
        rows, columns = min(high + first_y, rgb.shape[0]), min(wide + first_x, rgb.shape[1])
        top, left = max(0, first_y), max(0, first_x)
        source = self._memory("source", high, wide)
        source[top - first_y : rows - first_y, left - first_x : columns - first_x] = rgb[top:rows, left:columns]
        source[rows - first_y :] = source[rows - first_y - 1]
        source[:, columns - first_x :] = source[:, columns - first_x - 1, None]
        if first_y < 0:
            source[-first_y - 1] = source[-first_y]
        if first_x < 0:
            source[:, -first_x - 1] = source[:, -first_x]
        target = self._memory("target", scaled_high, scaled_wide)
        scaled = cv2.resize(source, None, dst=target, fx=1 / step_x, fy=1 / step_y, interpolation=cv2.INTER_LINEAR)
        out[...] = scaled[skip_y : skip_y + height, skip_x : skip_x + width]
        return True

    def _image(self, mosaic: Mosaic) -> Rgb:
        """The window of a mosaic, assembled in memory of this thread unless it is already in one piece."""
        if mosaic.in_one is not None:
            return mosaic.in_one
        rgb = self._memory("image", mosaic.window.height, mosaic.window.width)
        mosaic.copy_to(rgb)
        return rgb

    def _memory(self, use: str, height: int, width: int) -> Rgb:
        return self._scratch.take(use, height, width, 3, dtype=np.uint8)


def _task(mosaic: Mosaic, box: Box, out: Rgb) -> tuple[Mosaic, Taps, Taps, Rgb] | None:
    """What `linear_each` needs to do all of it in the compiled loop; None if that cannot.

    It can where a pixel is one linear sample, or the mean of 2 x 2 of them.
    """
    found = _compiled_way(box, out.shape[1], out.shape[0], mosaic.window) if COMPILED else None
    if found is None:
        return None
    part, x, y = found
    return mosaic if part is None else mosaic.part(*part), x, y, out


@lru_cache(maxsize=1024)
def _compiled_way(
    box: Box, width: int, height: int, window: Size
) -> tuple[tuple[int, int, int, int] | None, Taps, Taps] | None:
    """The part of the window, None for all of it, and the taps for the compiled loop; None if it cannot do all."""
    aligned, lattice = _way(box, width, height, window)
    if aligned is not None:
        _, _, across, down = aligned
        near = 1 < max(across / (2 * width), down / (2 * height)) <= _NEAR_WHOLE
        if not near or (across // width, down // height) != (2, 2):
            return None
        return aligned, *_taps(Box(0, 0, across, down), 2 * width, 2 * height, Size(across, down))
    if lattice not in ((1, 1), (2, 2)):
        return None
    fine_x, fine_y = lattice
    return None, *_taps(box, fine_x * width, fine_y * height, window)


@lru_cache(maxsize=1024)  # most tiles of a slide start at one of a few sub-pixel offsets
def _way(
    box: Box, width: int, height: int, window: Size
) -> tuple[tuple[int, int, int, int] | None, tuple[int, int] | None]:
    """The box in whole pixels if it can be averaged; else samples per output pixel of a lattice, if one fits."""
    ratios = box.width / width, box.height / height
    aligned = _whole(box)
    if aligned is not None and min(ratios) >= 1:
        x, y, across, down = aligned
        if x >= 0 and y >= 0 and x + across <= window.width and y + down <= window.height:
            return aligned, None
    fine_x, fine_y = (max(1, math.ceil(ratio - 0.25)) for ratio in ratios)
    steps = [ratio / fine for ratio, fine in zip(ratios, (fine_x, fine_y), strict=True) if ratio > 1]
    # One linear sample of a larger step skips source pixels; smaller steps count some of them twice.
    fits = all(1 / _NEAR_WHOLE <= step <= _NEAR_WHOLE for step in steps)
    return None, (fine_x, fine_y) if fits else None


@lru_cache(maxsize=1024)
def _taps(box: Box, width: int, height: int, window: Size) -> tuple[Taps, Taps]:
    # Positions that differ only by the rounding error of a subtraction are the same.
    x = taps(round(box.x, 6), box.width / width, width, window.width)
    y = taps(round(box.y, 6), box.height / height, height, window.height)
    return x, y


@lru_cache(maxsize=1024)
def _footprints(box: Box, width: int, height: int, window: Size) -> tuple[Footprints, Footprints]:
    x = footprints(round(box.x, 6), box.width, count=width, limit=window.width)
    y = footprints(round(box.y, 6), box.height, count=height, limit=window.height)
    return x, y


def _whole(box: Box) -> tuple[int, int, int, int] | None:
    values = (box.x, box.y, box.width, box.height)
    near = tuple(round(value) for value in values)
    if any(abs(value - whole) > _ON_GRID for value, whole in zip(values, near, strict=True)):
        return None
    return near[0], near[1], near[2], near[3]
