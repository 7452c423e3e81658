"""Conversion between uint8 sRGB and CIE L*a*b* (D65) by lookup tables.

It stops at the cube roots of X, Y and Z, because L*, a* and b* are linear in them.

Standards: IEC 61966-2-1 (sRGB) and CIE 15 (L*a*b*), with the matrix and white point of ITU-R BT.709: white is the sum
of the matrix's columns, so that grey has a* = b* = 0.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from slideloom_stain.density import Table
from slideloom_stain.loops import Floats

RGB_TO_XYZ = np.array([[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]])
WHITE = RGB_TO_XYZ.sum(axis=1)
# L*, a*, b* from the roots of X, Y and Z: a matrix and a constant.
ROOTS_TO_LAB = np.array([[0.0, 116.0, 0.0], [500.0, -500.0, 0.0], [0.0, 200.0, -200.0]])
LAB_OFFSET = np.array([-16.0, 0.0, 0.0])
LAB_TO_ROOTS = np.linalg.inv(ROOTS_TO_LAB)

TO_XYZ = (RGB_TO_XYZ / WHITE[:, None]).astype(np.float32)
FROM_XYZ = (np.linalg.inv(RGB_TO_XYZ) * WHITE).astype(np.float32)

# The root of light is a line up to an end, and above it the cube root: a guess by the exponent, times a polynomial.
_TOE_END, _TOE_SLOPE, _TOE_START = (6 / 29) ** 3, (29 / 6) ** 2 / 3, 4 / 29
_LEAST = 1 / 128  # least light for the cube root, below the toe's end
_GUESS = 0x54A20000  # for which the guess is within 3.5% of 1 / root, both ways
# (1 - x)^(-2/3) for |x| up to 0.103, within 3.1e-7; the least largest relative error of degree 4.
_TERMS = (1.00000001, 0.6666517, 0.555534745, 0.499469404, 0.45863519)
# A grey is looked up by the exponent and the first 11 bits of its light, which leaves an error below 0.03 grey levels.
_DARKEST = 2.0**-13  # less light is black
_INDEX_SHIFT = 12

CONSTANTS = np.concatenate(
    [
        TO_XYZ.ravel(),
        [_LEAST, 1 / 3, *_TERMS, _TOE_END, _TOE_SLOPE, _TOE_START],
        [6 / 29, 1 / _TOE_SLOPE, -_TOE_START / _TOE_SLOPE],
        FROM_XYZ.ravel(),
        [_DARKEST],
    ]
).astype(np.float32)  # in the order of the compiled loops


def linear_light(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Linear light, 0-1, of sRGB values, 0-1."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def _srgb(light: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def _greys() -> NDArray[np.uint8]:
    first, last = (int(np.float32(light).view(np.int32)) for light in (_DARKEST, 1.0))
    starts = np.arange(first, last + 1, 1 << _INDEX_SHIFT, dtype=np.int32)
    middle = (starts + (1 << _INDEX_SHIFT >> 1)).view(np.float32).astype(np.float64)
    return np.floor(255 * _srgb(np.minimum(middle, 1.0)) + 0.5).astype(np.uint8)


GREYS = _greys()  # by `grey_index`


def roots_of(light: Floats, *, out: Floats, room: tuple[Floats, Floats]) -> None:
    """Write to `out` the root of X, Y or Z: cubic, with the linear toe of L*a*b*, within 7e-7 of the exact one.

    `out` and both arrays of `room` have the shape of `light`; step by step in reused memory, which takes a third of the
    time of new arrays.
    """
    single = np.float32
    square, guess = room
    has_toe = light.min(initial=1.0) <= single(_TOE_END)
    bright = np.maximum(light, single(_LEAST)) if has_toe else light
    np.multiply(bright.view(np.int32), single(1 / 3), out=square, dtype=np.float32, casting="unsafe")
    np.subtract(np.int32(_GUESS), square.astype(np.int32), out=guess.view(np.int32))  # the exponent's third, cut off
    np.multiply(guess, guess, out=square)
    np.multiply(bright, square, out=square)
    rest = np.multiply(square, guess, out=guess)
    np.subtract(single(1), rest, out=rest)
    np.multiply(rest, single(_TERMS[-1]), out=out)
    out += single(_TERMS[-2])
    for term in _TERMS[-3::-1]:
        out *= rest
        out += single(term)
    out *= square
    if has_toe:
        np.copyto(out, light * single(_TOE_SLOPE) + single(_TOE_START), where=light <= single(_TOE_END))


def lights_of(root: Floats, *, out: Floats, room: Floats) -> None:
    """Write to `out` the light of roots, the inverse of `roots_of`; `room` is of the same shape."""
    np.multiply(root, root, out=out)
    out *= root
    if root.min(initial=1.0) <= np.float32(6 / 29):
        np.multiply(root, np.float32(1 / _TOE_SLOPE), out=room)
        room += np.float32(-_TOE_START / _TOE_SLOPE)
        np.copyto(out, room, where=root <= np.float32(6 / 29))


def grey_index(light: Floats) -> NDArray[np.uint16]:
    """Where in `GREYS` the grey of a channel's linear light is. The light is clipped to 0-1, in place."""
    np.clip(light, np.float32(_DARKEST), np.float32(1), out=light)
    index = light.view(np.int32)
    index -= np.float32(_DARKEST).view(np.int32)
    index >>= _INDEX_SHIFT
    return index.astype(np.uint16)


def luminance_parts(brightness: Table) -> NDArray[np.int32]:
    """(3, 256) what each value of each channel adds to the luminance, in units of 2^-28, after the brightness table."""
    parts: NDArray[np.int32] = np.rint(np.outer(RGB_TO_XYZ[1], linear_light(brightness / 255.0)) * 2**28).astype(
        np.int32
    )
    return parts


def luminance_limit(lightness: float) -> int:
    """The luminance, in units of 2^-28, where L* is `lightness`, which must be above 8."""
    return round(((lightness + 16) / 116) ** 3 * 2**28)
