"""Resampling of a sub-pixel box of an image to a given size: area average when shrinking, linear when enlarging."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from slideloom.geometry import Box, Rgb, Size

# A box edge this close to a whole pixel is on it: 1/256 pixel changes no 8-bit value by more than 1.
_ON_GRID = 1 / 256


class Resampler(Protocol):
    """Maps a box of an image, in pixels of that image, to an image of the given size."""

    def __call__(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """`rgb` (H, W, 3) uint8 within `box`, as (size.height, size.width, 3) uint8."""
        ...


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
    level on band-limited images: boxes on whole pixels are averaged exactly; others are interpolated linearly on a
    lattice at least as fine as the source, and that is averaged.
    """

    def __init__(self, cv2: Any) -> None:  # Any: OpenCV's stubs cannot be named here without importing it
        self._cv2 = cv2

    def __call__(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        """See `resample`."""
        cv2 = self._cv2
        ratio_x, ratio_y = box.width / size.width, box.height / size.height
        aligned = _whole(box)
        inside = aligned is not None and _within(aligned, rgb)
        if aligned is not None and inside and ratio_x >= 1 and ratio_y >= 1:
            x, y, width, height = aligned
            crop = rgb[y : y + height, x : x + width]
            if (width, height) == (size.width, size.height):
                return np.ascontiguousarray(crop)
            shrunk: Rgb = cv2.resize(crop, (size.width, size.height), interpolation=cv2.INTER_AREA)
            return shrunk
        # Up to a ratio of 1.25 one linear sample per pixel loses nothing that an average would keep.
        fine_x, fine_y = (max(1, math.ceil(ratio - 0.25)) for ratio in (ratio_x, ratio_y))
        step_x, step_y = ratio_x / fine_x, ratio_y / fine_y
        to_source = np.array(
            [[step_x, 0, box.x + step_x / 2 - 0.5], [0, step_y, box.y + step_y / 2 - 0.5]], dtype=np.float64
        )
        lattice: Rgb = cv2.warpAffine(
            rgb,
            to_source,
            (size.width * fine_x, size.height * fine_y),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REPLICATE,
        )
        if (fine_x, fine_y) == (1, 1):
            return lattice
        averaged: Rgb = cv2.resize(lattice, (size.width, size.height), interpolation=cv2.INTER_AREA)
        return averaged


def _whole(box: Box) -> tuple[int, int, int, int] | None:
    values = (box.x, box.y, box.width, box.height)
    near = tuple(round(value) for value in values)
    if any(abs(value - whole) > _ON_GRID for value, whole in zip(values, near, strict=True)):
        return None
    return near[0], near[1], near[2], near[3]


def _within(aligned: tuple[int, int, int, int], rgb: Rgb) -> bool:
    x, y, width, height = aligned
    return x >= 0 and y >= 0 and x + width <= rgb.shape[1] and y + height <= rgb.shape[0]
