"""ICC profiles of known colours, and what they make of a pixel by formula.

Source: ICC.1:2001-04 (profiles of version 2: a matrix and a gamma); IEC 61966-2-1 (sRGB), adapted to D50 by Bradford's
method, as profiles are; Adobe RGB (1998) Color Image Encoding.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

ADOBE_GAMMA = 2.19921875
# Columns are the XYZ of red, green and blue under D50.
ADOBE_RGB = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322], [0.01947, 0.06087, 0.74457]])
_SRGB = np.array(
    [[0.4360747, 0.3850649, 0.1430804], [0.2225045, 0.7168786, 0.0606169], [0.0139322, 0.0971045, 0.7141733]]
)
_D50 = (0.9642, 1.0, 0.8249)
_HEAD = 128  # bytes


def matrix_profile(
    description: str, *, colorants: NDArray[np.float64] = ADOBE_RGB, gamma: float = ADOBE_GAMMA, space: bytes = b"RGB "
) -> bytes:
    """An ICC profile of a scanner.

    Args:
        description: its name, ASCII.
        colorants: (3, 3) XYZ of red, green and blue, in columns.
        gamma: of all channels.
        space: the colour space that it claims, four letters.
    """
    text = description.encode("ascii") + b"\0"
    curve = struct.pack(">4sIIH", b"curv", 0, 1, round(gamma * 256)) + b"\0\0"
    described = struct.pack(">4sII", b"desc", 0, len(text)) + text + bytes(4 + 4 + 2 + 1 + 67)
    tags = {
        b"desc": described,
        b"cprt": struct.pack(">4sI", b"text", 0) + b"public domain\0",
        b"wtpt": _xyz(_D50),
        b"rXYZ": _xyz(colorants[:, 0]),
        b"gXYZ": _xyz(colorants[:, 1]),
        b"bXYZ": _xyz(colorants[:, 2]),
        b"rTRC": curve,
        b"gTRC": curve,
        b"bTRC": curve,
    }
    table, content = struct.pack(">I", len(tags)), b""
    start = _HEAD + 4 + 12 * len(tags)
    for name, value in tags.items():
        padded = value + bytes(-len(value) % 4)
        table += struct.pack(">4sII", name, start + len(content), len(value))
        content += padded
    body = table + content
    head = struct.pack(">I4sI4s4s4s", _HEAD + len(body), bytes(4), 0x02100000, b"scnr", space, b"XYZ ")
    head += struct.pack(">6H4s", 2026, 1, 1, 0, 0, 0, b"acsp") + bytes(28) + _fixed(_D50)
    return head + bytes(_HEAD - len(head)) + body


def srgb_by_formula(
    rgb: Rgb, *, colorants: NDArray[np.float64] = ADOBE_RGB, gamma: float = ADOBE_GAMMA
) -> NDArray[np.uint8]:
    """What sRGB makes of the colours of `matrix_profile`: (..., 3) uint8, rounded to nearest."""
    linear = (rgb / 255.0) ** gamma
    wanted = np.clip(linear @ (np.linalg.inv(_SRGB) @ colorants).T, 0, 1)
    shown = np.where(wanted <= 0.0031308, 12.92 * wanted, 1.055 * wanted ** (1 / 2.4) - 0.055)
    found: NDArray[np.uint8] = np.rint(255 * shown).astype(np.uint8)
    return found


def _xyz(values: NDArray[np.float64] | tuple[float, float, float]) -> bytes:
    return struct.pack(">4sI", b"XYZ ", 0) + _fixed(values)


def _fixed(values: NDArray[np.float64] | tuple[float, float, float]) -> bytes:
    return struct.pack(">3i", *(round(float(value) * 65536) for value in values))
