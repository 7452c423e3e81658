"""Conversion between uint8 sRGB and CIE L*a*b* (D65) by lookup tables.

It stops at the cube roots of X, Y and Z, because L*, a* and b* are linear in them.

Standards: IEC 61966-2-1 (sRGB) and CIE 15 (L*a*b*), with the matrix and white point of ITU-R BT.709: white is the sum
of the matrix's columns, so that grey has a* = b* = 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from slideloom import Mask, Rgb

from slideloom_stain.density import Table, as_bytes, lookup
from slideloom_stain.loops import Floats
from slideloom_stain.opencv import cv2
from slideloom_stain.scratch import scratch

RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = RGB_TO_XYZ.sum(axis=1)
# L*, a*, b* from the roots of X, Y and Z: a matrix and a constant.
ROOTS_TO_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
LAB_OFFSET = np.array([-16.0, 0.0, 0.0])
LAB_TO_ROOTS = np.linalg.inv(ROOTS_TO_LAB)

_STEPS = 65535.0  # the tables' index: 16 bits leave an error below 0.03 grey levels
_LOWEST_ROOT, _HIGHEST_ROOT = -0.5, 1.5  # outside these every colour is clipped to 0 or 255 anyway
# X, Y and Z of sRGB colours lie within 0 to 1, so adding a half and truncating rounds them.
_TO_XYZ = np.column_stack([RGB_TO_XYZ / WHITE[:, None] * _STEPS, [0.5, 0.5, 0.5]])
_FROM_XYZ = np.linalg.inv(RGB_TO_XYZ) * WHITE * _STEPS


def linear_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light, 0-1, of sRGB values, 0-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _root(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light > (6 / 29) ** 3, np.cbrt(light), light * (29 / 6) ** 2 / 3 + 4 / 29)


def _light_of_root(root: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(root > 6 / 29, root**3, 3 * (6 / 29) ** 2 * (root - 4 / 29))


def _srgb(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


_LIGHTS = np.arange(65536) / _STEPS
_ROOT_TABLE = _root(_LIGHTS).astype(np.float32)
_LIGHT_TABLE = _light_of_root(_LOWEST_ROOT + _LIGHTS * (_HIGHEST_ROOT - _LOWEST_ROOT)).astype(np.float32)
_GREY_TABLE = np.floor(255 * _srgb(_LIGHTS) + 0.5).astype(np.uint8)


def roots_of(rgb: Rgb, brightness: Table) -> Floats:
    """The cube roots of X, Y and Z (with the linear toe of L*a*b*).

    Args:
        rgb: (h, w, 3) uint8.
        brightness: (256,) the new value of each uint8 value, applied first, 0-255.

    Returns:
        (h, w, 3) float32, 1 for white; valid until this thread calls the function again.
    """
    linear = lookup(rgb, linear_light(brightness / 255.0).astype(np.float32), scratch("value", rgb.shape))
    steps: NDArray[Any] = scratch("steps", rgb.shape, np.uint16)
    np.copyto(steps, cv2.transform(linear, _TO_XYZ, scratch("channels", rgb.shape)), casting="unsafe")
    return lookup(steps, _ROOT_TABLE, scratch("roots", rgb.shape))


def lab_of_roots(roots: Floats) -> Floats:
    """L*, a* and b* as (h, w, 3) float32."""
    change = np.column_stack([ROOTS_TO_LAB, LAB_OFFSET])
    return np.asarray(cv2.transform(roots, change, scratch("value", roots.shape)), np.float32)


def rgb_of_roots(roots: Floats, change: NDArray[np.float64], out: Rgb | None = None) -> Rgb:
    """sRGB of the roots after an affine change.

    Args:
        roots: (h, w, 3).
        change: (3, 4), the matrix and constant of the affine change.
        out: where to write the result; by default a new array.

    Returns:
        (h, w, 3) uint8; colours outside sRGB are clipped per channel.
    """
    scale = _STEPS / (_HIGHEST_ROOT - _LOWEST_ROOT)
    indexed = change * scale
    indexed[:, 3] -= _LOWEST_ROOT * scale
    steps = _to_steps(cv2.transform(roots, indexed, scratch("value", roots.shape)))
    light = lookup(steps, _LIGHT_TABLE, scratch("value", roots.shape))
    steps = _to_steps(cv2.transform(light, _FROM_XYZ, scratch("channels", roots.shape)))
    return np.asarray(lookup(steps, _GREY_TABLE, out), np.uint8)


def darker_than(rgb: Rgb, brightness: Table, lightness: float) -> Mask:
    """(h, w) bool, True where L* is below `lightness`, which must be above 8."""
    linear = lookup(rgb, linear_light(brightness / 255.0).astype(np.float32), scratch("value", rgb.shape))
    luminance = cv2.transform(linear, RGB_TO_XYZ[1:2])
    mask: Mask = luminance < np.float32(((lightness + 16) / 116) ** 3)
    return mask


def keep_white(changed: Rgb, rgb: Rgb, brightness: Table, tissue: Mask, out: Rgb | None) -> Rgb:
    """`changed` where there is tissue, elsewhere `rgb` after the brightness step; written to `out` if it is given."""
    bright = lookup(rgb, as_bytes(brightness.astype(np.float32)).ravel(), out)
    return np.asarray(cv2.copyTo(changed, tissue.view(np.uint8), bright), np.uint8)


def _to_steps(values: Floats) -> NDArray[np.uint16]:
    """Values rounded and clipped to 0-65535."""
    steps = scratch("steps", values.shape, np.uint16)
    return cv2.add(values, 0, steps, None, cv2.CV_16U)  # type: ignore[no-any-return]
