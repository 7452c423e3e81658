"""Background by colour saturation and Otsu's threshold (Otsu 1979)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import cv2
import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from slideloom import Box, Mask, QcResult, Regions, Rgb, Scene, Slide, SlideQc

from slideloom_qc.pictures import low_level
from slideloom_qc.settings import Otsu

# The lowest mean saturation (0-255) of the upper class if it is tissue: 5%, as for grey pixels.
LEAST_TISSUE = 0.05 * 255
# The highest mean saturation (0-255) of the lower class if it is glass; pale tissue has more.
MOST_GLASS = 0.12 * 255


@frozen
class OtsuSplit:
    """Otsu's threshold of a histogram, and how well it separates the classes.

    Attributes:
        threshold: values up to and including it are the lower class.
        low, high: means of the two classes; `high` is NaN if all values are equal.
        separability: between-class variance over total variance, 0-1; 0.64 for one normal distribution.
    """

    threshold: int
    low: float
    high: float
    separability: float


def otsu(histogram: NDArray[np.int64]) -> OtsuSplit:
    """The threshold that maximises the variance between both classes; the lowest one, if there are several.

    Args:
        histogram: (256,) counts, not all 0.
    """
    values = np.arange(len(histogram), dtype=np.float64)
    weight = histogram / histogram.sum()
    below, moment = np.cumsum(weight), np.cumsum(weight * values)
    mean = moment[-1]
    variance = float((weight * (values - mean) ** 2).sum())
    inner = below * (1 - below)
    between = np.divide((mean * below - moment) ** 2, inner, out=np.zeros_like(inner), where=inner > 1e-12)
    if variance == 0 or not between.max() > 0:
        only = int(np.flatnonzero(histogram)[0])
        return OtsuSplit(only, float(only), float("nan"), 0.0)
    threshold = int(between.argmax())
    low, high = moment[threshold] / below[threshold], (mean - moment[threshold]) / (1 - below[threshold])
    return OtsuSplit(threshold, float(low), float(high), float(between[threshold] / variance))


def saturation(rgb: Rgb, *, median_px: int = 7) -> NDArray[np.uint8]:
    """(h, w) uint8 HSV saturation, 255 x (max - min) / max as OpenCV rounds it, smoothed by a square median."""
    hsv = cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)
    return cast("NDArray[np.uint8]", cv2.medianBlur(np.ascontiguousarray(hsv[..., 1]), median_px))


def inside_regions(regions: Regions, extent: Box, shape: tuple[int, int]) -> Mask:
    """(h, w) bool, True for the pixels of a picture of `extent` that lie in a region or that its outline touches.

    `slideloom.Outlines` asks pixel centres instead, and so finds nothing of a region thinner than a pixel; here such a
    region still gives the threshold its pixels.
    """
    inside = np.zeros(shape, np.uint8)
    scale = np.array([shape[1] / extent.width, shape[0] / extent.height])
    for region in regions.items:
        for polygon in _polygons(region.shape):
            rings = [polygon.exterior, *polygon.interiors]
            # In cv2, pixel centres are whole numbers; 4 fractional bits give a precision of a sixteenth of a pixel.
            corners = [
                np.rint(((np.asarray(ring.coords)[:, :2] - (extent.x, extent.y)) * scale - 0.5) * 16).astype(np.int32)
                for ring in rings
            ]
            layer = np.zeros(shape, np.uint8)
            cv2.fillPoly(layer, corners, 1, shift=4)  # even-odd, so interior rings remain holes
            inside |= layer
    return inside > 0


def _polygons(shape: Polygon | MultiPolygon) -> Iterator[Polygon]:
    if isinstance(shape, MultiPolygon):
        yield from shape.geoms
    else:
        yield shape


class OtsuQc(SlideQc):
    """Masks background by saturation."""

    def __init__(self, settings: Otsu) -> None:
        self._within_regions = settings.within_regions

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """The mask, with threshold, class means and separability as metrics.

        If even the more saturated class has the saturation of glass, there is no tissue: everything is masked, and a
        note says so. If the less saturated class is as saturated as tissue, a note says that too.
        """
        picture = low_level(slide)
        values = saturation(picture.rgb)
        counted, notes = values.reshape(-1), []
        if self._within_regions and scene.regions is not None and scene.regions.items:
            inside = inside_regions(scene.regions, picture.extent or slide.info.box, values.shape)
            if inside.any():
                counted = values[inside]
            else:
                notes.append("otsu: no region covers a pixel, so the threshold is that of the whole slide")
        split = otsu(np.bincount(counted, minlength=256).astype(np.int64))
        mask = values <= split.threshold
        if not split.high >= LEAST_TISSUE:
            mask = np.ones_like(mask) if not split.low >= LEAST_TISSUE else np.zeros_like(mask)
            what = "all of it is background" if mask.all() else "nothing is background"
            notes.append(f"otsu: no threshold tells tissue from glass (saturation {split.low / 255:.3f}); {what}")
        elif split.low > MOST_GLASS:
            notes.append(
                f"otsu: hardly any glass (saturation below the threshold is {split.low / 255:.3f} on average), so pale "
                "tissue is masked as background; 'tissue' does not do that"
            )
        numbers = {
            "masked": float(mask.mean()),
            "threshold": float(split.threshold),
            "separability": split.separability,
            "low": split.low,
            "high": split.high,
        }
        metrics = {name: number for name, number in numbers.items() if np.isfinite(number)}
        return QcResult(mask, "background", picture.extent, metrics, tuple(notes))
