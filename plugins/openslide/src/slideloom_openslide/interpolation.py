"""Undoes OpenSlide's interpolation: the shift of a read is known but cannot be avoided."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb

# OpenSlide draws with cairo, which rounds a shift to 1/256 pixel; less than half of that is no shift.
NO_SHIFT = 1 / 512
# Extra pixels needed around a read: beyond this distance, the kernel of the largest shift (1/4) is below 1/6000.
MARGIN_PX = 8
_NEGLIGIBLE = 1 / 2048


def without_interpolation(rgb: Rgb, *, shift_x: float, shift_y: float) -> Rgb:
    """The pixels p from which linear interpolation made `rgb`.

    `rgb` at i is (1 - s) p[i] + s p[i + 1] for a shift s above 0, and (1 - |s|) p[i] + |s| p[i - 1] below 0. This is a
    filter with the inverse 1 / (1 - |s|) * sum of (-|s| / (1 - |s|))^k p[i ± k].

    Args:
        rgb: (H, W, 3) uint8; its outer `MARGIN_PX` pixels are less exact, unless they are the end of the image.
        shift_x: along x in pixels, -0.25 to 0.25; `shift_y` along y.

    Returns:
        (H, W, 3) uint8. The earlier rounding to 8 bits leaves an error of 0.17 grey levels on average and 3 at most.
    """
    kernel_x, anchor_x = _inverse(shift_x)
    kernel_y, anchor_y = _inverse(shift_y)
    return cv2.sepFilter2D(
        rgb, -1, kernel_x, kernel_y, anchor=(anchor_x, anchor_y), borderType=cv2.BORDER_REPLICATE
    ).astype(np.uint8, copy=False)


def _inverse(shift: float) -> tuple[NDArray[np.float64], int]:
    """The inverse filter of linear interpolation, and the index of its tap at the pixel itself."""
    share = abs(shift)
    ratio = share / (1 - share)
    taps = 1
    while taps <= MARGIN_PX and ratio**taps > _NEGLIGIBLE:
        taps += 1
    kernel: NDArray[np.float64] = np.power(-ratio, np.arange(taps), dtype=np.float64)
    kernel /= kernel.sum()  # a uniform area stays unchanged
    return (kernel, 0) if shift >= 0 else (kernel[::-1].copy(), taps - 1)
