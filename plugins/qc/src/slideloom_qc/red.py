"""Red ink told from blood and eosin, whose colours overlap with it: by purity, depth, and the shape of strokes."""

from __future__ import annotations

import cv2
import numpy as np
from attrs import frozen
from slideloom import Mask, Rgb

from slideloom_qc.glass import Glass, density_tables
from slideloom_qc.inks import DARKEST, Staining
from slideloom_qc.shapes import disk

# Purity is the density of red over that of green. Red this pure is certainly ink if a tenth of it is this deep, or this
# many times as deep as the slide's tissue. On a slide with certain red ink, less pure or less deep red is ink as well.
PURE, DEEPEST, TIMES_DEEPEST = 0.2, 2.3, 3.0
LESS_PURE, TIMES_DEEPER = 0.3, 1.5
# Elsewhere red must be purer than blood is. If it fills its outline, after gaps up to this width are closed, as strokes
# do, it may be a little less pure, or beyond the slide's tissue by this much of its ratio; blood is the end of a range.
PUREST, PURE_AND_SOLID = 0.14, 0.165
SOLID, GAP_UM, BEYOND = 0.86, 60.0, 0.13


@frozen(kw_only=True)
class Red:
    """A red area, which may be ink, blood or eosin.

    Attributes:
        purity: median of its density of red over that of green, low if it is pure; ink lets red light through.
        times_deeper: the median of its density of green, over that of the slide's tissue.
        is_deepest: True if a tenth of it is deeper than stain.
        beyond: how far its ratio of blue to green is beyond that of the slide's tissue.
        solid: its share of its outline without gaps.
    """

    purity: float
    times_deeper: float
    is_deepest: bool
    beyond: float
    solid: float

    @property
    def is_certain(self) -> bool:
        """True for what can be nothing but ink."""
        return self.is_deepest and self.purity < PURE

    def is_ink(self, *, marked: bool) -> bool:
        """True for ink; `marked` if the slide has certain red ink somewhere."""
        if self.is_certain or self.purity < PUREST:
            return True
        if marked and self.purity < LESS_PURE and self.times_deeper >= TIMES_DEEPER:
            return True
        return self.solid >= SOLID and (self.beyond >= BEYOND or self.purity < PURE_AND_SOLID)


def red_area(rgb: Rgb, area: Mask, glass: Glass, staining: Staining, *, pixel_um: float) -> Red:
    """What a red area looks like.

    Args:
        rgb: (h, w, 3) uint8, the box around it.
        area: (h, w) bool, its pixels.
        glass: of the slide.
        staining: of the slide's tissue as the red family sees it.
        pixel_um: side of a pixel in um.
    """
    tables = density_tables(glass, least=0.01)
    red, green, blue = (np.minimum(tables[c][rgb[area, c]], DARKEST) for c in range(3))
    middle, top = np.percentile(green, [50, 90])
    gap = disk(GAP_UM / pixel_um)
    padded = np.pad(area.view(np.uint8), len(gap))
    return Red(
        purity=float(np.median(red / green)),
        times_deeper=float(middle) / max(staining.depth, 0.05),
        is_deepest=bool(top >= min(DEEPEST, TIMES_DEEPEST * staining.depth)),
        beyond=float(np.median(blue / green)) - staining.ratio,
        solid=np.count_nonzero(area) / np.count_nonzero(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, gap)),
    )
