"""A plain decoder of Philips iSyntax, bit by bit and in floating-point numbers, to compare a reader with.

It finds what it needs in the header by pattern, and shows level 0.

Source: Philips, "Pathology iSyntax image format"; ISO/IEC 15444-1, annex F (5/3); Malvar and Sullivan 2003 (YCoCg-R).
"""

from __future__ import annotations

import base64
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

from stress.shown import Shown, in_tiles

_SIDE = 128
_MOST_PX = 1 << 22
_REACH = 24  # pixels of a level that a coefficient has an effect on beyond its tile, with room

Plane = NDArray[np.float64]


def by_bits(path: Path) -> Shown | None:
    """Level 0 of an iSyntax file; tiles with an effect of a damaged code block count as unreadable."""
    try:
        content = path.read_bytes()
        end = content.index(b"\x04")
        text = content[:end].decode()
        slide = text[text.index(">WSI<") :]
        spans = [tuple(map(int, words.split())) for words in re.findall(r'"0x200B"[^>]*>([^<]*)<', slide)[:4]]
        (left, _, right), (top, _, bottom), _, (_, _, last) = spans
        levels = last + 1
        width, height = right - left + 1, bottom - top + 1
        if width * height > _MOST_PX or levels > 6:
            return None
        table = re.search(r'"0x2014"[^>]*>([^<]*)<', slide)
        rows = base64.b64decode(table[1] if table else "")[4:]
        return _shown(content, rows, levels, (left, top), (width, height))
    except Exception:  # whatever a damaged file makes of this
        return None


def _shown(content: bytes, rows: bytes, levels: int, origin: tuple[int, int], size: tuple[int, int]) -> Shown:
    seek = content.index(b"\x04") + 1
    wide, tall = (-(-length // (_SIDE << levels)) << (levels - 1) for length in size)
    shapes = [(tall >> scale, wide >> scale) for scale in range(levels)]
    counts = [down * across for down, across in shapes]
    bands = [np.zeros((3, 4, down * _SIDE, across * _SIDE)) for down, across in shapes]
    bands[-1][0, 0] = 255
    stored = [np.zeros(shape, bool) for shape in shapes]
    known = np.ones((tall * 2 * _SIDE, wide * 2 * _SIDE), bool)
    for number in range(len(rows) // 48):
        x, y, color, scale, band = struct.unpack_from("<iiIII", rows, number * 48 + 16)
        is_low = band == 0
        first = 3 * 2**scale - 2 + is_low * 2**scale
        across = (x - origin[0] - first) // (256 << scale)
        down = (y - origin[1] - first) // (256 << scale)
        block = color * (sum(counts) + counts[-1]) + sum(counts[: scale + is_low]) + down * shapes[scale][1] + across
        at, _, _, _, length = struct.unpack_from("<QHHIQ", content, seek + 8 + 40 * block + 16)
        stored[scale][down, across] = True
        try:
            found = _block(content[at : at + length], 1 if is_low else 3)
        except (ValueError, IndexError):
            step, reach = 256 << scale, _REACH << scale
            tile = tuple(slice(max(0, i * step - reach), (i + 1) * step + reach) for i in (down, across))
            known[tile] = False
            continue
        place = np.s_[down * _SIDE : (down + 1) * _SIDE, across * _SIDE : (across + 1) * _SIDE]
        for part, values in enumerate(found):
            bands[scale][color, part if is_low else part + 1][place] = values
    low = bands[-1][:, 0]
    for scale in range(levels - 1, -1, -1):
        outside = (255, 0, 0)
        low = np.stack([_merged(low[c], bands[scale][c, 1:], outside[c]) for c in range(3)])
    rgb = _rgb(low)
    rgb[~stored[0].repeat(256, axis=0).repeat(256, axis=1)] = 255
    pad = 3 * 2**levels - 3
    inside = np.s_[pad : size[1] - pad, pad : size[0] - pad]
    return in_tiles(rgb[inside], known[inside])


def _merged(low: Plane, high: Plane, outside: int) -> Plane:
    """Along x and then along y. Pixel 0 would need a coefficient before the first, and is in the padding."""
    upper, lower = _along_x(low, high[0], outside), _along_x(high[1], high[2], 0)
    return _along_x(upper.T, lower.T, outside).T


def _along_x(low: Plane, high: Plane, outside: int) -> Plane:
    low = np.pad(low, ((0, 0), (1, 1)), constant_values=outside)  # coefficients -1 to n
    high = np.pad(high, ((0, 0), (1, 2)))
    even = low - np.floor((high[:, :-1] + high[:, 1:] + 2) / 4)  # pixels 0, 2, ... 2n + 2
    odd = high[:, 1:-1] + np.floor((even[:, :-1] + even[:, 1:]) / 2)  # pixels 1, 3, ... 2n + 1
    pixels = np.empty((low.shape[0], 2 * (low.shape[1] - 2)))
    pixels[:, 0::2], pixels[:, 1::2] = even[:, :-2], odd[:, :-1]
    return pixels


def _rgb(planes: Plane) -> Rgb:
    y, orange, green = np.abs(planes[0]), planes[1], planes[2]
    rest = y - np.floor(green / 2)
    blue = rest - np.floor(orange / 2)
    rgb: Rgb = np.clip(np.stack([blue + orange, rest + green, blue], axis=-1), 0, 255).astype(np.uint8)
    return rgb


def _block(content: bytes, bands: int) -> NDArray[np.int64]:
    """Values of a code block.

    Raises:
        ValueError, IndexError: it is damaged.
    """
    if len(content) <= 8:
        return np.zeros((bands, _SIDE, _SIDE), np.int64)
    (length,), mark, digits = struct.unpack_from("<I", content), content[4], content[5]
    if length > 1 << 17 or digits > 16:
        raise ValueError("no length of a block")
    found = _message(content, length, mark, digits)
    masks = [0xFFFF] * bands
    if length < 32 * bands * _SIDE * _SIDE // 16:
        masks = list(struct.unpack(f"<{bands}H", found[-2 * bands :]))
        if sum(mask.bit_count() for mask in masks) * 2048 + 2 * bands != length:
            raise ValueError("other planes than bytes")
    return _from_planes(found, masks)


def _message(content: bytes, length: int, mark: int, digits: int) -> bytearray:
    bits = "".join(format(byte, "08b")[::-1] for byte in content)
    tree, at = _node(bits, 48, 0)
    found = bytearray()
    while len(found) < length:
        symbol, at = _symbol(tree, bits, at)
        if symbol != mark:
            found.append(symbol)
            continue
        counter, at = _number(bits, at, digits)
        if counter == 0:
            found.append(mark)
            continue
        while len(found) + counter < length:
            try:
                again, behind = _symbol(tree, bits, at)
                more, behind = _number(bits, behind, digits)
            except IndexError:
                break
            if again != mark:
                break
            counter, at = counter << digits | more, behind
        found += bytes(min(counter, 1 << 18))
    if len(found) != length:
        raise ValueError("more bytes than it says")
    return found


def _from_planes(found: bytearray, masks: list[int]) -> NDArray[np.int64]:
    result = np.zeros((len(masks), _SIDE * _SIDE), np.int64)
    plane = 0
    for band, mask in enumerate(masks):
        sign = np.zeros(_SIDE * _SIDE, np.int64)
        for number in range(16):
            if mask >> number & 1:
                stored = found[plane * 2048 : (plane + 1) * 2048]
                ones = np.array([byte >> bit & 1 for byte in stored for bit in range(8)])
                plane += 1
                if number == 0:
                    sign = ones
                else:
                    result[band] += ones << (number - 1)
        result[band] *= 1 - 2 * sign
    order = np.arange(_SIDE * _SIDE).reshape(32, 32, 4, 4).swapaxes(1, 2).reshape(_SIDE, _SIDE)
    return result[:, order]


def _node(bits: str, at: int, depth: int) -> tuple[Any, int]:
    if depth > 16:
        raise ValueError("a tree that is too deep")
    if bits[at] == "1":
        return _number(bits, at + 1, 8)
    one, at = _node(bits, at + 1, depth + 1)
    other, at = _node(bits, at, depth + 1)
    return (one, other), at


def _symbol(tree: Any, bits: str, at: int) -> tuple[int, int]:
    if not isinstance(tree, tuple):
        bits[at]
        return tree, at + 1
    while isinstance(tree, tuple):
        tree = tree[bits[at] == "1"]
        at += 1
    return tree, at


def _number(bits: str, at: int, count: int) -> tuple[int, int]:
    if at + count > len(bits):
        raise IndexError("the end")
    return int(bits[at : at + count][::-1] or "0", 2), at + count
