"""Masks at one bit a pixel, for those that are too large to be kept as bytes, and rows of masks in either form."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self, cast

import attrs
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Mask

# Rows of a packed mask that are unpacked at a time.
STRIP_ROWS = 256


def _fits(packed: PackedMask, _attribute: attrs.Attribute[Any], bits: NDArray[np.uint8]) -> None:
    columns = -(-packed.width // 8)
    if bits.ndim != 2 or bits.dtype != np.uint8 or bits.shape[1] != columns:
        raise ValueError(f"bits of {packed.width} columns must be (h, {columns}) uint8, not {bits.shape} {bits.dtype}")


@frozen(eq=False)
class PackedMask:
    """A mask of which each pixel takes one bit; a slide QC may fill it strip by strip and return it as its mask.

    Attributes:
        width: columns.
        bits: (h, ceil(width / 8)) uint8, as `numpy.packbits` packs each row; bits beyond the width are 0.
    """

    width: int
    bits: NDArray[np.uint8] = field(repr=False, validator=_fits)

    @classmethod
    def empty(cls, height: int, width: int) -> Self:
        """A mask without a True, to be filled by `put`."""
        return cls(width, np.zeros((height, -(-width // 8)), np.uint8))

    @classmethod
    def of(cls, mask: Mask) -> Self:
        """A mask, packed.

        Args:
            mask: (h, w) bool.
        """
        packed = cls.empty(*mask.shape)
        for start, stop in strips(0, len(mask)):
            packed.put(start, mask[start:stop])
        return packed

    @property
    def shape(self) -> tuple[int, int]:
        """(h, w)."""
        return len(self.bits), self.width

    @property
    def size(self) -> int:
        """Number of pixels."""
        return len(self.bits) * self.width

    def put(self, top: int, part: Mask, *, left: int = 0) -> None:
        """Set the pixels from `left` and `top` on. Several threads may set different parts.

        Args:
            top: first row.
            part: (n, m) bool, up to the right side, or a multiple of 8 pixels wide.
            left: first column, a multiple of 8.

        Raises:
            ValueError: `part` begins or ends within a byte.
        """
        right = left + part.shape[1]
        if left % 8 or (right % 8 and right != self.width):
            raise ValueError(f"columns {left} to {right} of {self.width} are not whole bytes")
        self.bits[top : top + len(part), left // 8 : -(-right // 8)] = np.packbits(part, axis=1)

    def rows(self, start: int, stop: int) -> Mask:
        """(stop - start, width) bool, a copy."""
        return cast("Mask", np.unpackbits(self.bits[start:stop], axis=1, count=self.width).view(np.bool_))

    def at(self, y: NDArray[np.integer[Any]], x: NDArray[np.integer[Any]]) -> Mask:
        """The pixels at some rows and columns, which are broadcast against each other."""
        return cast("Mask", (self.bits[y, x >> 3] >> (7 - (x & 7)).astype(np.uint8)) & 1 > 0)

    def whole(self) -> Mask:
        """(h, w) bool, a copy, eight times as large."""
        return self.rows(0, len(self.bits))


def strips(start: int, stop: int) -> Iterator[tuple[int, int]]:
    """First row of each strip, and the first below it, from `start` to `stop`."""
    for top in range(start, stop, STRIP_ROWS):
        yield top, min(top + STRIP_ROWS, stop)


def rows_of(mask: Mask | PackedMask, start: int, stop: int) -> Mask:
    """(stop - start, w) bool, rows of a mask in either form; not to be written to."""
    return mask.rows(start, stop) if isinstance(mask, PackedMask) else mask[start:stop]


def count_true(mask: Mask | PackedMask) -> int:
    """Number of True."""
    if not isinstance(mask, PackedMask):
        return int(np.count_nonzero(mask))
    return sum(int(np.count_nonzero(mask.rows(start, stop))) for start, stop in strips(0, len(mask.bits)))
