"""Code blocks: what is encoded comes out, and what cannot be a block is refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom_isyntax.code_blocks import DamagedBlock, coefficients
from slideloom_testing.isyntax_blocks import encoded


def of_bits(bits: str) -> bytes:
    """Bytes whose bits follow each other from the lowest on."""
    padded = bits + "0" * (-len(bits) % 8)
    return bytes(int(padded[at : at + 8][::-1], 2) for at in range(0, len(padded), 8))


def number(value: int, bits: int) -> str:
    return format(value, f"0{bits}b")[::-1]


def noise(bands: int, spread: float, seed: int) -> NDArray[np.int32]:
    return np.random.default_rng(seed).laplace(0, spread, (bands, 128, 128)).astype(np.int32)


@pytest.mark.parametrize("bands", [1, 3])
@pytest.mark.parametrize("spread", [0.05, 1, 40, 4000])
def test_what_is_encoded_comes_out(bands: int, spread: float) -> None:
    values = np.clip(noise(bands, spread, 5), -32767, 32767)
    values[:, 3:70] = 0  # long runs of zeros

    assert np.array_equal(coefficients(encoded(values), bands), values)


@pytest.mark.parametrize("value", [7, -7, 32767, -32767])
def test_equal_coefficients_come_out(value: int) -> None:
    assert np.array_equal(coefficients(encoded(np.full((3, 128, 128), value)), 3), np.full((3, 128, 128), value))


def test_a_block_written_by_hand_is_read_as_the_format_says() -> None:
    # Plane 1 (the lowest bit) alone, of which only the first byte is 5: coefficients 0 and 2 are 1. Then the mask.
    # Symbols: 9 counts zeros, with 4 bits; 5; 2. Tree: 9, then (5, 2), so the codes are 0, 10 and 11.
    tree = "0" + "1" + number(9, 8) + "0" + "1" + number(5, 8) + "1" + number(2, 8)
    run = "".join("0" + number(digit, 4) for digit in (7, 15, 15))  # 2047 zeros, in base 16
    content = struct.pack("<IBB", 2048 + 2, 9, 4) + of_bits(tree + "10" + run + "11" + "0" + number(1, 4))
    expected = np.zeros((1, 128, 128), np.int16)
    expected[0, 0, [0, 2]] = 1

    assert np.array_equal(coefficients(content, 1), expected)


def test_the_symbol_that_counts_zeros_stands_for_itself_where_it_counts_none() -> None:
    tree = "0" + "1" + number(9, 8) + "0" + "1" + number(5, 8) + "1" + number(2, 8)
    itself = "0" + number(0, 4)
    run = "".join("0" + number(digit, 4) for digit in (7, 15, 13))
    content = struct.pack("<IBB", 2048 + 2, 9, 4) + of_bits(
        tree + itself + "10" + run + "10" + "11" + "0" + number(1, 4)
    )
    expected = np.zeros((1, 128, 128), np.int16)
    # Bytes 9 and 5, and 5 as the last of the plane. 16 coefficients, of two bytes, are those of 4 x 4 neighbours.
    expected[0, 0, [0, 3]] = expected[0, 2, [0, 2]] = 1
    expected[0, 126, [124, 126]] = 1

    assert np.array_equal(coefficients(content, 1), expected)


def test_a_block_of_eight_bytes_is_zero() -> None:
    assert not coefficients(b"\x01" * 8, 3).any()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: struct.pack("<I", 1 << 20) + content[4:], "says that it stands for 1048576 bytes"),
        (lambda content: content[:5] + b"\x60" + content[6:], "counts zeros with 96 bits"),
        (lambda content: content[:6] + bytes(200) + content[206:], "codes of more than 16 bits"),
        (lambda content: content[:9], "tree is cut short"),
        (lambda content: content[: len(content) // 2], "do not stand for as many bytes"),
        (lambda content: struct.pack("<I", 2048 * 3) + content[4:], "do not stand for as many|its planes take"),
    ],
)
def test_a_damaged_block_is_told(change: object, said: str) -> None:
    content = encoded(noise(3, 2, 1))

    with pytest.raises(DamagedBlock, match=said):
        coefficients(change(content), 3)  # type: ignore[operator]


def test_a_tree_with_a_symbol_twice_is_told() -> None:
    tree = "0" + "1" + number(9, 8) + "1" + number(9, 8)

    with pytest.raises(DamagedBlock, match="the symbol 9 twice"):
        coefficients(struct.pack("<IBB", 2050, 9, 4) + of_bits(tree) + bytes(10), 1)


def test_random_bytes_are_read_or_told_and_nothing_else() -> None:
    rng = np.random.default_rng(9)
    told = 0
    for _ in range(300):
        content = bytearray(encoded(noise(1, 1, 2)))
        for place in rng.integers(0, len(content), 4):
            content[place] = rng.integers(0, 256)
        try:
            assert coefficients(bytes(content), 1).shape == (1, 128, 128)
        except DamagedBlock:
            told += 1

    assert told > 150
