"""Points, sizes and boxes, and aliases for common array types."""

from __future__ import annotations

import math

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

Rgb = NDArray[np.uint8]  # (H, W, 3), sRGB
RgbBatch = NDArray[np.uint8]  # (B, H, W, 3), sRGB
Mask = NDArray[np.bool_]  # (H, W)
IntArray = NDArray[np.int64]  # (N,)


@frozen
class Point:
    """A position in whole pixels of one level: x to the right, y down."""

    x: int
    y: int


@frozen
class Size:
    """A size in whole pixels."""

    width: int
    height: int

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.width * self.height


@frozen
class Box:
    """An axis-parallel rectangle in level-0 pixels; coordinates need not be whole numbers.

    It covers x to x + width and y to y + height. Pixel (i, j) covers i to i + 1 and j to j + 1.
    """

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """x of the right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """y of the bottom edge."""
        return self.y + self.height

    def scaled(self, *, x: float, y: float) -> Box:
        """The box with its coordinates and size multiplied by `x` and `y`."""
        return Box(self.x * x, self.y * y, self.width * x, self.height * y)

    def moved(self, *, x: float, y: float) -> Box:
        """The box shifted by (x, y)."""
        return Box(self.x + x, self.y + y, self.width, self.height)

    def intersection(self, other: Box) -> Box | None:
        """The area in both boxes, or None if there is none."""
        x, y = max(self.x, other.x), max(self.y, other.y)
        width, height = min(self.right, other.right) - x, min(self.bottom, other.bottom) - y
        return Box(x, y, width, height) if width > 0 and height > 0 else None


def floor_tolerant(value: float) -> int:
    """`value` rounded down to an integer; a value up to 1e-6 below an integer gives that integer.

    Because of rounding errors, a quotient such as 300 / 0.1 may be slightly below the whole number it stands for.
    """
    return math.floor(value + 1e-6)
