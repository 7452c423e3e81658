"""Ink of marker pens, told from stain by its colour and depth relative to the glass, and by the shape of strokes."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Mask, QcResult, Rgb, Scene, Slide, SlideQc

from slideloom_qc.glass import Floats, Glass, glass_of
from slideloom_qc.inks import (
    ALIKE,
    BLACK,
    COOL,
    DENSE,
    RED,
    VIVID,
    InkRule,
    Looks,
    Staining,
    looks,
    promising,
    without_specks,
)
from slideloom_qc.pictures import SlidePicture, at_mpp, glass_on
from slideloom_qc.red import red_area
from slideloom_qc.settings import Pen
from slideloom_qc.shapes import disk, with_labels

Whole = NDArray[np.integer[Any]]

# A ratio this many standard deviations above the median of the slide is sure ink, within the limits of the family.
SURE_SIGMA = 6.0
# Beyond this distance (um) from sure ink, tissue shows the range of the staining; nearer if there is no other. Its
# ratios end at this percentile; its depth, and ratios that vary little, this many standard deviations above the
# median, so that ink among it does not matter.
FAR_UM, NEAR_UM, TISSUE_PERCENTILE, TISSUE_SIGMA = 300.0, 100.0, 99.0, 4.0
# The 10th percentile of a normal distribution is this many standard deviations below the median.
DECILE_SIGMA = 1.2816
# Rows of distances that are computed at a time.
BAND_PX = 512
# Tissue of which these pixels are all there is, or of less than this share of sure ink, cannot show the staining.
ENOUGH_PX, ENOUGH_SHARE = 100, 0.1


def ink_mask(rgb: Rgb, glass: Glass | None = None, *, pixel_um: float, min_area_um2: float, margin_um: float) -> Mask:
    """Where there is marker ink on a slide.

    Each family of inks has a ratio of optical densities that stain does not reach, or only where it is pale. Pixels
    above its sure limit, or opaque ones, are seeds after removing specks. A stroke is the connected area around a seed
    whose ratio or depth is above that of the slide's tissue. So faint ink over tissue is followed from where it is
    clear, as far as the slide's staining permits.

    Args:
        rgb: (h, w, 3) uint8, a whole slide at low magnification.
        glass: of the slide; measured if not given.
        pixel_um: side of a pixel in um.
        min_area_um2: smaller strokes are ignored.
        margin_um: a stroke is widened by this much, because its edge fades out.

    Returns:
        (h, w) bool.
    """
    strokes = _Strokes(cast("Rgb", cv2.medianBlur(rgb, 3)), glass or glass_of(rgb), pixel_um, min_area_um2)
    found, rules = np.zeros(rgb.shape[:2], np.uint8), (COOL, RED, BLACK)
    for rule, may_be in zip(rules, promising(rules, strokes.rgb, strokes.glass), strict=True):
        if may_be:
            found |= strokes.found(rule).view(np.uint8)
    if not found.any():
        return found.view(np.bool_)
    reach = max(1, round(margin_um / pixel_um))
    closed = cv2.morphologyEx(found, cv2.MORPH_CLOSE, disk(2 * reach))
    return cv2.dilate(closed, disk(reach)) > 0


@frozen
class _Strokes:
    """Finds strokes of one slide."""

    rgb: Rgb = field(eq=False)
    glass: Glass
    pixel_um: float
    min_area_um2: float

    def found(self, rule: InkRule) -> Mask:
        """Connected areas of faint ink that contain sure ink, are large enough and have the shape of ink."""
        seen = looks(rule, self.rgb, self.glass)
        seeds = _seeds(rule, seen)
        if not seeds.any():
            return seeds.view(np.bool_)
        staining = self._staining(rule, seen, seeds)
        candidates = _candidates(rule, seen, seeds, staining)
        del seen
        _, labels, stats, _ = cv2.connectedComponentsWithStats(candidates.view(np.uint8), connectivity=8)
        keep = np.zeros(len(stats), np.bool_)
        keep[labels[seeds > 0]] = True
        keep &= stats[:, cv2.CC_STAT_AREA] * self.pixel_um**2 >= self.min_area_um2
        keep[0] = False
        if rule is RED and staining is not None:
            self._drop_blood(keep, cast("Whole", labels), cast("Whole", stats), staining)
        return with_labels(cast("Whole", labels), keep)

    def _drop_blood(self, keep: Mask, labels: Whole, stats: Whole, staining: Staining) -> None:
        """Set `keep` of red areas that are no ink to False."""
        reds = {}
        for label in np.flatnonzero(keep).tolist():
            x, y, width, height, _ = stats[label].tolist()
            box = slice(y, y + height), slice(x, x + width)
            area = labels[box] == label
            reds[label] = red_area(self.rgb[box], area, self.glass, staining, pixel_um=self.pixel_um)
        marked = any(red.is_certain for red in reds.values())
        keep[[label for label, red in reds.items() if not red.is_ink(marked=marked)]] = False

    def _staining(self, rule: InkRule, seen: Looks, seeds: NDArray[np.uint8]) -> Staining | None:
        """Of the tissue away from the seeds; None if it is too little."""
        enough = max(ENOUGH_PX, ENOUGH_SHARE * np.count_nonzero(seeds))
        for least_um in (FAR_UM, NEAR_UM):
            away = farther(seeds, least_um / self.pixel_um)[seen.faint]
            if np.count_nonzero(away) >= enough:
                low, middle, high = np.percentile(seen.ratio[away], [10, 50, TISSUE_PERCENTILE], overwrite_input=True)
                ratio = min(float(high), _above(low, middle)) if rule.is_even else float(high)
                low, middle = np.percentile(seen.depth[away], [10, 50], overwrite_input=True)
                return Staining(ratio, float(middle), _above(low, middle))
        return None


def farther(seeds: NDArray[np.uint8], least: float) -> Mask:
    """(h, w) bool, True for pixels farther from all seeds than this many pixels, by OpenCV's distance of 5 x 5 steps.

    In bands: a distance takes four bytes, and no seed beyond the limit matters.
    """
    margin, far = int(least) + 2, np.ones(seeds.shape, np.bool_)
    for top in range(0, len(seeds), BAND_PX):
        first, bottom = max(0, top - margin), min(len(seeds), top + BAND_PX)
        part = seeds[first : bottom + margin]
        if part.any():
            distance = cv2.distanceTransform(1 - part, cv2.DIST_L2, cv2.DIST_MASK_5)
            far[top:bottom] = distance[top - first : bottom - first] > least
    return far


def _above(low: float, middle: float) -> float:
    """Four standard deviations above a median; measured below it, because ink is above."""
    return float(middle + TISSUE_SIGMA * (middle - low) / DECILE_SIGMA)


def _seeds(rule: InkRule, seen: Looks) -> NDArray[np.uint8]:
    """Sure ink as 0 and 1."""
    sure = ((seen.bits & DENSE) > 0) & (seen.ratio > _sure_limit(rule, seen.ratio.copy()))
    opaque, times = rule.opaque
    if len(seen.bits) >= ENOUGH_PX and opaque < np.inf:
        usual = float(np.percentile(seen.depth, 30)) if times else 0.0
        sure |= ((seen.bits & VIVID) > 0) & (seen.depth > max(opaque, times * usual))
    return without_specks(seen.placed(sure).view(np.uint8))


def _sure_limit(rule: InkRule, tissue: Floats) -> float:
    """The ratio of sure ink on this slide, from the ratios of its tissue, which are reordered.

    The spread is measured on the lower side of the distribution, because ink is in the upper tail.
    """
    if tissue.size < ENOUGH_PX:
        return rule.sure
    below_upper = 0.5244 if rule.is_even else 0.0
    low, upper = np.percentile(tissue, [10, 30 if rule.is_even else 50], overwrite_input=True)
    sigma = float(upper - low) / (DECILE_SIGMA - below_upper)
    return float(np.clip(upper + (below_upper + SURE_SIGMA) * sigma, rule.sure_from, rule.sure))


def _candidates(rule: InkRule, seen: Looks, seeds: NDArray[np.uint8], staining: Staining | None) -> Mask:
    """Where faint ink may be."""
    # A slide that shows no tissue of its own shows no stain either that could be taken for ink.
    limit = rule.faint if staining is None else max(staining.ratio, rule.faint)
    deep = rule.deep[0] if staining is None else float(np.clip(staining.deepest, *rule.deep))
    ink = seen.ratio > limit
    ink |= ((seen.bits & ALIKE) > 0) & (seen.depth > deep)
    return seen.placed(ink) | (seeds > 0)


def ink_on(slide: Slide, picture: SlidePicture, *, min_area_um2: float, margin_um: float) -> Mask:
    """`ink_mask` of a picture of the whole slide, computed once for all steps that ask for the same."""

    def found() -> Mask:
        glass = glass_on(slide, picture)
        return ink_mask(picture.rgb, glass, pixel_um=picture.mpp, min_area_um2=min_area_um2, margin_um=margin_um)

    key = ("slideloom-qc", "ink", picture.rgb.shape, picture.mpp, min_area_um2, margin_um)
    return slide.shared(key, found).copy()


class PenQc(SlideQc):
    """Masks marker ink."""

    uses_regions = False

    def __init__(self, settings: Pen) -> None:
        self._settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `ink_mask`; regions are ignored and the whole slide is used."""
        settings = self._settings
        picture = at_mpp(slide, settings.mpp)
        mask = ink_on(slide, picture, min_area_um2=settings.min_area_um2, margin_um=settings.margin_um)
        return QcResult(mask, "artifact", metrics={"masked": float(mask.mean()), "mpp": picture.mpp})
