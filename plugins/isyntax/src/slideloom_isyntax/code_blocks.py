"""Code blocks: 128 x 128 wavelet coefficients of one or three bands, as they are stored.

A block says how many bytes it stands for, which symbol counts zeros and with how many bits, and then holds a Huffman
tree and the bytes in its codes. Bits are stored from the lowest on. The symbol that counts zeros is followed by a
counter: if that is 0, it stands for itself; further ones behind it continue the counter. The bytes are planes of bits
of each band: signs, and then magnitudes from the lowest bit on. Planes without a bit are left out, and then the bytes
end with a mask of the planes of each band. In a plane, the 16 coefficients of 4 x 4 neighbours follow each other.

Source: Philips, "Pathology iSyntax image format", code blocks of compression method 16; libisyntax.
"""

from __future__ import annotations

from typing import Any  # of arrays of 32 or 64 bits

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

SIDE = 128  # coefficients
EMPTY_BYTES = 8  # a block that is not longer is one of zeros
_PLANE_BYTES = SIDE * SIDE // 8
_PLANES = 16  # of a band
_HEAD = 6  # bytes before the tree
_LONGEST_CODE = 16  # bits
_MOST_COUNTER = 16  # bits
_MOST_TREE = 320  # bytes that a tree of 256 symbols takes


class DamagedBlock(ValueError):
    """A code block that cannot be what a scanner wrote. The message says why, as the end of a sentence."""


def coefficients(content: bytes, bands: int) -> NDArray[np.int16]:
    """The coefficients of a code block.

    Args:
        content: of the block.
        bands: 1 or 3.

    Returns:
        (bands, SIDE, SIDE).

    Raises:
        DamagedBlock: the content is none of a code block. Not all changed bytes can be told: there is no checksum.
    """
    if len(content) <= EMPTY_BYTES:
        return np.zeros((bands, SIDE, SIDE), np.int16)
    length = int.from_bytes(content[:4], "little")
    full = bands * _PLANES * _PLANE_BYTES
    if not 2 * bands <= length <= full + 2 * bands:
        raise DamagedBlock(f"it says that it stands for {length} bytes, and can for {full} at most")
    message = _message(content, length)
    masks = [0xFFFF] * bands
    if length < full:
        masks = np.frombuffer(message[-2 * bands :].tobytes(), "<u2").tolist()
        stored = sum(mask.bit_count() for mask in masks) * _PLANE_BYTES + 2 * bands
        if stored != length:
            raise DamagedBlock(f"it stands for {length} bytes, and its planes take {stored}")
    return _from_planes(message, masks)


def _from_planes(message: NDArray[np.uint8], masks: list[int]) -> NDArray[np.int16]:
    result = np.empty((len(masks), SIDE, SIDE), np.int16)
    at = 0
    for band, mask in enumerate(masks):
        magnitudes, signs = np.zeros(SIDE * SIDE, np.int16), None
        for number in range(_PLANES):
            if not mask >> number & 1:
                continue
            bits = np.unpackbits(message[at : at + _PLANE_BYTES], bitorder="little")
            at += _PLANE_BYTES
            if number == 0:
                signs = bits.view(bool)
            else:
                magnitudes |= bits.astype(np.int16) << (number - 1)
        if signs is not None:
            np.negative(magnitudes, out=magnitudes, where=signs)
        areas = magnitudes.reshape(SIDE // 4, SIDE // 4, 4, 4)
        result[band] = areas.swapaxes(1, 2).reshape(SIDE, SIDE)
    return result


@frozen
class _Tree:
    """A Huffman tree as a table by the next bits of the stream.

    Attributes:
        symbols: by the next `bits` bits.
        lengths: of their codes.
        bits: of the longest code.
        end: of the tree, in bits of the block.
    """

    symbols: NDArray[np.uint8]
    lengths: NDArray[np.uint8]
    bits: int
    end: int


def _message(content: bytes, length: int) -> NDArray[np.uint8]:
    """The bytes that a block stands for."""
    mark, counter_bits = content[4], content[5]
    if counter_bits > _MOST_COUNTER:
        raise DamagedBlock(f"it counts zeros with {counter_bits} bits, and can with {_MOST_COUNTER} at most")
    tree = _tree_of(content)
    # What the stream means from each of its bits on, whether a code begins there or not.
    window = _windows(content, tree.bits + counter_bits)
    ahead = window & window.dtype.type((1 << tree.bits) - 1)
    steps = (tree.lengths + np.where(tree.symbols == mark, counter_bits, 0)).astype(np.uint8)[ahead].tobytes()
    places = np.array(_chain(steps, tree.end), np.intp)
    symbols, lengths = tree.symbols[ahead[places]], tree.lengths[ahead[places]]
    counters = (window[places] >> lengths).astype(np.int64) & ((1 << counter_bits) - 1)
    counters[symbols != mark] = -1
    values, repeats = _uncounted(symbols, counters, counter_bits, length)
    total = np.cumsum(repeats)
    last = int(np.searchsorted(total, length))  # what follows are bits that fill the last byte
    if last == len(total) or total[last] != length:
        raise DamagedBlock("its codes do not stand for as many bytes as it says")
    end = places[int(np.searchsorted(total, length, side="right")) - 1]  # with what continues the last counter
    if end + steps[end] > len(steps):
        raise DamagedBlock("its last code is cut short")
    return np.repeat(values[: last + 1], repeats[: last + 1])


def _uncounted(
    symbols: NDArray[np.uint8], counters: NDArray[np.int64], counter_bits: int, length: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Bytes, and how often each is repeated.

    Args:
        symbols: in their order.
        counters: of those that count zeros, -1 for others.
        counter_bits: of one counter.
        length: bytes that are wanted. Behind them no counter is continued; the arrays may end there.
    """
    is_run = counters > 0
    values = np.where(is_run, 0, symbols).astype(np.uint8)
    repeats = np.where(is_run, counters, 1)
    begin, end = -1, -1  # of the counter that is continued: its first symbol, and the one behind its last
    summed, before = 0, 0
    for at in (np.flatnonzero((counters[1:] >= 0) & (counters[:-1] >= 0)) + 1).tolist():
        if at != end:
            if not is_run[at - 1]:
                continue
            begin = at - 1
            before += int(repeats[summed:begin].sum())
            summed = begin
        if before + int(repeats[begin]) >= length:
            return values[:at], repeats[:at]
        repeats[begin] = int(repeats[begin]) << counter_bits | int(counters[at])
        values[at], repeats[at] = 0, 0
        is_run[at] = True
        end = at + 1
    return values, repeats


def _tree_of(content: bytes) -> _Tree:
    """The tree of a block: for each node 0, and then its branches; for each leaf 1, and then its symbol."""
    bits = np.unpackbits(np.frombuffer(content[_HEAD : _HEAD + _MOST_TREE], np.uint8), bitorder="little").tolist()
    leaves: dict[int, tuple[int, int]] = {}
    code, length, at = 0, 0, 0
    while True:
        if at + 9 > len(bits):
            raise DamagedBlock("its Huffman tree is cut short")
        at += 1
        if not bits[at - 1]:
            length += 1
            if length > _LONGEST_CODE:
                raise DamagedBlock(f"its Huffman tree has codes of more than {_LONGEST_CODE} bits")
            continue
        symbol = int("".join(map(str, bits[at + 7 : at - 1 : -1])), 2)
        at += 8
        if symbol in leaves:
            raise DamagedBlock(f"its Huffman tree has the symbol {symbol} twice")
        leaves[symbol] = code, length
        while length and code >> (length - 1):  # back to the last node whose second branch is to come
            length -= 1
            code &= (1 << length) - 1
        if not length:
            break
        code |= 1 << (length - 1)
    longest = max(length for _, length in leaves.values())
    symbols, lengths = np.empty(1 << longest, np.uint8), np.empty(1 << longest, np.uint8)
    for symbol, (code, length) in leaves.items():
        symbols[code :: 1 << length] = symbol
        lengths[code :: 1 << length] = max(length, 1)  # the only symbol of a tree takes a bit
    return _Tree(symbols, lengths, longest, 8 * _HEAD + at)


def _windows(content: bytes, bits: int) -> NDArray[Any]:
    """At least `bits` bits of the stream from each of its bits on, those behind its end 0. uint32 or uint64."""
    kind: type[Any] = np.uint32 if bits <= 25 else np.uint64
    stream = np.frombuffer(content + bytes(8), np.uint8)
    words: NDArray[Any] = np.zeros(len(content), kind)
    for byte in range(4 if bits <= 25 else 5):
        words |= stream[byte : byte + len(content)].astype(kind) << kind(8 * byte)
    return (words[:, None] >> np.arange(8, dtype=kind)).reshape(-1)


def _chain(steps: bytes, start: int) -> list[int]:
    """Where codes begin, from the first one on to the end of the block, by the bits that each takes."""
    places: list[int] = []
    at, end = start, len(steps)
    add = places.append
    while at < end:
        add(at)
        at += steps[at]
    return places
