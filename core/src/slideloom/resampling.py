"""Resampling of a sub-pixel box of an image to a given size: area average when shrinking, linear when enlarging."""

from __future__ import annotations

import math
import threading
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from slideloom.geometry import Box, Rgb, Size

# A box edge this close to a whole pixel is on it: 1/256 pixel changes no 8-bit value by more than 1.
_ON_GRID = 1 / 256
# Output pixels computed and thrown away to reach a whole source pixel, and how far from it is near enough.
_LONGEST_LEAD = 64
_LEAD_ERROR = 1 / 128
_NEAR_WHOLE = 1.03  # a shrink by this times a whole number is near enough to the whole number


def resample(rgb: Rgb, *, box: Box, size: Size) -> Rgb:
    """The image within `box`, resampled to `size`: the reference form, in numpy alone.

    Along an axis that shrinks, every output pixel is the mean of the source over its own footprint (exact area
    weights). Along an axis that grows, it is the linear interpolation at its centre. Source pixels beyond the
    image repeat its edge.

    Args:
        rgb: (H, W, 3) uint8.
        box: the wanted part, in pixels of `rgb`; edges need not be whole.
        size: of the result, in pixels.

    Returns:
        (size.height, size.width, 3) uint8, rounded half up.
    """
    rows = _weights(start=box.y, length=box.height, count=size.height, limit=rgb.shape[0])
    columns = _weights(start=box.x, length=box.width, count=size.width, limit=rgb.shape[1])
    wide = _apply(rgb.astype(np.float32), rows, axis=0)
    exact = _apply(wide, columns, axis=1)
    rounded: Rgb = np.clip(np.floor(exact + 0.5), 0, 255).astype(np.uint8)
    return rounded


_Taps = list[tuple[NDArray[np.intp], NDArray[np.float32]]]  # per tap: source index and weight of every output pixel


def _weights(*, start: float, length: float, count: int, limit: int) -> _Taps:
    """Per tap, the source index and weight of every output pixel along one axis."""
    step = length / count
    edges = start + step * np.arange(count + 1, dtype=np.float64)
    taps: _Taps = []
    if step < 1:
        centre = (edges[:-1] + edges[1:]) / 2 - 0.5
        first = np.floor(centre).astype(np.intp)
        fraction = (centre - first).astype(np.float32)
        pairs = [(first, 1 - fraction), (first + 1, fraction)]
    else:
        first = np.floor(edges[:-1]).astype(np.intp)
        pairs = []
        for tap in range(math.ceil(step) + 1):
            left = np.maximum(edges[:-1], first + tap)
            right = np.minimum(edges[1:], first + tap + 1)
            pairs.append((first + tap, (np.maximum(right - left, 0) / step).astype(np.float32)))
    for index, weight in pairs:
        if weight.any():
            taps.append((np.clip(index, 0, limit - 1), weight))
    return taps


def _apply(image: NDArray[np.float32], taps: _Taps, *, axis: int) -> NDArray[np.float32]:
    shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    total = np.take(image, taps[0][0], axis=axis) * taps[0][1].reshape(shape)
    for index, weight in taps[1:]:
        total += np.take(image, index, axis=axis) * weight.reshape(shape)
    return total


class NativeResampler:
    """`resample` at native speed, for readers that depend on OpenCV.

    The core has no image library, so the reader hands its `cv2` module in. Agrees with `resample` within one grey
    level on band-limited images: boxes on whole pixels are averaged; others are interpolated linearly on a lattice
    about as fine as the source, and that is averaged. May be called from several threads at once.
    """

    def __init__(self, cv2: Any) -> None:  # Any: OpenCV's stubs cannot be named here without importing it
        self._cv2 = cv2
        self._local = threading.local()

    def __call__(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `resample`."""
        result: Rgb = np.empty((size.height, size.width, 3), np.uint8)
        self.into(rgb, box=box, out=result)
        return result

    def into(self, rgb: Rgb, *, box: Box, out: Rgb) -> None:
        """`resample` to the size of `out`, (h, w, 3) uint8, and into it."""
        size = Size(out.shape[1], out.shape[0])
        ratio_x, ratio_y = box.width / size.width, box.height / size.height
        aligned = _whole(box)
        if aligned is not None and _within(aligned, rgb) and ratio_x >= 1 and ratio_y >= 1:
            x, y, width, height = aligned
            crop = rgb[y : y + height, x : x + width]
            if (width, height) == (size.width, size.height):
                out[...] = crop
            else:
                self._average(crop, out)
            return
        # Up to a ratio of 1.25 one linear sample per pixel loses nothing that an average would keep.
        fine_x, fine_y = (max(1, math.ceil(ratio - 0.25)) for ratio in (ratio_x, ratio_y))
        if (fine_x, fine_y) == (1, 1):
            if not self._shift_and_scale(rgb, box, out):
                self._warp(rgb, box, out)
            return
        lattice: Rgb = np.empty((size.height * fine_y, size.width * fine_x, 3), np.uint8)
        self._warp(rgb, box, lattice)
        self._shrink(lattice, out)

    def _average(self, rgb: Rgb, out: Rgb) -> None:
        """The mean over each pixel's footprint.

        Where the ratio is a little more than a whole number, the image is first brought to that multiple of `out`:
        OpenCV averages whole blocks ten times as fast, and the result is the same within 2 grey levels (59 dB).
        """
        cv2 = self._cv2
        height, width = out.shape[:2]
        fine_x, fine_y = rgb.shape[1] // width, rgb.shape[0] // height
        steps = (rgb.shape[1] / (width * fine_x), rgb.shape[0] / (height * fine_y))
        if 1 < max(steps) <= _NEAR_WHOLE and max(fine_x, fine_y) > 1:
            target = self._memory("multiple", height * fine_y, width * fine_x)
            size = (target.shape[1], target.shape[0])
            rgb = cv2.resize(rgb, size, dst=target, interpolation=cv2.INTER_LINEAR)
        self._shrink(rgb, out)

    def _shrink(self, rgb: Rgb, out: Rgb) -> None:
        cv2 = self._cv2
        _keep(cv2.resize(rgb, (out.shape[1], out.shape[0]), dst=out, interpolation=cv2.INTER_AREA), out)

    def _warp(self, rgb: Rgb, box: Box, out: Rgb) -> None:
        """Linear interpolation at the centres of the pixels of `out`, spread over `box`."""
        cv2 = self._cv2
        height, width = out.shape[:2]
        step_x, step_y = box.width / width, box.height / height
        to_source = np.array(
            [[step_x, 0, box.x + step_x / 2 - 0.5], [0, step_y, box.y + step_y / 2 - 0.5]], dtype=np.float64
        )
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        done = cv2.warpAffine(rgb, to_source, (width, height), dst=out, flags=flags, borderMode=cv2.BORDER_REPLICATE)
        _keep(done, out)

    def _shift_and_scale(self, rgb: Rgb, box: Box, out: Rgb) -> bool:
        """`_warp` at a third of its time, or False where that cannot be done.

        OpenCV's `resize` is the fastest but starts on a whole source pixel. Where the box does not, it is started
        some output pixels earlier, at a distance that brings it to a whole source pixel, and these are thrown away.
        """
        cv2 = self._cv2
        height, width = out.shape[:2]
        step_x, step_y = box.width / width, box.height / height
        lead_x, lead_y = _lead(box.x, step_x), _lead(box.y, step_y)
        if lead_x is None or lead_y is None or rgb.shape[0] < box.bottom or rgb.shape[1] < box.right:
            return False
        (skip_x, first_x), (skip_y, first_y) = lead_x, lead_y
        # The part of the source with what is thrown away before it; one pixel more than the last sample needs.
        wide = math.ceil((skip_x + width) * step_x) + 1
        high = math.ceil((skip_y + height) * step_y) + 1
        scaled_high, scaled_wide = round(high * (1 / step_y)), round(wide * (1 / step_x))
        if (scaled_high, scaled_wide) == (high, wide) and (step_x, step_y) != (1, 1):
            return False  # OpenCV takes equal sizes for a copy, whatever the factors
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

    def _memory(self, use: str, height: int, width: int) -> Rgb:
        """An image of this thread to work in, kept from one time to the next; its content is anything."""
        kept: Rgb | None = getattr(self._local, use, None)
        if kept is None or kept.shape[0] < height or kept.shape[1] < width:
            kept = np.zeros((height + _LONGEST_LEAD, width + _LONGEST_LEAD, 3), np.uint8)
            setattr(self._local, use, kept)
        return kept[:height, :width]


def _keep(result: Rgb, out: Rgb) -> None:
    # OpenCV writes to `dst` where it fits, which ours do; a copy makes sure of it.
    if result is not out:
        out[...] = result


@lru_cache(maxsize=1024)
def _lead(start: float, step: float) -> tuple[int, int] | None:
    """How many output pixels before `start` lies a whole source pixel, and which; None if there is none near."""
    if step < 1:
        return None
    for skip in range(_LONGEST_LEAD):
        first = start - skip * step
        if abs(first - round(first)) < _LEAD_ERROR:
            return skip, round(first)
    return None


def _whole(box: Box) -> tuple[int, int, int, int] | None:
    values = (box.x, box.y, box.width, box.height)
    near = tuple(round(value) for value in values)
    if any(abs(value - whole) > _ON_GRID for value, whole in zip(values, near, strict=True)):
        return None
    return near[0], near[1], near[2], near[3]


def _within(aligned: tuple[int, int, int, int], rgb: Rgb) -> bool:
    x, y, width, height = aligned
    return x >= 0 and y >= 0 and x + width <= rgb.shape[1] and y + height <= rgb.shape[0]
