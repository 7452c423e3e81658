"""A tissue mask that is robust to marker ink."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Mask, QcResult, Rgb, Scene, Slide, SlideQc

from slideloom_qc.otsu import otsu, saturation
from slideloom_qc.pen import ink_mask
from slideloom_qc.pictures import at_mpp
from slideloom_qc.settings import Tissue

# Otsu's threshold is kept within these saturations (0-255): below 4% is the tint of glass, and above 12% there is
# tissue in every stain, so that a slide full of tissue is not split into dark and pale.
LOWEST, HIGHEST = 0.04 * 255, 0.12 * 255
# Pixels this bright in all channels may be glass, whose colour is then set to white.
BRIGHT = 200
# The median that removes noise is about this wide, and 3 to 7 pixels: a wider one would remove thin strands of tissue.
MEDIAN_UM = 24.0
# The default options of `Pen`.
INK_AREA_UM2, INK_MARGIN_UM = 20_000.0, 8.0


def white_balanced(rgb: Rgb) -> Rgb:
    """`rgb` with the median colour of its bright, near-grey pixels made grey; unchanged if it has too few."""
    planes = [rgb[..., c] for c in range(3)]
    darkest = np.minimum(np.minimum(planes[0], planes[1]), planes[2])
    brightest = np.maximum(np.maximum(planes[0], planes[1]), planes[2])
    glass = (darkest >= BRIGHT) & (brightest - darkest <= 25) & (darkest < 255)
    if glass.mean() < 0.001:
        return rgb
    colour = np.array([np.median(plane[glass]) for plane in planes])
    tables = np.arange(256)[:, None] * (colour.max() / colour)
    table = np.clip(np.rint(tables), 0, 255).astype(np.uint8)
    return cast("Rgb", cv2.LUT(rgb, table[None]))


def tissue_mask(
    rgb: Rgb, *, ink: Mask, pixel_um: float, min_tissue_um2: float, max_hole_um2: float
) -> tuple[Mask, float]:
    """Where there is tissue without ink, and the saturation threshold (0-255) that was used.

    Tissue is more saturated than Otsu's threshold of the pixels without ink, kept between 4% and 12%. Specks are
    removed, small holes are filled, and ink is removed last, so that filling does not bring it back.
    """
    half = round((MEDIAN_UM / pixel_um - 1) / 2)
    values = saturation(white_balanced(rgb), median_px=2 * int(np.clip(half, 1, 3)) + 1)
    clean = values[~ink]
    threshold = LOWEST
    if clean.size:
        split = otsu(np.bincount(clean, minlength=256).astype(np.int64))
        threshold = float(np.clip(split.threshold, LOWEST, HIGHEST))
    tissue = (values > threshold) | ink
    tissue = _without_small(tissue, min_tissue_um2 / pixel_um**2)
    tissue = ~_without_small(~tissue, max_hole_um2 / pixel_um**2)
    # The rest of a piece after removing ink is judged by its own size.
    return _without_small(tissue & ~ink, min_tissue_um2 / pixel_um**2), threshold


def _without_small(mask: Mask, least_px: float) -> Mask:
    """`mask` without its connected parts of fewer pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    keep: NDArray[np.bool_] = stats[:, cv2.CC_STAT_AREA] >= least_px
    keep[0] = False
    return cast("Mask", keep[labels])


class TissueQc(SlideQc):
    """Masks everything except tissue without ink."""

    def __init__(self, settings: Tissue) -> None:
        self._settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `tissue_mask`; regions are ignored and the whole slide is used."""
        picture = at_mpp(slide, self._settings.mpp)
        ink = ink_mask(picture.rgb, pixel_um=picture.mpp, min_area_um2=INK_AREA_UM2, margin_um=INK_MARGIN_UM)
        tissue, threshold = tissue_mask(
            picture.rgb,
            ink=ink,
            pixel_um=picture.mpp,
            min_tissue_um2=self._settings.min_tissue_um2,
            max_hole_um2=self._settings.max_hole_um2,
        )
        metrics = {
            "masked": float(1 - tissue.mean()),
            "ink": float(ink.mean()),
            "threshold": threshold,
            "mpp": picture.mpp,
        }
        notes = () if tissue.any() else ("tissue: the slide has no tissue",)
        return QcResult(~tissue, "background", metrics=metrics, notes=notes)
