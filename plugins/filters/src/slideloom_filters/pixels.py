"""Shares of gray and white pixels, by integer comparisons that give the same answer as the formulas."""

from __future__ import annotations

import threading
from abc import abstractmethod
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb, TileBatch, TileFilter, Verdict

cv2.setNumThreads(1)  # tiles are what runs in parallel


class _ShareFilter(TileFilter):
    """Rejects a tile if more than `fraction` of its pixels count."""

    def __init__(self, *, fraction: float) -> None:
        self._fraction = fraction
        self._local = threading.local()

    def check(self, batch: TileBatch) -> Verdict:
        """See `TileFilter.check`."""
        shares = np.array([self.share(rgb) for rgb in batch.rgb], np.float64)
        return Verdict(keep=shares <= self._fraction, score=shares.astype(np.float32))

    def _channels(self, rgb: Rgb) -> Sequence[NDArray[np.uint8]]:
        """Red, green and blue, in memory of this thread that the next tile overwrites; new memory costs more."""
        kept: list[NDArray[np.uint8]] | None = getattr(self._local, "channels", None)
        if kept is None or kept[0].shape != rgb.shape[:2]:
            kept = self._local.channels = [np.empty(rgb.shape[:2], np.uint8) for _ in range(3)]
        return cv2.split(rgb, kept)  # type: ignore[return-value]  # OpenCV knows no element type

    @abstractmethod
    def share(self, rgb: Rgb) -> float:
        """The share of pixels that count, 0 to 1, in an image (H, W, 3) uint8."""


class GrayspaceFilter(_ShareFilter):
    """Counts pixels whose HSV saturation (max - min) / max is below `threshold`; black has saturation 0.

    Args:
        threshold: 0 to 1.
        fraction: share of the tile above which it is rejected.
    """

    def __init__(self, *, threshold: float, fraction: float) -> None:
        super().__init__(fraction=fraction)
        self._least_min = least_min_of_gray(threshold)
        self._is_off = threshold <= 0  # no saturation is below 0

    def share(self, rgb: Rgb) -> float:
        """See `_ShareFilter.share`."""
        if self._is_off:
            return 0.0
        red, green, blue = self._channels(rgb)
        highest = cv2.max(cv2.max(red, green), blue)
        lowest = cv2.min(cv2.min(red, green), blue)
        gray = cv2.compare(lowest, cv2.LUT(highest, self._least_min), cv2.CMP_GE)
        return float(cv2.countNonZero(gray) / gray.size)


class WhitespaceFilter(_ShareFilter):
    """Counts pixels whose mean of R, G and B is above `threshold`.

    Args:
        threshold: 0 to 255.
        fraction: share of the tile above which it is rejected.
    """

    def __init__(self, *, threshold: float, fraction: float) -> None:
        super().__init__(fraction=fraction)
        self._least_sum = least_sum_of_white(threshold)

    def share(self, rgb: Rgb) -> float:
        """See `_ShareFilter.share`."""
        red, green, blue = self._channels(rgb)
        total = cv2.add(cv2.add(red, green, dtype=cv2.CV_16U), blue, dtype=cv2.CV_16U)
        _, white = cv2.threshold(total, self._least_sum - 1, 1, cv2.THRESH_BINARY)
        return float(cv2.countNonZero(white) / white.size)


def least_min_of_gray(threshold: float) -> NDArray[np.uint8]:
    """For each highest channel value 0-255, the least lowest value at which the pixel is gray.

    Args:
        threshold: saturation above 0 and up to 1, below which a pixel is gray.

    Returns:
        (256,) uint8; value h itself (saturation 0) is always gray.
    """
    highest = np.arange(256, dtype=np.float64)[:, None]
    lowest = np.arange(256, dtype=np.float64)[None]
    saturation = (highest - lowest) / np.maximum(highest, 1)
    least: NDArray[np.uint8] = np.argmax(saturation < threshold, axis=1).astype(np.uint8)
    return least


def least_sum_of_white(threshold: float) -> int:
    """The least R + G + B whose mean is above `threshold`; 766, which no pixel has, if none is."""
    white = np.arange(766) / 3 > threshold
    return int(np.argmax(white)) if white.any() else 766
