"""The colour of a slide's clear glass, and optical densities relative to it."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Rgb

Floats = NDArray[np.floating[Any]]

# Glass is looked for in a picture of at most this side; it is a colour, so detail is not needed.
SIDE_PX = 1024
# Glass is nearly grey: its brightest channel exceeds its darkest by at most this share.
TINT = 0.1
# It is nearly as bright as the brightest pixels (of the darkest channel) of the slide.
BRIGHTNESS = 0.75
# It is even: within 5 x 5 pixels each channel varies by this many levels or this share of the brightest, at most.
EVEN_LEVELS, EVEN_SHARE = 6, 0.03
# Pixels this white are empty places that a scanner or a converter filled. Glass is taken from others if they are at
# least this share of the white, and vary no more than this many levels, because pale tissue on filled glass does.
WHITE, ENOUGH_OTHERS, EVENER_LEVELS = 253, 0.1, 3
# Less of the picture than this share, and fewer pixels than that, say nothing about glass.
LEAST_SHARE, LEAST_PX = 0.002, 30
# A peak of the histogram this high, relative to the highest, may be that of the glass; a peak is the highest bin
# within this many levels on both sides.
PEAK_SHARE, PEAK_LEVELS = 0.2, 4


@frozen
class Glass:
    """What the slide looks like where there is nothing on it.

    Attributes:
        colour: red, green and blue, 0-255.
        share: of the picture that looks like it; 0 if none was found, and the colour is then a grey as bright as the
            brightest channel anywhere.
    """

    colour: tuple[float, float, float]
    share: float

    @property
    def is_seen(self) -> bool:
        """False if the slide shows no glass."""
        return self.share > 0


def glass_of(rgb: Rgb) -> Glass:
    """The glass of a slide: the brightest common colour of even, nearly grey places.

    The brightest, because a mounting medium, a shadow or pale tissue is darker. Measured on the slide itself, so that
    grey, green or lilac light and a dark exposure are no stain.

    Args:
        rgb: (h, w, 3) uint8, a whole slide at low magnification.
    """
    small = _reduced(rgb)
    smooth = cv2.blur(cv2.medianBlur(small, 3), (3, 3))
    planes = [np.ascontiguousarray(smooth[..., c]) for c in range(3)]
    darkest = np.minimum(np.minimum(planes[0], planes[1]), planes[2]).astype(np.int16)
    brightest = np.maximum(np.maximum(planes[0], planes[1]), planes[2]).astype(np.int16)
    around = np.ones((5, 5), np.uint8)
    uneven = np.max([cv2.morphologyEx(plane, cv2.MORPH_GRADIENT, around) for plane in planes], axis=0)
    even = (brightest - darkest <= TINT * brightest) & (uneven <= np.maximum(EVEN_LEVELS, EVEN_SHARE * brightest))
    white = darkest >= WHITE
    if not white.all():
        others = even & ~white & (darkest >= BRIGHTNESS * np.percentile(darkest[~white], 99.5))
        certain = others & (uneven <= EVENER_LEVELS)
        even = others if certain.sum() >= ENOUGH_OTHERS * (even & white).sum() else even & white
    if even.sum() < max(LEAST_PX, LEAST_SHARE * even.size):
        level = float(np.percentile(brightest, 99.9))
        return Glass((level, level, level), 0.0)
    peak = _brightest_peak(np.bincount(darkest[even], minlength=256).astype(np.float64))
    near = even & (np.abs(darkest - peak) <= PEAK_LEVELS)
    colour = tuple(float(plane[near].mean()) for plane in planes)
    return Glass(cast("tuple[float, float, float]", colour), float(near.mean()))


def _reduced(rgb: Rgb) -> Rgb:
    side = max(rgb.shape[:2])
    if side <= SIDE_PX:
        return rgb
    width, height = (max(1, round(length * SIDE_PX / side)) for length in rgb.shape[1::-1])
    return cast("Rgb", cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA))


def _brightest_peak(histogram: Floats) -> int:
    """The highest level at which a histogram has one of its higher peaks."""
    counts = np.convolve(histogram, np.ones(5) / 5, "same")
    padded = np.pad(counts, PEAK_LEVELS)
    highest = np.lib.stride_tricks.sliding_window_view(padded, 2 * PEAK_LEVELS + 1).max(axis=1)
    return int(np.flatnonzero((counts == highest) & (counts >= PEAK_SHARE * counts.max())).max())


def density_tables(glass: Glass, *, least: float) -> NDArray[np.float32]:
    """(3, 256) float32, the optical density (natural log) of each value of red, green and blue; 0 is glass.

    Args:
        glass: of the slide.
        least: densities below it, and those of what is brighter than glass, are set to it.
    """
    values = np.maximum(np.arange(256), 1)
    density = np.log(np.array(glass.colour)[:, None] / values)
    return cast("NDArray[np.float32]", np.maximum(density, least).astype(np.float32))
