"""The step passes its contract, and masks what it should."""

from __future__ import annotations

import numpy as np
from slideloom_deepfocus.testing import StridedModelContract
from slideloom_green_pen import GreenPen, PenColours
from slideloom_testing import PixelsSlide, scene_of


class TestGreenPen(StridedModelContract):
    settings = GreenPen(tile_px=50, tile_um=50.0)


class TestPenColours(StridedModelContract):
    settings = PenColours(tile_px=50, tile_um=50.0)


def test_a_green_stroke_is_masked() -> None:
    pixels = np.full((400, 600, 3), (190, 90, 150), np.uint8)
    pixels[100:200, 300:500] = (40, 160, 60)

    result = GreenPen(tile_px=50, tile_um=50.0).build().assess(PixelsSlide(pixels, mpp=1.0), scene_of(mpp=1.0))

    assert result.mask.sum() == 2 * 4
    assert result.mask[2:4, 6:10].all()


def test_strokes_of_two_colours_are_two_classes_with_their_own_edges() -> None:
    pixels = np.full((400, 600, 3), (190, 90, 150), np.uint8)
    pixels[100:200, 300:500] = (40, 160, 60)
    pixels[300:320, 300:500] = (40, 60, 160)

    result = PenColours(tile_px=50, tile_um=50.0).build().assess(PixelsSlide(pixels, mpp=1.0), scene_of(mpp=1.0))

    shares = {one.name: result.mask_of(one).mean() for one in result.classes}
    assert shares["green-pen"] == 100 * 200 / (400 * 600)
    assert shares["blue-pen"] == 20 * 200 / (400 * 600)
    assert [one.threshold for one in result.classes if one.kind == "artifact"] == [0.1, 0.1]
