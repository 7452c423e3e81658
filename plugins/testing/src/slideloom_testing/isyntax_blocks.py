"""Code blocks of Philips iSyntax files: 128 x 128 wavelet coefficients in Huffman codes, without loss.

Source: Philips, "Pathology iSyntax image format", code blocks of compression method 16; what libisyntax reads.
"""

from __future__ import annotations

import heapq
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK = 128  # coefficients along each side of a code block
_MOST_BITS = 16  # of a Huffman code
_COUNTER_BITS = 6  # of a run of zeros; three of them count the bytes of a block
_EMPTY = bytes(8)  # a code block of zeros


def encoded(values: NDArray[np.int32]) -> bytes:
    """A code block.

    Args:
        values: (1 or 3, BLOCK, BLOCK), of at most 15 bits and a sign.
    """
    if not values.any():
        return _EMPTY
    magnitude = np.abs(values).astype(np.uint16) | (values < 0).astype(np.uint16) << 15
    # The 16 coefficients of 4 x 4 neighbours follow each other.
    areas = magnitude.reshape(-1, BLOCK // 4, 4, BLOCK // 4, 4).swapaxes(2, 3).reshape(len(values), -1)
    masks, planes = [], []
    for band in areas:
        mask = 0
        for number in range(16):  # the sign, and then from the lowest bit on
            bits = band >> (15 if number == 0 else number - 1) & 1
            if bits.any():
                mask |= 1 << number
                planes.append(np.packbits(bits.astype(np.uint8), bitorder="little").tobytes())
        masks.append(mask)
    message = b"".join(planes)
    if any(mask != 0xFFFF for mask in masks):
        message += struct.pack(f"<{len(masks)}H", *masks)
    return _coded(message)


def _coded(message: bytes) -> bytes:
    """Bytes in Huffman codes. One of them stands for itself if it counts 0, and for a run of zeros else."""
    values = np.frombuffer(message, np.uint8)
    counts = np.bincount(values, minlength=256)
    mark = 1 + int(counts[1:].argmin())
    symbols, counters = _steps(values, mark)
    found = np.bincount(symbols, minlength=256)
    tree, codes = _tree(_codes({symbol: int(found[symbol]) for symbol in np.flatnonzero(found).tolist()}))
    code, length = np.zeros((2, 256), np.uint64)
    for symbol, (bits, width) in codes.items():
        code[symbol], length[symbol] = bits, max(width, 1)
    counted = counters >= 0
    widths = length[symbols] + np.where(counted, _COUNTER_BITS, 0).astype(np.uint64)
    stored = code[symbols] | np.where(counted, counters, 0).astype(np.uint64) << length[symbols]
    ends = np.cumsum(widths)
    places = np.arange(int(ends[-1]), dtype=np.uint64) - np.repeat(ends - widths, widths.astype(np.intp))
    stream = np.repeat(stored, widths.astype(np.intp)) >> places & np.uint64(1)
    bits_of_tree = np.frombuffer(tree.encode(), np.uint8) - ord("0")
    packed = np.packbits(np.concatenate([bits_of_tree, stream.astype(np.uint8)]), bitorder="little")
    return struct.pack("<IBB", len(message), mark, _COUNTER_BITS) + packed.tobytes()


def _steps(values: NDArray[np.uint8], mark: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
    """Symbols in their order, and what each counts: digits of a number of zeros, 0 for the mark itself, else -1."""
    is_zero = np.concatenate([[False], values == 0, [False]])
    starts, ends = np.flatnonzero(is_zero[1:] & ~is_zero[:-1]), np.flatnonzero(is_zero[:-1] & ~is_zero[1:])
    length = ends - starts
    # A mark that follows a run would continue it, so the last zero stands for itself; and a lone zero does, too.
    is_single = (length < 2) | (np.append(values, 0)[ends] == mark)
    counted = length - is_single
    others = np.flatnonzero(values)
    parts = [(4 * others, values[others].astype(np.intp), np.where(values[others] == mark, 0, -1))]
    parts.append((4 * ends[is_single] - 1, np.zeros(int(is_single.sum()), np.intp), np.full(int(is_single.sum()), -1)))
    for digit in range(3):  # of base 64, the highest first
        rest = counted >> (_COUNTER_BITS * (2 - digit))
        chosen = rest > 0
        parts.append((4 * starts[chosen] + digit, np.full(int(chosen.sum()), mark), rest[chosen] & 63))
    places, symbols, counters = (np.concatenate([part[number] for part in parts]) for number in range(3))
    order = np.argsort(places, kind="stable")
    return symbols[order], counters[order]


def _codes(counts: Mapping[int, int]) -> Any:
    """A Huffman tree: a symbol, or a pair of trees. Counts are made more alike until no code is too long."""
    while True:
        heap: list[tuple[int, int, Any]] = [(count, symbol, symbol) for symbol, count in counts.items()]
        heapq.heapify(heap)
        number = 256
        while len(heap) > 1:
            one, other = heapq.heappop(heap), heapq.heappop(heap)
            number += 1
            heapq.heappush(heap, (one[0] + other[0], number, (one[2], other[2])))
        tree = heap[0][2]
        if _depth(tree) <= _MOST_BITS:
            return tree
        counts = {symbol: count // 2 + 1 for symbol, count in counts.items()}


def _depth(tree: Any) -> int:
    return 1 + max(_depth(part) for part in tree) if isinstance(tree, tuple) else 0


def _tree(tree: Any, code: int = 0, length: int = 0) -> tuple[str, dict[int, tuple[int, int]]]:
    """Bits that describe a tree, and code and length by symbol; the first bit of a code is its lowest."""
    if not isinstance(tree, tuple):
        return "1" + format(tree, "08b")[::-1], {tree: (code, length)}
    bits = "0"
    found: dict[int, tuple[int, int]] = {}
    for branch, part in enumerate(tree):
        inner, codes = _tree(part, code | branch << length, length + 1)
        bits += inner
        found |= codes
    return bits, found
