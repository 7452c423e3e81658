"""What happens to a tile before the model: another size, and colours on the model's scale."""

from __future__ import annotations

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Box, Rgb, RgbBatch, Size, resample

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@frozen
class Transform:
    """From tiles to a model's input.

    Attributes:
        input_px: width and height of the input; None is that of the tiles.
        mean, std: of red, green and blue; pixels are on a scale of 0 to 1.
    """

    input_px: int | None
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def resized(self, rgb: Rgb) -> Rgb:
        """A copy of a tile, (H, W, 3) uint8, in the size of the input: the mean over area, or linear if it grows."""
        height, width = rgb.shape[:2]
        if self.input_px is None or (height, width) == (self.input_px, self.input_px):
            return rgb.copy()
        return resample(rgb, box=Box(0, 0, width, height), size=Size(self.input_px, self.input_px))

    def scaled(self, rgb: RgbBatch) -> NDArray[np.float32]:
        """(B, 3, H, W) float32 of (B, H, W, 3) uint8."""
        unit = rgb.astype(np.float32) / np.float32(255)
        coloured = (unit - np.array(self.mean, np.float32)) / np.array(self.std, np.float32)
        return np.ascontiguousarray(np.moveaxis(coloured, -1, 1))
