"""Otsu: the threshold, the level it looks at, regions, and slides it cannot split."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from shapely.geometry import MultiPolygon, Polygon, box as rectangle
from slideloom import Box, Region, Regions, Rgb, Size
from slideloom_qc import Otsu
from slideloom_qc.otsu import inside_regions, otsu
from slideloom_testing import PixelsSlide, scene_of, stained


def section(width: int = 900, height: int = 700, *, glass: int = 243) -> Rgb:
    """Glass with tissue in the middle half of the width."""
    noise = np.random.default_rng(0).normal(glass, 1.5, (height, width, 3))
    rgb = np.clip(noise, 0, 255).astype(np.uint8)
    rgb[:, width // 4 : 3 * width // 4] = stained(Size(3 * width // 4 - width // 4, height))
    return rgb


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 255), st.integers(1, 500)), min_size=2, max_size=30, unique_by=lambda b: b[0]))
def test_the_threshold_makes_the_variance_between_classes_largest(bins: list[tuple[int, int]]) -> None:
    histogram = np.zeros(256, np.int64)
    for value, count in bins:
        histogram[value] = count
    values = np.repeat(np.arange(256), histogram).astype(float)

    split = otsu(histogram)

    def between(threshold: int) -> float:
        low, high = values[values <= threshold], values[values > threshold]
        if not len(low) or not len(high):
            return 0.0
        return len(low) * len(high) / len(values) ** 2 * (low.mean() - high.mean()) ** 2

    best = max(between(threshold) for threshold in range(256))
    assert between(split.threshold) == pytest.approx(best)
    assert split.separability == pytest.approx(best / values.var())
    assert split.low == pytest.approx(values[values <= split.threshold].mean())
    assert split.high == pytest.approx(values[values > split.threshold].mean())


def test_the_mask_is_opencvs() -> None:
    rgb = section()
    smooth = cv2.medianBlur(np.ascontiguousarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2HSV)[..., 1]), 7)
    threshold, expected = cv2.threshold(smooth, 0, 255, cv2.THRESH_BINARY_INV | cv2.THRESH_OTSU)

    result = Otsu().build().assess(PixelsSlide(rgb), scene_of())

    assert result.metrics["threshold"] == threshold
    assert np.array_equal(result.mask, expected > 0)
    assert result.notes == ()
    assert result.kind == "background"


def test_tissue_is_kept_and_glass_is_masked() -> None:
    mask = Otsu().build().assess(PixelsSlide(section()), scene_of()).mask

    assert mask[:, :215].all()
    assert mask[:, 685:].all()
    assert mask[:, 235:665].mean() < 0.04


def test_the_smallest_level_with_a_side_above_500_is_used() -> None:
    rgb = section(2310, 2100)

    result = Otsu().build().assess(PixelsSlide(rgb, downsamples=(1, 4, 8)), scene_of())

    assert result.mask.shape == (525, 577)
    assert result.extent == Box(0, 0, 2308, 2100)


def test_a_large_single_level_is_read_small() -> None:
    rgb = np.full((700, 6400, 3), 243, np.uint8)
    rgb[:, :3200] = (200, 80, 160)

    result = Otsu().build().assess(PixelsSlide(rgb), scene_of())

    assert result.mask.shape == (336, 3072)
    assert result.extent is None
    assert result.mask.mean() == pytest.approx(0.5, abs=0.01)


def test_a_slide_of_glass_alone_is_all_background_and_says_so() -> None:
    rgb = np.clip(np.random.default_rng(1).normal(240, 3, (600, 800, 3)), 0, 255).astype(np.uint8)

    result = Otsu().build().assess(PixelsSlide(rgb), scene_of())

    assert result.mask.all()
    assert result.metrics["masked"] == 1.0
    assert "no threshold tells tissue from glass" in result.notes[0]


def test_a_slide_of_one_colour_is_judged_by_that_colour() -> None:
    white = Otsu().build().assess(PixelsSlide(np.full((600, 600, 3), 250, np.uint8)), scene_of())
    pink = Otsu().build().assess(PixelsSlide(np.full((600, 600, 3), (220, 120, 180), np.uint8)), scene_of())

    assert white.mask.all()
    assert not pink.mask.any()
    assert "nothing is background" in pink.notes[0]


def test_a_slide_without_glass_says_that_pale_tissue_is_masked() -> None:
    result = Otsu().build().assess(PixelsSlide(stained(Size(700, 600))), scene_of())

    assert "hardly any glass" in result.notes[0]


def test_only_pixels_inside_regions_set_the_threshold() -> None:
    rgb = section()
    rgb[:, 700:] = (250, 0, 0)  # saturated print outside the region
    region = Regions((Region("ROI_0", rectangle(0, 0, 690, 700)),))
    clean = Otsu().build().assess(PixelsSlide(section()), scene_of())

    inside = Otsu().build().assess(PixelsSlide(rgb), scene_of(regions=region))
    without = Otsu().build().assess(PixelsSlide(rgb), scene_of())
    ignored = Otsu(within_regions=False).build().assess(PixelsSlide(rgb), scene_of(regions=region))

    assert inside.metrics["threshold"] == pytest.approx(clean.metrics["threshold"], abs=5)
    assert without.metrics["threshold"] > 1.5 * inside.metrics["threshold"]
    assert ignored.metrics["threshold"] == without.metrics["threshold"]


def test_a_region_off_the_slide_is_noted() -> None:
    region = Regions((Region("ROI_0", rectangle(5000, 5000, 5010, 5010)),))
    result = Otsu().build().assess(PixelsSlide(section()), scene_of(regions=region))
    assert "no region covers a pixel" in result.notes[0]


def test_regions_with_holes_cover_their_area() -> None:
    holed = Polygon([(10, 10), (90, 10), (90, 90), (10, 90)], [[(30, 30), (60, 30), (60, 60), (30, 60)]])
    far = MultiPolygon([rectangle(100, 0, 120, 20), rectangle(150, 50, 200, 100)])
    regions = Regions((Region("a", holed), Region("b", far)))

    inside = inside_regions(regions, Box(0, 0, 200, 100), (400, 800))

    # fillPoly draws its outline too: up to half a pixel (1/8 here) per edge
    assert inside.sum() / 16 == pytest.approx(holed.area + far.area, rel=0.02)
    assert not inside[4 * 45, 4 * 45]
    assert inside[4 * 20, 4 * 20]
