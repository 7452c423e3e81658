"""Shapes for OpenCV's morphology, and the connected parts of masks."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Mask

# Rows that are looked up at a time, because numpy makes indices of eight bytes.
STRIP_PX = 128


def disk(radius: float) -> NDArray[np.uint8]:
    """(2 r + 1, 2 r + 1) uint8, 1 in a disk of a radius in pixels, which is rounded and at least 1."""
    side = 2 * max(1, round(radius)) + 1
    return cast("NDArray[np.uint8]", cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)))


def with_labels(labels: NDArray[np.integer[Any]], keep: Mask) -> Mask:
    """(h, w) bool, True where the label of a pixel is one to keep.

    Args:
        labels: (h, w).
        keep: (number of labels,) bool.
    """
    found = np.empty(labels.shape, np.bool_)
    for top in range(0, len(labels), STRIP_PX):
        np.take(keep, labels[top : top + STRIP_PX], out=found[top : top + STRIP_PX], mode="clip")
    return found
