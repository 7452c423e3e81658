"""Glass: its colour is measured on each slide, whatever the light; a slide full of tissue shows none."""

from __future__ import annotations

import numpy as np
import pytest
from slideloom import Rgb, Size
from slideloom_qc.glass import glass_of
from slideloom_testing import stained

# Bright, lilac, bluish, grey-green and dark: measured on slides of five labs.
COLOURS = [(243, 243, 243), (230, 224, 230), (246, 245, 253), (178, 180, 177), (129, 131, 127)]


def slide_on(colour: tuple[int, int, int], *, share: float = 0.5, seed: int = 0, strength: float = 1.0) -> Rgb:
    """Tissue of 242 at most, seen in the light of a glass of `colour`, beside that glass with noise."""
    size = Size(800, 600)
    light = np.array(colour) / 242
    rgb = np.random.default_rng(seed).normal(0, 1.0, (size.height, size.width, 3)) + colour
    first = round(size.width * share)
    rgb[:, first:] = stained(Size(size.width - first, size.height), seed=seed, strength=strength) * light
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_colour_of_the_glass_is_measured(colour: tuple[int, int, int], share: float) -> None:
    glass = glass_of(slide_on(colour, share=share))

    assert glass.colour == pytest.approx(colour, abs=1)
    assert glass.share == pytest.approx(share, abs=0.05)


def test_white_that_a_scanner_filled_in_is_not_the_glass_where_there_is_other() -> None:
    rgb = slide_on((178, 180, 177), share=0.5)
    rgb[:200] = 255

    assert glass_of(rgb).colour == pytest.approx((178, 180, 177), abs=1)


def test_white_is_the_glass_where_there_is_no_other() -> None:
    rgb = np.full((600, 800, 3), 255, np.uint8)
    rgb[100:500, 200:600] = stained(Size(400, 400), seed=1)

    assert glass_of(rgb).colour == pytest.approx((255, 255, 255), abs=1)


def test_a_shadow_is_not_the_glass() -> None:
    rgb = slide_on((243, 243, 243))
    rgb[300:, :400] = (rgb[300:, :400] * 0.93).astype(np.uint8)

    assert glass_of(rgb).colour == pytest.approx((243, 243, 243), abs=1)


def test_a_slide_full_of_tissue_shows_no_glass() -> None:
    glass = glass_of(stained(Size(700, 600), seed=3))

    assert not glass.is_seen
    assert len(set(glass.colour)) == 1


def test_the_glass_of_a_large_slide_is_that_of_a_small_one() -> None:
    small = slide_on((230, 224, 230))

    assert glass_of(np.tile(small, (4, 4, 1))).colour == pytest.approx(glass_of(small).colour, abs=0.5)
