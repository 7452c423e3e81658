"""What is subtracted from tiles, and what they are divided by, before a network sees them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LEAST_CONTRAST = 0.06  # of 0-1; a tile with less is not amplified to more, or glass would look like tissue


def centred(unit: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each tile of (B, H, W, 3) minus its own mean."""
    result: NDArray[np.float32] = unit - unit.mean(axis=(1, 2, 3), keepdims=True, dtype=np.float64).astype(np.float32)
    return result


def contrasted(unit: NDArray[np.float32], *, by: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
    """Each tile minus the mean of each of its channels, divided by its contrast.

    What remains is how sharply the tissue changes relative to how much it changes, whatever the strength of the stain.

    Args:
        unit: (B, H, W, 3), 0-1.
        by: (N, h, w, 3), 0-1: the pixels whose mean and contrast count, for all tiles; by default each tile's own.

    Returns:
        (B, H, W, 3); the contrast is the root of the mean squared difference from the mean, at least `LEAST_CONTRAST`.
    """
    axes: tuple[int, ...] = (1, 2) if by is None else (0, 1, 2)
    pixels = unit if by is None else by
    mean = pixels.mean(axis=axes, keepdims=True, dtype=np.float64).astype(np.float32)
    spread = np.square(pixels - mean).mean(axis=(*axes, 3), keepdims=True, dtype=np.float64)
    contrast = np.maximum(np.sqrt(spread), LEAST_CONTRAST).astype(np.float32)
    result: NDArray[np.float32] = (unit - mean) / contrast
    return result
