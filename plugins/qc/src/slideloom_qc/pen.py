"""Ink of marker pens, distinguished from H&E stain by colour and by the size of strokes."""

from __future__ import annotations

from typing import Any, Literal, cast

import cv2
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Mask, QcResult, Rgb, Scene, Slide, SlideQc

from slideloom_qc.pictures import at_mpp
from slideloom_qc.settings import Pen

Floats = NDArray[np.floating[Any]]

# Optical density (natural log) of the densest channel from which a pixel is something else than glass: tissue or ink,
# so saturation, by which `tissue` tells, will not do. docs/explanation/qc.md compares all tests for tissue.
NOT_GLASS = 0.15
# Tissue whose ratio is this many standard deviations above the slide's median may be ink where it touches sure ink ...
FAINT_SIGMA = 3.0
# ... and is sure ink from here on, each within the limits of its family.
SURE_SIGMA = 6.0
# Beyond this distance (um) from sure ink, tissue shows the range of the staining: 99% of it must not look like ink.
NEAR_UM = 300.0
TISSUE_PERCENTILE = 99.0
# Fewer pixels than this are not enough to measure a slide's staining.
ENOUGH_PX = 100
# Rows that are processed at a time.
STRIP_PX = 128


@frozen
class InkRule:
    """A family of inks, defined by the ratio of two optical densities.

    Attributes:
        faint: ratio below which a pixel is never ink.
        sure_from, sure: the limit above which a pixel is ink on its own is between these, depending on the staining.
        percentile: the tissue below it shows how the slide is stained; 50, or 30 if tissue varies so little that a
            third of it is enough, so that ink on most of the slide is not taken for its staining.
    """

    faint: float
    sure_from: float
    sure: float
    percentile: Literal[30, 50]


# H&E absorbs green most (Ruifrok & Johnston 2001: red to green 0.92 for haematoxylin, 0.07-0.27 for eosin).
# Blue, cyan and green ink absorb red more than green.
COOL = InkRule(faint=0.7, sure_from=0.95, sure=1.25, percentile=50)
# Red ink absorbs blue nearly as much as green, but not red; eosin's ratio of blue to green is 0.11-0.7.
RED = InkRule(faint=0.65, sure_from=0.72, sure=0.8, percentile=30)
# Black ink absorbs all colours equally.
BLACK = InkRule(faint=0.55, sure_from=0.7, sure=0.8, percentile=50)


def optical_density(rgb: Rgb) -> tuple[Floats, Floats, Floats]:
    """Optical density (natural log, 0 = white) of red, green and blue: each (h, w) float32, at least 0.01."""
    table = np.maximum(-np.log(np.maximum(np.arange(256), 1) / 255), 0.01).astype(np.float32)
    red, green, blue = (cast("Floats", cv2.LUT(cv2.extractChannel(rgb, c), table)) for c in range(3))
    return red, green, blue


def ink_mask(rgb: Rgb, *, pixel_um: float, min_area_um2: float, margin_um: float) -> Mask:
    """Where there is marker ink on an H&E slide.

    Each family of inks has a ratio of optical densities that stain does not reach. Pixels above its sure limit, after
    removing specks, are seeds. A stroke is the connected area around a seed whose ratio is above that of the slide's
    tissue. So faint ink over tissue is followed from where it is clear, as far as the slide's staining permits.

    Args:
        rgb: (h, w, 3) uint8, a whole slide at low magnification.
        pixel_um: side of a pixel in um.
        min_area_um2: smaller strokes are ignored.
        margin_um: a stroke is widened by this much, because its edge fades out.

    Returns:
        (h, w) bool.
    """
    strokes = _Strokes(cast("Rgb", cv2.medianBlur(rgb, 3)), pixel_um, min_area_um2)
    found = np.zeros(rgb.shape[:2], np.uint8)
    for rule in (COOL, RED, BLACK):
        found |= strokes.found(rule).view(np.uint8)
    reach = max(1, round(margin_um / pixel_um))
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, _disk(2 * reach))
    return cv2.dilate(closed, _disk(reach)) > 0


@frozen
class Looks:
    """Pixels as judged by the rule of one family of inks.

    Attributes:
        ratio: (h, w) float32, the ratio of the rule.
        sure: (h, w) bool, dense enough to be ink on its own.
        faint: (h, w) bool, tissue or ink of this colour, however pale.
    """

    ratio: Floats = field(eq=False)
    sure: Mask = field(eq=False)
    faint: Mask = field(eq=False)


def looks(rule: InkRule, rgb: Rgb) -> Looks:
    """The inputs of a family's rule, for a part of the slide (h, w, 3) uint8."""
    red, green, blue = optical_density(rgb)
    densest = np.maximum(np.maximum(red, green), blue)
    tissue = densest > NOT_GLASS
    if rule is COOL:
        return Looks(red / green, red > 0.35, tissue & (red > NOT_GLASS))
    if rule is RED:
        reds_share = red / green
        return Looks(blue / green, (reds_share < 0.35) & (green > 0.4), tissue & (reds_share < 0.5))
    palest = np.minimum(np.minimum(red, green), blue)
    return Looks(palest / densest, densest > 0.6, tissue & (densest > 0.35))


@frozen
class _Strokes:
    """Finds strokes of one slide."""

    rgb: Rgb = field(eq=False)
    pixel_um: float
    min_area_um2: float

    def found(self, rule: InkRule) -> Mask:
        """Connected areas of faint ink that contain sure ink and are large enough."""
        candidates, seeds = self._candidates(rule)
        if seeds is None:
            return candidates
        _, labels, stats, _ = cv2.connectedComponentsWithStats(candidates.view(np.uint8), connectivity=8)
        keep = np.zeros(len(stats), np.bool_)
        keep[labels[seeds > 0]] = True
        keep &= stats[:, cv2.CC_STAT_AREA] * self.pixel_um**2 >= self.min_area_um2
        keep[0] = False
        return cast("Mask", keep[labels])

    def _candidates(self, rule: InkRule) -> tuple[Mask, NDArray[np.uint8] | None]:
        """Where faint ink may be and, as 0 and 1, where sure ink is; None for the second if there is none."""
        seen = self._looks(rule)
        ratio, tissue = seen.ratio, seen.faint
        faint_limit, sure_limit = _limits(rule, ratio[tissue])
        certain = (seen.sure & (ratio > sure_limit)).view(np.uint8)
        seeds = cv2.morphologyEx(certain, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        if not seeds.any():
            return np.zeros(ratio.shape, np.bool_), None
        near = cv2.dilate(seeds, _disk(max(1, round(NEAR_UM / self.pixel_um)))) > 0
        elsewhere = ratio[tissue & ~near]
        if elsewhere.size >= ENOUGH_PX:
            usual = float(np.percentile(elsewhere, TISSUE_PERCENTILE, overwrite_input=True))
            faint_limit = min(faint_limit, max(usual, rule.faint))
        return (tissue & (ratio > faint_limit)) | (seeds > 0), np.asarray(seeds, np.uint8)

    def _looks(self, rule: InkRule) -> Looks:
        """`looks` of the whole slide, strip by strip, because intermediate arrays need many times the memory."""
        shape = self.rgb.shape[:2]
        whole = Looks(np.empty(shape, np.float32), np.empty(shape, np.bool_), np.empty(shape, np.bool_))
        for top in range(0, shape[0], STRIP_PX):
            strip = slice(top, top + STRIP_PX)
            part = looks(rule, self.rgb[strip])
            whole.ratio[strip], whole.sure[strip], whole.faint[strip] = part.ratio, part.sure, part.faint
        return whole


def _limits(rule: InkRule, tissue: Floats) -> tuple[float, float]:
    """The faint and the sure limit for this slide, from the ratios of its tissue.

    The spread is measured on the lower side of the distribution, because ink is in the upper tail. `tissue` is
    reordered.
    """
    if tissue.size < ENOUGH_PX:
        return rule.sure_from, rule.sure
    low, upper = np.percentile(tissue, [10, rule.percentile], overwrite_input=True)
    # Deviations below the median of a normal distribution at the 10th and at the upper of both percentiles.
    below_low, below_upper = 1.2816, {30: 0.5244, 50: 0.0}[rule.percentile]
    sigma = float(upper - low) / (below_low - below_upper)
    middle = float(upper) + below_upper * sigma
    faint = float(np.clip(middle + FAINT_SIGMA * sigma, rule.faint, rule.sure))
    return faint, float(np.clip(middle + SURE_SIGMA * sigma, rule.sure_from, rule.sure))


def _disk(radius: int) -> NDArray[np.uint8]:
    return cast("NDArray[np.uint8]", cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1)))


class PenQc(SlideQc):
    """Masks marker ink."""

    def __init__(self, settings: Pen) -> None:
        self._settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `ink_mask`; regions are ignored and the whole slide is used."""
        settings = self._settings
        picture = at_mpp(slide, settings.mpp)
        mask = ink_mask(
            picture.rgb,
            pixel_um=picture.mpp,
            min_area_um2=settings.min_area_um2,
            margin_um=settings.margin_um,
        )
        return QcResult(mask, "artifact", metrics={"masked": float(mask.mean()), "mpp": picture.mpp})
