"""Statistics of a whole slide, for contextual normalization."""

from __future__ import annotations

from typing import Any

import numpy as np
from slideloom import Mask, Rgb, Slide

from slideloom_stain.base import Method
from slideloom_stain.density import MIN_TISSUE_PX, TISSUE_DENSITY, density_table
from slideloom_stain.fits import Unfit
from slideloom_stain.opencv import cv2

CONTEXT_MPP = 4.0  # microns per pixel of the thumbnail
# On a whole slide only glass is left out: one dense channel is enough to count, where Macenko's tiles need all three.
# This is the largest channel value that is as dense as tissue, (value + 1) / 255 <= exp(-0.15).
_BRIGHTEST = int(np.count_nonzero(density_table(np.arange(256.0)) >= TISSUE_DENSITY)) - 1


def slide_statistics(method: Method[Any, Any], slide: Slide, discard: Mask | None) -> Any:
    """A method's statistics of the slide's tissue, measured on a thumbnail of 4 microns per pixel.

    Tissue is where at least one channel has an optical density of 0.15 or more. Glass says nothing about stains, and
    most slides are mostly glass even after QC and regions have cut them down.

    Args:
        slide: an open slide with known mpp.
        discard: (h, w) bool over the whole slide, True where pixels do not count.

    Returns:
        The method's statistics. Any: their type depends on the method.

    Raises:
        Unfit: there is too little tissue, or its stains cannot be estimated.
    """
    return thumbnail_statistics(method, slide.thumbnail(mpp=CONTEXT_MPP), discard)


def thumbnail_statistics(method: Method[Any, Any], rgb: Rgb, discard: Mask | None = None) -> Any:
    """Like `slide_statistics`, from a thumbnail (h, w, 3) uint8."""
    counts = cv2.inRange(rgb, (_BRIGHTEST + 1,) * 3, (255,) * 3) == 0
    if discard is not None:
        size = (rgb.shape[1], rgb.shape[0])
        counts &= cv2.resize(discard.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) == 0
    pixels = rgb[counts][:, None]
    if len(pixels) < MIN_TISSUE_PX:
        raise Unfit(f"{len(pixels)} pixels of tissue on the thumbnail, at least {MIN_TISSUE_PX} are needed")
    return method.measure(pixels)
