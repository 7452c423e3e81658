"""Pen: each kind of slide on which ink and stain were mixed up, made up, at other scales and JPEG qualities."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import Mask, Rgb, Size
from slideloom_qc import Pen
from slideloom_testing import PixelsSlide, scene_of, smooth_noise

Density = NDArray[np.floating]

MPP = 8.0
SIZE = Size(700, 600)
SECTION = (slice(80, 520), slice(80, 620))
# Optical densities of red, green and blue: haematoxylin, eosin and diaminobenzidine (Ruifrok & Johnston 2001), and the
# bluer haematoxylin of many IHC slides.
HAEMATOXYLIN, EOSIN, DAB = np.array([(0.65, 0.70, 0.29), (0.07, 0.99, 0.11), (0.27, 0.57, 0.78)])
BLUE_HAEMATOXYLIN = np.array((0.78, 0.61, 0.34))
# Eosin and inks as measured on real slides: purplish black, red that is hardly more than eosin, and black.
PINK, PURPLE_BLACK, RED, BLACK = np.array([(0.11, 0.54, 0.35), (1.25, 1.8, 1.4), (0.15, 1.55, 1.1), (2.5, 2.7, 3.1)])
STORED = [(1.0, 100), (0.7, 60), (1.0, 75), (1.4, 60)]
at_any_scale = pytest.mark.parametrize(("scale", "quality"), STORED)


def speckled(*, grain_px: float, seed: int, least: float = 0.25) -> Density:
    """(height, width, 1) amounts from `least` to 1."""
    noise = smooth_noise(SIZE, grain_px=grain_px, seed=seed)
    return (least + (1 - least) / (1 + np.exp(-3 * (noise - 0.5))))[..., None]


def tissue(*stains: tuple[NDArray[np.floating], float]) -> Density:
    """(height, width, 3) density of a section on glass; each stain with its amount."""
    density = np.zeros((SIZE.height, SIZE.width, 3))
    for number, (stain, amount) in enumerate(stains):
        density += amount * speckled(grain_px=3 + 4 * number, seed=number) * stain
    section = np.zeros_like(density)
    section[SECTION] = density[SECTION]
    return section


H_AND_E = ((HAEMATOXYLIN, 0.5), (PINK, 1.0))


def found(
    density: Density, *, glass: tuple[int, int, int] = (243, 243, 243), scale: float = 1.0, quality: int = 100
) -> Mask:
    """The mask of `Pen`, enlarged to the slide, for a slide that was scaled and stored as JPEG."""
    rgb: Rgb = np.clip(
        np.array(glass) * np.exp(-density) + np.random.default_rng(9).normal(0, 1, density.shape), 0, 255
    ).astype(np.uint8)
    sized = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    stored = cv2.imencode(".jpg", np.ascontiguousarray(sized[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    read = np.ascontiguousarray(cv2.imdecode(stored, cv2.IMREAD_COLOR)[..., ::-1])
    mask = Pen().build().assess(PixelsSlide(read, mpp=MPP / scale), scene_of()).mask
    return cv2.resize(mask.astype(np.uint8), (SIZE.width, SIZE.height), interpolation=cv2.INTER_NEAREST) > 0


def drawn(*rings: tuple[int, int, int], width_px: int, blur_px: float = 1.0, dots: bool = False) -> Density:
    """(height, width, 1) amounts of ink, 0-1: rings by centre and radius, with a dot where the pen was set down."""
    amount = np.zeros((SIZE.height, SIZE.width), np.uint8)
    for x, y, radius in rings:
        cv2.circle(amount, (x, y), radius, 200 if dots else 255, width_px)
        if dots:
            cv2.circle(amount, (x, y - radius), width_px, 255, -1)
    return (cv2.GaussianBlur(amount.astype(np.float32) / 255, (0, 0), blur_px))[..., None]


def assert_ink(mask: Mask, amount: Density, *, recall: float = 0.95, precision: float = 0.9) -> None:
    assert mask[amount[..., 0] > 0.5].mean() > recall
    assert (amount[..., 0] > 0.05)[mask].mean() > precision


@pytest.mark.parametrize("glass", [(178, 180, 177), (129, 131, 127), (230, 224, 230)])
@at_any_scale
def test_grey_green_and_lilac_glass_is_not_ink(glass: tuple[int, int, int], scale: float, quality: int) -> None:
    assert not found(tissue(*H_AND_E), glass=glass, scale=scale, quality=quality).any()


@pytest.mark.parametrize("haematoxylin", [HAEMATOXYLIN, BLUE_HAEMATOXYLIN], ids=["violet", "blue"])
@pytest.mark.parametrize("counterstain", [0.3, 0.8])
@pytest.mark.parametrize("brown", [0.3, 1.2, 2.5])
@at_any_scale
def test_ihc_is_not_ink(
    haematoxylin: NDArray[np.floating], counterstain: float, brown: float, scale: float, quality: int
) -> None:
    assert not found(tissue((haematoxylin, counterstain), (DAB, brown)), scale=scale, quality=quality).any()


@at_any_scale
def test_a_fold_is_not_ink(scale: float, quality: int) -> None:
    density = tissue(*H_AND_E)
    density[280:310, 80:620] *= 3

    assert not found(density, scale=scale, quality=quality).any()


@at_any_scale
def test_blood_in_tissue_is_not_ink(scale: float, quality: int) -> None:
    density = tissue((HAEMATOXYLIN, 0.5), (PINK, 1.5))
    # Red cells lie in the vessels of the whole slide, and densely, but in patches, in a bleeding of 1.2 mm. The place
    # has densities of 0.3 to 0.4, 1.5 to 2 and 1.2 to 1.6, as measured.
    cells = np.clip(smooth_noise(SIZE, grain_px=4, seed=7), 0, 1.5)[..., None] * (0.2, 1.0, 0.9)
    cells *= 0.3
    cells[200:350, 250:400] *= 1 / 0.3
    density[SECTION] += cells[SECTION]

    assert not found(density, scale=scale, quality=quality).any()


@at_any_scale
def test_circles_of_dark_ink_on_tissue_are_found(scale: float, quality: int) -> None:
    amount = drawn((200, 200, 50), (400, 250, 60), (300, 420, 50), width_px=16, dots=True)
    density = tissue(*H_AND_E) + amount * PURPLE_BLACK
    density += 2 * np.clip(amount - 0.8, 0, 1) * 5 * PURPLE_BLACK  # dots are opaque

    assert_ink(found(density, scale=scale, quality=quality), amount, recall=0.9)


@at_any_scale
def test_a_thick_ring_of_red_ink_around_pink_tissue_is_found(scale: float, quality: int) -> None:
    amount = drawn((350, 300, 230), width_px=40)

    assert_ink(found(tissue(*H_AND_E) + amount * 1.5 * RED, scale=scale, quality=quality), amount)


@at_any_scale
def test_the_edges_of_a_black_stroke_without_tissue_are_found(scale: float, quality: int) -> None:
    amount = drawn((350, 300, 200), width_px=60, blur_px=6)

    mask = found(amount * BLACK, scale=scale, quality=quality)

    assert_ink(mask, amount, recall=0.99)
    assert mask[amount[..., 0] > 0.25].mean() > 0.98


def test_an_opaque_stroke_is_found_on_ihc_with_a_blue_counterstain() -> None:
    amount = drawn((350, 300, 200), width_px=40)

    mask = found(tissue((BLUE_HAEMATOXYLIN, 0.5), (DAB, 0.5)) + amount * (2.3, 1.45, 0.47))

    assert_ink(mask, amount)
