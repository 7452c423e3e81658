"""Shifts of hue, saturation and value.

After Tellez et al. 2019, "Quantifying the effects of data augmentation and stain color normalization in convolutional
neural networks for computational pathology", Medical Image Analysis 58, 101544 (there "HSV").
"""

from __future__ import annotations

import numpy as np
from slideloom import Rgb

from slideloom_stain.density import as_bytes
from slideloom_stain.opencv import cv2


def shifted(rgb: Rgb, *, hue: float, saturation: float, value: float) -> Rgb:
    """The image with shifted hue and scaled saturation and value.

    Args:
        rgb: (h, w, 3) uint8.
        hue: shift in turns of the colour circle, -0.5 to 0.5.
        saturation: relative change of the saturation, at least -1; the result is clipped to 0-1.
        value: relative change of the value (the largest channel), at least -1; clipped to 0-1.

    Returns:
        (h, w, 3) uint8.
    """
    hsv = cv2.cvtColor(np.asarray(rgb, np.float32) / np.float32(255), cv2.COLOR_RGB2HSV)  # hue 0-360
    change = np.diag([1.0, 1 + saturation, 1 + value])
    moved = cv2.transform(hsv, np.column_stack([change, [360.0 * hue, 0.0, 0.0]]))
    moved = cv2.min(moved, (720.0, 1.0, 1.0, 0.0))
    turned = cv2.extractChannel(moved, 0)
    cv2.insertChannel(np.where(turned < 0, turned + 360, np.where(turned >= 360, turned - 360, turned)), moved, 0)
    return as_bytes(cv2.cvtColor(moved, cv2.COLOR_HSV2RGB) * np.float32(255))
