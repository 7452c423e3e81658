"""Tissue: pale and oddly stained tissue is kept on any glass, and what is on the glass is not."""

from __future__ import annotations

import tracemalloc

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import Mask, QcResult, Rgb, Size
from slideloom_qc import Pen, Tissue
from slideloom_qc.glass import glass_of
from slideloom_qc.tissue import stain_of
from slideloom_testing import PixelsSlide, scene_of, smooth_noise, stained

MPP = 8.0
SLIDE, SECTION = Size(900, 700), (slice(100, 600), slice(150, 700))
INSIDE = slice(115, 585), slice(165, 685)  # less 15 pixels of 8 um
# Optical densities of red, green and blue: haematoxylin, eosin and diaminobenzidine (Ruifrok & Johnston 2001).
HAEMATOXYLIN, EOSIN, DAB = np.array([(0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)])
GLASSES = [(243, 243, 243), (255, 255, 255), (230, 224, 230), (178, 180, 177), (129, 131, 127)]


def on_glass(density: NDArray[np.floating], glass: tuple[int, int, int] = (243, 243, 243), *, seed: int = 0) -> Rgb:
    """A slide whose section has a density (500, 550, 3); glass and section have noise as of a camera."""
    rgb = np.broadcast_to(np.array(glass, float), (SLIDE.height, SLIDE.width, 3)).copy()
    rgb[SECTION] *= np.exp(-density)
    return np.clip(rgb + np.random.default_rng(seed).normal(0, 1, rgb.shape), 0, 255).astype(np.uint8)


def nuclei(amount: float, *, grain_px: float = 3, seed: int = 0) -> NDArray[np.floating]:
    """(500, 550, 1) amounts of a stain, a quarter of it everywhere and the rest in spots."""
    noise = smooth_noise(Size(550, 500), grain_px=grain_px, seed=seed)
    return (amount * (0.25 + 0.75 / (1 + np.exp(-3 * (noise - 0.8)))))[..., None]


def assessed(rgb: Rgb, mpp: float = MPP) -> QcResult:
    return Tissue().build().assess(PixelsSlide(rgb, mpp=mpp), scene_of())


def outside(mask: Mask, margin: int = 5) -> NDArray[np.bool_]:
    far = np.ones(mask.shape, np.bool_)
    far[SECTION[0].start - margin : SECTION[0].stop + margin, SECTION[1].start - margin : SECTION[1].stop + margin] = 0
    return mask[far]


@pytest.mark.parametrize("glass", GLASSES)
@pytest.mark.parametrize("amount", [0.3, 0.6, 1.5])
def test_pale_and_dark_h_and_e_is_kept_on_the_glass_of_any_lab(glass: tuple[int, int, int], amount: float) -> None:
    density = nuclei(amount) * HAEMATOXYLIN + nuclei(amount / 3, grain_px=12, seed=1) * EOSIN

    result = assessed(on_glass(density, glass))

    assert result.mask[INSIDE].mean() < 0.01
    assert outside(result.mask).all()
    assert result.notes == ()


@pytest.mark.parametrize("glass", [(243, 243, 243), (178, 180, 177)])
def test_a_section_with_the_density_of_a_very_pale_one_is_kept(glass: tuple[int, int, int]) -> None:
    density = nuclei(0.15) * HAEMATOXYLIN + nuclei(0.05, grain_px=12, seed=1) * EOSIN

    assert 0.03 < density.mean() < 0.05  # 0.08 on a real one
    assert assessed(on_glass(density, glass)).mask[INSIDE].mean() < 0.01


@pytest.mark.parametrize("brown", [0.0, 0.4, 1.2, 2.5])
def test_pale_cortex_is_kept_beside_brown_medulla(brown: float) -> None:
    density = nuclei(0.3) * HAEMATOXYLIN
    density[150:350, 150:400] += brown * DAB

    result = assessed(on_glass(density))

    # Up to 32 um from brown, a pale rim cannot be told from its blurred edge.
    assert result.mask[INSIDE].mean() < 0.02
    assert outside(result.mask).all()


def test_a_network_of_fat_cells_is_tissue() -> None:
    rows, columns = np.mgrid[:500, :550]
    membranes = ((rows % 11 == 0) | (columns % 11 == 0)).astype(float)  # cells of 88 um

    result = assessed(on_glass(0.3 * membranes[..., None] * (HAEMATOXYLIN + EOSIN)))

    assert not result.mask[INSIDE].any()
    assert outside(result.mask).all()


def test_the_edge_of_a_coverslip_its_shadow_and_dust_are_not_tissue() -> None:
    rgb = on_glass(nuclei(0.5) * HAEMATOXYLIN).astype(float)
    rgb[:, 750:] *= 0.94  # beyond the coverslip
    rgb[:, 746:754] *= 0.3
    shadow = np.linspace(1, 0.7, 60)[:, None, None]
    rgb[640:] *= shadow
    rgb[20:40, 20:60] *= 0.5

    result = assessed(np.clip(rgb, 0, 255).astype(np.uint8))

    assert outside(result.mask).all()
    assert not result.mask[INSIDE].any()


def test_a_tint_of_the_mounting_medium_is_not_tissue() -> None:
    rgb = on_glass(nuclei(0.5) * HAEMATOXYLIN).astype(float)
    rgb[:80] *= (0.95, 0.96, 0.985)  # bluish, as measured on a slide

    assert outside(assessed(rgb.astype(np.uint8)).mask).all()


@pytest.mark.parametrize("scale", [0.7, 1.0, 1.4])
@pytest.mark.parametrize("quality", [60, 75, 95])
def test_another_scale_or_jpeg_quality_changes_little(scale: float, quality: int) -> None:
    rgb = on_glass(nuclei(0.3, grain_px=6) * HAEMATOXYLIN + nuclei(0.1, grain_px=12, seed=1) * EOSIN)
    sharp = assessed(rgb).mask
    other = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    jpeg = cv2.imencode(".jpg", other[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]

    found = assessed(cv2.imdecode(jpeg, cv2.IMREAD_COLOR)[..., ::-1].copy(), MPP / scale).mask

    enlarged = cv2.resize(found.astype(np.uint8), SLIDE_PX, interpolation=cv2.INTER_NEAREST) > 0
    assert (enlarged != sharp).mean() < 0.02


SLIDE_PX = (SLIDE.width, SLIDE.height)


def test_the_report_says_that_the_mask_relies_on_the_pen_step() -> None:
    rgb = on_glass(nuclei(0.8) * HAEMATOXYLIN)
    marked = rgb.copy()
    marked[200:500, 740:780] = (20, 130, 90)

    assert assessed(rgb).notes == ()
    # 300 x 40 pixels and 1 pixel around them, of 900 x 700
    assert assessed(marked).notes == (
        "tissue: relied on `pen`, which takes 2.0% of the slide for ink; it is not counted as tissue",
    )


def test_the_report_says_that_a_slide_shows_no_glass() -> None:
    result = assessed(stained(Size(700, 600), seed=3))

    assert result.mask.mean() < 0.01
    assert "no clear glass to compare with" in result.notes[0]
    assert result.metrics["glass"] == 0.0


@pytest.mark.parametrize("band_px", [1, 37, 256])
def test_bands_do_not_change_the_stain(band_px: int) -> None:
    rgb = on_glass(nuclei(0.5) * HAEMATOXYLIN)
    glass = glass_of(rgb)

    whole, banded = (stain_of(rgb, glass, pixel_um=MPP, band_px=rows) for rows in (10_000, band_px))

    assert np.array_equal(whole.amount, banded.amount)
    assert banded.noise == pytest.approx(whole.noise, rel=1e-6)


def test_tissue_is_found_in_the_memory_of_a_few_pictures() -> None:
    slide = PixelsSlide(np.tile(on_glass(nuclei(0.5) * HAEMATOXYLIN), (2, 2, 1)), mpp=MPP)
    step = Tissue().build()
    step.assess(slide, scene_of())  # what is imported and made once

    tracemalloc.start()
    mask = step.assess(slide, scene_of()).mask
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    # Bytes for each pixel: the picture, smoothed, and the maps of one family of inks; as floats all maps would be 60.
    assert peak / mask.size < 24


def test_masks_of_the_first_version_have_another_identity() -> None:
    assert (Tissue.revision, Pen.revision) == (2, 2)


def test_a_picture_without_tissue_that_is_smaller_than_a_hole_is_not_filled() -> None:
    # 20 x 20 pixels of 8 um are 25,600 um2: less than the largest hole, and than the smallest piece.
    glass = np.full((20, 20, 3), 240, np.uint8)
    settings = Tissue(min_tissue_um2=30_000, max_hole_um2=30_000)

    assert settings.build().assess(PixelsSlide(glass, mpp=8.0), scene_of()).mask.all()
