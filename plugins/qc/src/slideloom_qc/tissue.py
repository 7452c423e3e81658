"""A tissue mask that follows each slide's own glass, for any stain, and that marker ink does not disturb."""

from __future__ import annotations

from typing import Any, cast

import cv2
import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import Mask, QcResult, Rgb, Scene, Slide, SlideQc

from slideloom_qc.glass import Floats, Glass
from slideloom_qc.pen import ink_on
from slideloom_qc.pictures import at_mpp, glass_on
from slideloom_qc.settings import Tissue
from slideloom_qc.shapes import disk, with_labels

# The colour is averaged over this much (sigma of a Gaussian), which removes noise but keeps membranes of fat cells
# above the noise, and over this many pixels at least.
SMOOTH_UM, SMOOTH_PX = 12.0, 0.7
# Stain from which a place may be tissue, in optical density: three levels of 8 bits on bright glass ...
FAINT = 0.012
# ... more where the glass is noisier, namely this many standard deviations of it, up to this much.
NOISE_SIGMAS, FAINTEST_LIMIT = 4.0, 0.03
# Around tissue, within a square of this side, at least this share has this much stain; fringes of lines, dirt and
# streaks of the mounting medium have less.
CERTAIN, CERTAIN_SHARE, CERTAIN_UM = 0.03, 0.02, 500.0
# Haematoxylin, eosin and their mixtures absorb green most. Glass, medium and shadows may be tinted in other hues, so
# those count only beyond this.
TINT = 0.02
# Shadows, dust and the edge of a coverslip are grey: their colour is less than this share of their density.
GREY = 0.1
# The blur must not widen dark tissue, so within this distance less than this share of its stain is its blurred edge.
NEAR_UM, NEAR_SHARE = 32.0, 0.3
# Stain is kept in units of this density, up to 255 of them.
UNIT = 1 / 500
# Rows that are smoothed at a time, and rows of those whose densities fit the near cache.
BAND_PX, STRIP_PX = 256, 16
# The default options of `Pen`.
INK_AREA_UM2, INK_MARGIN_UM = 20_000.0, 8.0


@frozen
class Stain:
    """How strongly each pixel is stained, relative to the slide's glass.

    Attributes:
        amount: (h, w) uint8 in units of 1/500 of optical density; 0 for glass, grey and what is brighter than glass.
        noise: standard deviation of the glass in that density.
    """

    amount: NDArray[np.uint8] = field(eq=False)
    noise: float

    @property
    def least(self) -> float:
        """The optical density from which a place may be tissue."""
        return float(np.clip(NOISE_SIGMAS * self.noise, FAINT, FAINTEST_LIMIT))


def stain_of(rgb: Rgb, glass: Glass, *, pixel_um: float, band_px: int = BAND_PX) -> Stain:
    """The stain of a slide, computed in bands of rows that do not change it.

    Densities of red, green and blue are compared with each other, so that what absorbs all colours alike is no stain.

    Args:
        rgb: (h, w, 3) uint8.
        glass: of the slide.
        pixel_um: side of a pixel in um.
        band_px: rows at a time.
    """
    sigma = max(SMOOTH_PX, SMOOTH_UM / pixel_um)
    reach = int(4 * sigma + 1)
    amount = np.zeros(rgb.shape[:2], np.uint8)
    squares = count = 0.0
    for top in range(0, len(rgb), band_px):
        first, last = max(0, top - reach), min(len(rgb), top + band_px + reach)
        inner = slice(top - first, min(top + band_px, len(rgb)) - first)
        smooth = cv2.GaussianBlur(
            rgb[first:last].astype(np.float32), (2 * reach + 1, 2 * reach + 1), sigma, borderType=cv2.BORDER_REFLECT
        )[inner]
        band = amount[top : top + band_px]
        noise = np.concatenate(
            [
                _stain_in(smooth[row : row + STRIP_PX], glass, out=band[row : row + STRIP_PX])
                for row in range(0, len(band), STRIP_PX)
            ]
        )
        squares, count = squares + float((noise**2).sum(dtype=np.float64)), count + noise.size
    return Stain(amount, float(np.sqrt(squares / count)) if count else 0.0)


def _stain_in(smooth: NDArray[Any], glass: Glass, *, out: NDArray[np.uint8]) -> Floats:
    """Fill `out` with the stain of smooth rows; (N,) float32 of their glass, whose spread is its noise."""
    red, green, blue = (
        np.maximum(np.log(level / np.maximum(smooth[..., c], 1.0)), 0) for c, level in enumerate(glass.colour)
    )
    grey, magenta, yellow = (red + green + blue) / 3, green - (red + blue) / 2, blue - red
    colour = np.sqrt(magenta**2 * (2 / 3) + yellow**2 / 2)
    stain = np.maximum(magenta, colour - TINT)
    stain[colour < GREY * grey] = 0
    out[...] = np.clip(np.rint(stain / UNIT), 0, 255)
    # Tissue turns glass to magenta only, so the other side shows the noise of the glass alone.
    noise: Floats = magenta[(magenta <= 0) & (grey < TINT)]
    return noise


def tissue_mask(stain: Stain, *, ink: Mask, pixel_um: float, min_tissue_um2: float, max_hole_um2: float) -> Mask:
    """Where there is tissue without ink: (h, w) bool.

    Tissue is what is stained, near what is certainly stained. Pieces are judged together with the ink on them, small
    holes are filled, and ink is removed last, so that filling does not bring it back.
    """
    amount = stain.amount.copy()
    amount[ink] = 0  # what may be stained under ink is not seen, and does not vouch for what lies around it
    around = cv2.dilate(stain.amount, disk(NEAR_UM / pixel_um))
    tissue = (amount >= stain.least / UNIT) & (amount >= NEAR_SHARE * around)
    share = min(CERTAIN_SHARE, min_tissue_um2 / 2 / CERTAIN_UM**2)  # small pieces that are asked for have less
    tissue &= _shares(amount >= CERTAIN / UNIT, CERTAIN_UM / pixel_um) >= max(1, share * 65535)
    del amount, around
    pieces = _without_small(tissue | ink, min_tissue_um2 / pixel_um**2)
    tissue = ~_without_small(~pieces, max_hole_um2 / pixel_um**2)
    if pieces.any() and not ink.any():
        return tissue  # which has lost nothing since it was judged
    return _without_small(tissue & ~ink, min_tissue_um2 / pixel_um**2)  # the rest of a piece is judged by its own size


def _shares(mask: Mask, side_px: float) -> NDArray[np.uint16]:
    """(h, w) uint16, 65535 times the share of True in the square around each pixel, mirrored at the edges."""
    reach = max(1, round(side_px / 2))
    side, shares = 2 * reach + 1, np.empty(mask.shape, np.uint16)
    for top in range(0, len(mask), BAND_PX):
        first, bottom = max(0, top - reach), min(len(mask), top + BAND_PX)
        part = mask[first : bottom + reach] * np.uint16(65535)
        blurred = cv2.blur(part, (side, side), borderType=cv2.BORDER_REFLECT)
        shares[top:bottom] = blurred[top - first : bottom - first]
    return shares


def _without_small(mask: Mask, least_px: float) -> Mask:
    """`mask` without its connected parts of fewer pixels."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.view(np.uint8), connectivity=4)
    keep: NDArray[np.bool_] = stats[:, cv2.CC_STAT_AREA] >= least_px
    keep[0] = False
    return with_labels(cast("NDArray[np.integer[Any]]", labels), keep)


class TissueQc(SlideQc):
    """Masks everything except tissue without ink."""

    uses_regions = False

    def __init__(self, settings: Tissue) -> None:
        self._settings = settings

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `tissue_mask`; regions are ignored and the whole slide is used."""
        picture = at_mpp(slide, self._settings.mpp)
        glass = glass_on(slide, picture)
        ink = ink_on(slide, picture, min_area_um2=INK_AREA_UM2, margin_um=INK_MARGIN_UM)
        stain = stain_of(picture.rgb, glass, pixel_um=picture.mpp)
        tissue = tissue_mask(
            stain,
            ink=ink,
            pixel_um=picture.mpp,
            min_tissue_um2=self._settings.min_tissue_um2,
            max_hole_um2=self._settings.max_hole_um2,
        )
        metrics = {
            "masked": float(1 - tissue.mean()),
            "ink": float(ink.mean()),
            "threshold": stain.least,
            "glass": glass.share,
            "mpp": picture.mpp,
        }
        return QcResult(~tissue, "background", metrics=metrics, notes=_notes(tissue, ink, glass))


def _notes(tissue: Mask, ink: Mask, glass: Glass) -> tuple[str, ...]:
    notes = []
    if ink.any():
        notes.append(
            f"tissue: relied on `pen`, which takes {ink.mean():.1%} of the slide for ink; it is not counted as tissue"
        )
    if not glass.is_seen:
        notes.append("tissue: no clear glass to compare with, so pale places count as tissue unless they are grey")
    if not tissue.any():
        notes.append("tissue: the slide has no tissue")
    return tuple(notes)
