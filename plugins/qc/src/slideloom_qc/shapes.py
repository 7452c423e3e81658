"""Shapes for OpenCV's morphology."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray


def disk(radius: float) -> NDArray[np.uint8]:
    """(2 r + 1, 2 r + 1) uint8, 1 in a disk of a radius in pixels, which is rounded and at least 1."""
    side = 2 * max(1, round(radius)) + 1
    return cast("NDArray[np.uint8]", cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))
