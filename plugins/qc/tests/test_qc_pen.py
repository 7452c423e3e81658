"""Pen: ink of several colours and strengths over real tissue is found, stain is not."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import Mask, Rgb, Size
from slideloom_qc import Otsu, Pen, Tissue
from slideloom_qc.glass import Glass, density_tables
from slideloom_qc.inks import BLACK, COOL, RED, STRIP_PX, InkRule, looks, promising
from slideloom_qc.pen import BAND_PX, _seeds, farther, ink_mask
from slideloom_qc.shapes import with_labels
from slideloom_testing import PixelsSlide, scene_of, stained

# Colours of markers on clear glass at strength 1.
INKS = {
    "green": (20, 130, 90),
    "blue": (25, 60, 160),
    "cyan": (0, 120, 190),
    "black": (35, 35, 40),
    "red": (200, 30, 45),
}
SLIDES = {"cmu": ("cmu-1-small-region.svs", 0.499), "tcga": ("tcga-cr-7395-01a-01-ts1.svs", 0.5)}
PIXEL_UM = 8.0


def found(rgb: Rgb, pixel_um: float = PIXEL_UM) -> Mask:
    settings = Pen()
    return ink_mask(rgb, pixel_um=pixel_um, min_area_um2=settings.min_area_um2, margin_um=settings.margin_um)


@pytest.fixture(scope="module")
def real_slides(real_data: Path) -> dict[str, Rgb]:
    """Both slides at 8 um per pixel."""
    openslide = pytest.importorskip("openslide")
    pictures = {}
    for key, (name, mpp) in SLIDES.items():
        with openslide.OpenSlide(real_data / name) as slide:
            rgb = np.array(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))
        size = round(rgb.shape[1] * mpp / PIXEL_UM), round(rgb.shape[0] * mpp / PIXEL_UM)
        pictures[key] = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    return pictures


def stroke(shape: tuple[int, int], *, seed: int, width_um: float = 250) -> NDArray[np.float32]:
    """Amount of ink, 0-1, of a zigzag across the slide with soft edges."""
    height, width = shape
    y = np.random.default_rng(seed).uniform(0.15, 0.85, 6) * height
    corners = np.stack([np.linspace(0.05, 0.95, 6) * width, y], axis=1).astype(np.int32)
    amount = np.zeros(shape, np.uint8)
    cv2.polylines(amount, [corners], isClosed=False, color=255, thickness=int(width_um / PIXEL_UM))
    return cv2.GaussianBlur(amount.astype(np.float32) / 255, (0, 0), 15 / PIXEL_UM)


def inked(rgb: Rgb, amount: NDArray[np.float32], ink: str, strength: float) -> Rgb:
    """Ink over tissue absorbs what the tissue leaves (Beer-Lambert law)."""
    density = -np.log(np.maximum(np.array(INKS[ink]), 1) / 255)
    return np.clip(rgb * np.exp(-strength * amount[..., None] * density), 0, 255).astype(np.uint8)


def precision_and_recall(rgb: Rgb, ink: str, strength: float) -> tuple[float, float]:
    """Pooled over three strokes. Any visible ink may be marked; where there is at least half of it, it should be."""
    marked = right = planted = hit = 0
    for seed in range(3):
        amount = stroke(rgb.shape[:2], seed=seed)
        mask = found(inked(rgb, amount, ink, strength))
        marked, right = marked + mask.sum(), right + (mask & (amount > 0.05)).sum()
        planted, hit = planted + (amount > 0.5).sum(), hit + (mask & (amount > 0.5)).sum()
    return float(right / max(marked, 1)), float(hit / planted)


# Slide, ink, strength, and the least recall; what was measured is in docs/explanation/qc.md.
CASES = [
    *[(slide, "green", strength, 0.85) for slide in SLIDES for strength in (0.35, 0.6, 1.0)],
    *[(slide, "cyan", strength, 0.95) for slide in SLIDES for strength in (0.35, 0.6, 1.0)],
    *[("cmu", "blue", strength, 0.8) for strength in (0.35, 0.6, 1.0)],
    *[("tcga", "blue", strength, 0.85) for strength in (0.35, 0.6, 1.0)],
    *[(slide, "black", strength, 0.85) for slide in SLIDES for strength in (0.6, 1.0)],
    *[("cmu", "red", strength, 0.75) for strength in (0.35, 0.6, 1.0)],
    # Fainter red on this deeply stained slide is not told from blood.
    *[("tcga", "red", strength, 0.9) for strength in (0.6, 1.0)],
]


@pytest.mark.parametrize(("slide", "ink", "strength", "recall"), CASES)
def test_planted_ink_is_found_over_real_tissue(
    real_slides: dict[str, Rgb], slide: str, ink: str, strength: float, recall: float
) -> None:
    precise, recalled = precision_and_recall(real_slides[slide], ink, strength)

    assert recalled > recall
    assert precise > 0.9


def test_stain_is_not_ink(real_slides: dict[str, Rgb], real_data: Path) -> None:
    for rgb in real_slides.values():
        assert found(rgb).mean() < 0.001
    for name in ("stain_source.png", "stain_target.png"):
        field = cv2.cvtColor(cv2.imread(str(real_data / name)), cv2.COLOR_BGR2RGB)
        for pixel_um in (1.0, 8.0):
            assert found(field, pixel_um).mean() < 0.001


@pytest.mark.parametrize("strength", [0.4, 1.0, 1.8])
def test_made_up_stain_of_any_strength_is_not_ink(strength: float) -> None:
    assert not found(stained(Size(600, 500), seed=4, strength=strength)).any()


def green_pen(real_data: Path) -> PixelsSlide:
    rgb = cv2.cvtColor(cv2.imread(str(real_data / "tcga-green-pen.png")), cv2.COLOR_BGR2RGB)
    # The picture records no resolution; fat cells of 80-120 um are 20-30 pixels wide.
    return PixelsSlide(rgb, mpp=4.0)


# Outlines read off the picture by eye: within the stroke, and well outside it (x, y in pixels).
STROKE = [
    *[(340, 0), (480, 0), (440, 160), (395, 240), (310, 370)],
    *[(310, 630), (170, 630), (160, 400), (240, 260), (310, 90)],
]
CLEAN = [
    [(520, 0), (753, 0), (753, 630), (350, 630), (345, 370), (460, 240)],
    [(0, 0), (270, 0), (270, 120), (130, 370), (130, 630), (0, 630)],
]


def outlined(*outlines: list[tuple[int, int]]) -> Mask:
    mask = np.zeros((631, 754), np.uint8)
    cv2.fillPoly(mask, [np.array(outline, np.int32) for outline in outlines], 1)
    return mask > 0


def enlarged(mask: Mask) -> Mask:
    return cv2.resize(mask.astype(np.uint8), (754, 631), interpolation=cv2.INTER_NEAREST) > 0


def test_a_real_stroke_of_green_pen_is_found_and_nothing_else(real_data: Path) -> None:
    result = Pen().build().assess(green_pen(real_data), scene_of())

    mask = enlarged(result.mask)
    assert result.kind == "artifact"
    assert mask[outlined(STROKE)].mean() > 0.95
    assert mask[outlined(*CLEAN)].mean() < 0.01


def test_the_tissue_mask_survives_the_pen_where_otsu_does_not(real_data: Path) -> None:
    slide = green_pen(real_data)
    tissue = enlarged(~Tissue().build().assess(slide, scene_of()).mask)
    by_otsu = enlarged(~Otsu().build().assess(slide, scene_of()).mask)

    assert tissue[outlined(STROKE)].mean() < 0.05
    assert by_otsu[outlined(STROKE)].mean() > 0.5  # ink is saturated, so Otsu takes it for tissue ...
    right_of_pen = outlined(CLEAN[0])
    assert tissue[right_of_pen].mean() > 0.98
    assert by_otsu[right_of_pen].mean() < 0.75  # ... and pale tissue for glass


def test_the_tissue_mask_is_the_same_with_and_without_ink_beside_the_tissue() -> None:
    rgb = np.full((900, 1200, 3), 243, np.uint8)
    rgb[100:800, 100:600] = stained(Size(500, 700), seed=1)
    marked = rgb.copy()
    marked[200:700, 800:900] = (20, 130, 90)
    plain, with_ink = (Tissue(mpp=2).build().assess(PixelsSlide(image, mpp=2.0), scene_of()) for image in (rgb, marked))

    assert plain.metrics["ink"] == 0
    assert with_ink.metrics["ink"] > 0.04
    assert np.array_equal(plain.mask, with_ink.mask)
    assert plain.mask[110:790, 110:590].mean() < 0.01
    assert plain.mask[:, 620:].all()


def test_holes_and_specks_count_by_their_area_in_um2() -> None:
    rgb = np.full((800, 800, 3), 243, np.uint8)
    rgb[100:500, 100:500] = stained(Size(400, 400), seed=2)
    rgb[200:230, 200:230] = 243  # 900 pixels of 4 um2
    rgb[700:720, 700:720] = (180, 60, 140)  # 400 pixels
    slide = PixelsSlide(rgb, mpp=2.0)

    coarse = Tissue(mpp=2).build().assess(slide, scene_of()).mask
    fine = Tissue(mpp=2, min_tissue_um2=500, max_hole_um2=500).build().assess(slide, scene_of()).mask

    assert (coarse[215, 215], coarse[710, 710]) == (False, True)
    assert (fine[215, 215], fine[710, 710]) == (True, False)


def test_ink_is_found_in_the_memory_of_a_few_pictures() -> None:
    rgb = stained(Size(2000, 1500), seed=1)
    rgb[100:300, 100:900] = (20, 130, 90)
    found(rgb[:100, :100])  # what is imported and made once

    tracemalloc.start()
    mask = found(rgb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert mask[110:290, 110:890].all()
    # Three maps of 4 bytes for each pixel and its three channels twice; all maps of all inks would be 42 bytes.
    assert peak / mask.size < 24


def test_a_small_dot_of_ink_is_left_alone() -> None:
    rgb = np.full((400, 400, 3), 243, np.uint8)
    rgb[50:350, 50:350] = stained(Size(300, 300), seed=3)
    rgb[100:110, 100:110] = (20, 130, 90)  # 100 pixels of 64 um2

    assert not found(rgb).any()
    assert ink_mask(rgb, pixel_um=8, min_area_um2=1000, margin_um=8)[100:110, 100:110].all()


@pytest.mark.parametrize("least", [4.5, 12.5, 37.5])
@pytest.mark.parametrize("count", [0, 1, 40])
def test_what_is_far_from_ink_does_not_depend_on_the_bands_in_which_distances_are_computed(
    least: float, count: int
) -> None:
    height, random = 2 * BAND_PX + 100, np.random.default_rng(count)
    seeds = np.zeros((height, 150), np.uint8)
    seeds[random.integers(0, height, count), random.integers(0, 150, count)] = 1
    whole = cv2.distanceTransform(1 - seeds, cv2.DIST_L2, cv2.DIST_MASK_5) if count else np.full(seeds.shape, np.inf)

    assert np.array_equal(farther(seeds, least), whole > least)


def test_parts_to_keep_are_looked_up_for_each_label() -> None:
    labels = np.random.default_rng(0).integers(0, 5, (300, 70), np.int32)

    assert np.array_equal(with_labels(labels, np.array([0, 1, 0, 0, 1], np.bool_)), (labels == 1) | (labels == 4))


RULES = {"cool": COOL, "red": RED, "black": BLACK}
GLASS = Glass((231.0, 228.5, 236.0), 0.4)


def patches(seed: int) -> Rgb:
    """Squares of 5 pixels in colours of any kind, and glass between them."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (60, 50, 3), dtype=np.uint8)
    colours[rng.random((60, 50)) < 0.5] = (231, 228, 236)
    return np.kron(colours, np.ones((5, 5, 1), np.uint8))


@pytest.mark.parametrize("family", RULES)
def test_a_family_of_inks_judges_every_pixel_that_it_would_judge_without_leaving_out_glass(family: str) -> None:
    rgb, rule = patches(seed=3), RULES[family]
    tables = density_tables(GLASS, least=0.01)
    ratio, depth, bits = rule.shades(*(tables[channel][rgb[..., channel]] for channel in range(3)))

    seen = looks(rule, rgb, GLASS)

    assert np.array_equal(seen.faint, bits > 0)
    for ours, whole in ((seen.ratio, ratio), (seen.depth, depth), (seen.bits, bits)):
        assert np.array_equal(ours, whole[bits > 0])


@pytest.mark.parametrize("seed", range(4))
def test_no_family_of_inks_with_sure_ink_on_the_slide_is_passed_over(seed: int) -> None:
    def has_seeds(rule: InkRule, rgb: Rgb) -> bool:
        return bool(_seeds(rule, looks(rule, rgb, GLASS)).any())

    rules = (*RULES.values(),)
    for share in (1.0, 0.2, 0.02):  # of the patches
        rgb = patches(seed)
        rgb[round(share * len(rgb)) :] = (231, 228, 236)
        for rule, may_be in zip(rules, promising(rules, rgb, GLASS), strict=True):
            assert may_be or not has_seeds(rule, rgb)
    assert all(has_seeds(rule, patches(seed)) for rule in rules)


@pytest.mark.parametrize("top", [STRIP_PX - 3, STRIP_PX - 2, STRIP_PX - 1, STRIP_PX, 2 * STRIP_PX - 2])
def test_ink_of_three_by_three_pixels_is_seen_across_strips(top: int) -> None:
    rgb = np.full((2 * STRIP_PX + 1, 40, 3), (231, 228, 236), np.uint8)
    rgb[top : top + 3, 10:13] = INKS["blue"]

    assert promising((COOL,), rgb, GLASS) == [True]


def test_a_slide_of_stain_alone_is_passed_over_by_all_families_of_inks() -> None:
    rgb = stained(Size(200, 200))

    assert promising((COOL, RED, BLACK), rgb, Glass((242.0, 242.0, 242.0), 0.5)) == [False, False, False]
