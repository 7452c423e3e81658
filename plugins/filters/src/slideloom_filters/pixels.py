"""The share of gray or white pixels, by integer comparisons that give exactly the result of the formulas."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb, RgbBatch, Scratch, TileBatch, TileFilter, Verdict, gray_counter, opencv_in_one_thread

from slideloom_filters.settings import Grayspace, Whitespace


class _ShareFilter(TileFilter):
    """Rejects a tile if more than `fraction` of its pixels count."""

    keeps_pixels = False

    def __init__(self, *, fraction: float) -> None:
        self._fraction = fraction
        self._scratch = Scratch()

    def check(self, batch: TileBatch) -> Verdict:
        """See `TileFilter.check`."""
        with opencv_in_one_thread():
            shares = self._shares(batch.rgb)
        return Verdict(keep=self.decided(shares), score=shares)

    def decided(self, score: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
        """See `TileFilter.decided`."""
        keep: NDArray[np.bool_] = score <= self._fraction
        return keep

    def _shares(self, batch: RgbBatch) -> NDArray[np.float64]:
        return np.array([self.share(rgb) for rgb in batch], np.float64)

    def _channels(self, rgb: Rgb) -> Sequence[NDArray[np.uint8]]:
        """Red, green and blue, and three planes to work in; this thread's next tile overwrites them.

        New memory for each tile would cost more than the computation.
        """
        planes = list(self._scratch.take("planes", 6, *rgb.shape[:2], dtype=np.uint8))
        cv2.split(rgb, planes[:3])
        return planes

    @abstractmethod
    def share(self, rgb: Rgb) -> float:
        """The share of pixels that count, 0 to 1, in an image (H, W, 3) uint8."""


class GrayspaceFilter(_ShareFilter):
    """Counts pixels whose HSV saturation (max - min) / max is below the threshold; black has saturation 0."""

    def __init__(self, settings: Grayspace) -> None:
        super().__init__(fraction=settings.fraction)
        self._least_min = least_min_of_gray(settings.threshold)
        self._is_off = settings.threshold <= 0  # no saturation is below 0
        self._count = None if self._is_off else gray_counter(self._least_min)

    def _shares(self, batch: RgbBatch) -> NDArray[np.float64]:
        if self._count is None:
            return super()._shares(batch)
        shares: NDArray[np.float64] = self._count(batch) / (batch.shape[1] * batch.shape[2])
        return shares

    def share(self, rgb: Rgb) -> float:
        """See `_ShareFilter.share`."""
        if self._is_off:
            return 0.0
        red, green, blue, highest, lowest, least = self._channels(rgb)
        cv2.max(cv2.max(red, green, dst=highest), blue, dst=highest)
        cv2.min(cv2.min(red, green, dst=lowest), blue, dst=lowest)
        gray = cv2.compare(lowest, cv2.LUT(highest, self._least_min, dst=least), cv2.CMP_GE, dst=least)
        return float(cv2.countNonZero(gray) / gray.size)


class WhitespaceFilter(_ShareFilter):
    """Counts pixels whose mean of R, G and B is above the threshold."""

    def __init__(self, settings: Whitespace) -> None:
        super().__init__(fraction=settings.fraction)
        self._least_sum = least_sum_of_white(settings.threshold)

    def share(self, rgb: Rgb) -> float:
        """See `_ShareFilter.share`."""
        red, green, blue, *_ = self._channels(rgb)
        total = cv2.add(cv2.add(red, green, dtype=cv2.CV_16U), blue, dtype=cv2.CV_16U)
        _, white = cv2.threshold(total, self._least_sum - 1, 1, cv2.THRESH_BINARY)
        return float(cv2.countNonZero(white) / white.size)


def least_min_of_gray(threshold: float) -> NDArray[np.uint8]:
    """For each maximum of the channels, 0-255, the smallest minimum of the channels at which the pixel is gray.

    Args:
        threshold: saturation, above 0 and at most 1; a pixel below it is gray.

    Returns:
        (256,) uint8, at most the maximum itself (saturation 0), which is always gray.
    """
    highest = np.arange(256, dtype=np.float64)[:, None]
    lowest = np.arange(256, dtype=np.float64)[None]
    saturation = (highest - lowest) / np.maximum(highest, 1)
    least: NDArray[np.uint8] = np.argmax(saturation < threshold, axis=1).astype(np.uint8)
    return least


def least_sum_of_white(threshold: float) -> int:
    """The smallest R + G + B whose mean is above `threshold`; 766, which no pixel reaches, if there is none."""
    white = np.arange(766) / 3 > threshold
    return int(np.argmax(white)) if white.any() else 766
