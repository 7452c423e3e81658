"""Tiles at the right and lower side of a slide, and slides of which a part is not judged."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Rgb
from slideloom_deepfocus import StridedModelQC, StridedModelSettings
from slideloom_testing import PixelsSlide

GLASS, TISSUE = (244, 244, 244), (190, 90, 150)


@frozen
class Darkest(StridedModelSettings):
    """How dark and how bright tiles are."""

    name: ClassVar[str] = "darkest"


class Inside(StridedModelQC):
    """A step whose tiles stay on the slide."""

    keeps_inside = True


def scores(rgb: Rgb, model: Any, *, cls: type[StridedModelQC] = Inside, **options: Any) -> NDArray[np.float32]:
    given = {"tile_px": 50, "tile_um": 50.0, "preprocess": "uint8", **options}
    return cls(model, Darkest(**given))(PixelsSlide(rgb, mpp=0.5), threshold=False).values


def ramp(width: int, height: int) -> Rgb:
    """Tissue whose red grows by 1 every 5 pixels to the right, and whose green grows downwards."""
    y, x = np.mgrid[:height, :width]
    return np.stack([100 + x // 5, 20 + y // 5, np.full_like(x, 90)], axis=-1).astype(np.uint8)


def test_a_tile_that_would_reach_past_the_slide_ends_with_it() -> None:
    # Tiles are 100 slide pixels wide; the slide is 460 x 230. The last column is read from 360 to 460, not from 400.
    def corner(tiles: NDArray[Any]) -> NDArray[np.float64]:
        return tiles[:, 0, 0, 0].astype(float)

    found = scores(ramp(460, 230), corner)

    assert found.tolist() == [[100, 120, 140, 160, 172]] * 3
    assert scores(ramp(460, 230), lambda tiles: tiles[:, 0, 0, 1].astype(float))[:, 0].tolist() == [20, 40, 46]


@pytest.mark.parametrize("stride_div", [1, 2, 5])
def test_no_pixel_from_beyond_the_slide_reaches_a_model_that_keeps_inside(stride_div: int) -> None:
    # The slide is nowhere brighter than 199, the padding is white.
    found = scores(ramp(470, 330), lambda tiles: tiles.max((1, 2, 3)).astype(float), stride_div=stride_div)

    assert not np.isnan(found).any()
    assert found.max() < 200


def test_a_slide_smaller_than_a_tile_is_mirrored() -> None:
    found = scores(ramp(60, 70), lambda tiles: tiles.max((1, 2, 3)).astype(float))

    assert found.tolist() == [[111]]  # the brightest pixel of the slide: 100 + 59 // 5


def test_the_padding_counts_as_little_tissue_only_for_models_that_see_it() -> None:
    # 420 px are 4.2 tiles: the last has tissue on the fifth of it that lies on the slide.
    rgb = np.full((100, 420, 3), TISSUE, np.uint8)

    def one(tiles: NDArray[Any]) -> NDArray[np.float64]:
        return np.ones(len(tiles))

    assert np.isnan(scores(rgb, one, cls=StridedModelQC, min_tissue=0.5)).tolist() == [[False] * 4 + [True]]
    assert not np.isnan(scores(rgb, one, min_tissue=0.5)).any()


def test_tiles_with_too_little_tissue_are_told_where_they_are_many() -> None:
    fat = np.full((400, 400, 3), GLASS, np.uint8)
    fat[:, np.arange(400) % 100 < 20] = TISSUE  # one of the four pixels by which tissue is looked for
    fat[:100, :100] = TISSUE
    options = Darkest(tile_px=50, tile_um=50.0, min_tissue=0.3)

    told = Inside(lambda tiles: np.ones(len(tiles)), options)(PixelsSlide(fat, mpp=0.5)).notes
    all_judged = Inside(lambda tiles: np.ones(len(tiles)), Darkest(tile_px=50, tile_um=50.0, min_tissue=0.2))

    words = "15 tiles have some tissue, but on less than 30% of them, and were not judged (1 were); a lower min_tissue"
    assert told == (f"{words} judges them, too",)
    assert all_judged(PixelsSlide(fat, mpp=0.5)).notes == ()
