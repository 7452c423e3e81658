"""Filters of gray and white tiles."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from slideloom import Rgb
from slideloom_filters import Grayspace, Whitespace
from slideloom_testing import batch_of
from slideloom_testing.contracts import TileFilterContract

THRESHOLDS = [0.0, 0.04, 0.05, 0.1, 0.2, 1 / 3, 0.5, 0.75, 0.9, 1.0]


class TestGrayspace(TileFilterContract):
    settings = Grayspace()


class TestWhitespace(TileFilterContract):
    settings = Whitespace(fraction=0.5)


def gray_share(rgb: Rgb, threshold: float) -> float:
    """By the definition, in 64-bit floating point."""
    values = rgb.astype(np.float64)
    highest, lowest = values.max(axis=-1), values.min(axis=-1)
    saturation = np.divide(highest - lowest, highest, out=np.zeros_like(highest), where=highest > 0)
    return float((saturation < threshold).mean())


def white_share(rgb: Rgb, threshold: float) -> float:
    """By the definition, in 64-bit floating point."""
    return float((rgb.astype(np.float64).sum(axis=-1) / 3 > threshold).mean())


def every_saturation() -> Rgb:
    """Each pair of highest and lowest channel value, 256 x 256."""
    highest, lowest = np.mgrid[:256, :256]
    lowest = np.minimum(highest, lowest)
    return np.stack([lowest, (highest + lowest) // 2, highest], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("threshold", THRESHOLDS)
def test_gray_pixels_are_those_of_the_definition_for_every_pair_of_extremes(threshold: float) -> None:
    for pixels in every_saturation():
        for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
            tile = pixels[None][..., order]
            score = Grayspace(threshold=threshold).build().check(batch_of([tile])).score[0]
            assert score == gray_share(tile, threshold)


@pytest.mark.parametrize("threshold", [0.0, 100.5, 223, 229.9, 230, 230 + 1 / 3, 254.9, 255])
def test_white_pixels_are_those_of_the_definition_for_every_sum(threshold: float) -> None:
    sums = np.arange(766)
    tile = np.stack([sums // 3, (sums + 1) // 3, (sums + 2) // 3], axis=-1).astype(np.uint8)[None]

    score = Whitespace(threshold=threshold).build().check(batch_of([tile])).score[0]

    assert score == white_share(tile, threshold)


def test_scores_are_those_of_the_definition_on_noise() -> None:
    noise = np.random.default_rng(7).integers(0, 256, (6, 40, 40, 3))
    tiles = np.concatenate([noise, 255 - noise // 16, noise // 64]).astype(np.uint8)

    gray = Grayspace(threshold=0.05).build().check(batch_of(tiles)).score
    white = Whitespace(threshold=230).build().check(batch_of(tiles)).score

    assert gray.tolist() == [gray_share(tile, 0.05) for tile in tiles]
    assert white.tolist() == [white_share(tile, 230) for tile in tiles]
    assert gray.dtype == white.dtype == np.float64  # a rounded one could decide otherwise at another threshold


def tile_with(value: tuple[int, int, int], *, share: float) -> Rgb:
    """100 x 100 pixels of pink, of which this share has the given colour."""
    tile = np.full((100, 100, 3), (230, 120, 180), np.uint8)
    tile.reshape(-1, 3)[: round(share * 10000)] = value
    return tile


@pytest.mark.parametrize(
    ("filter_of", "colour"),
    [
        (lambda fraction: Grayspace(fraction=fraction), (128, 128, 128)),
        (lambda fraction: Grayspace(fraction=fraction), (0, 0, 0)),
        (lambda fraction: Whitespace(fraction=fraction), (240, 235, 230)),
    ],
    ids=["gray", "black", "white"],
)
def test_a_tile_is_rejected_above_the_fraction_and_kept_at_it(
    filter_of: Callable[[float], Grayspace | Whitespace], colour: tuple[int, int, int]
) -> None:
    batch = batch_of([tile_with(colour, share=share) for share in (0.5999, 0.6, 0.6001)])

    verdict = filter_of(0.6).build().check(batch)

    assert verdict.keep.tolist() == [True, True, False]
    assert verdict.score == pytest.approx([0.5999, 0.6, 0.6001])


def test_whitespace_is_off_by_default() -> None:
    white = batch_of(np.full((1, 8, 8, 3), 255))

    assert Whitespace().build().check(white).keep.all()
    assert not Grayspace().build().check(white).keep.any()


@pytest.mark.parametrize("wrong", [{"threshold": -0.1}, {"threshold": 1.5}, {"fraction": 60}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be from 0 to"):
        Grayspace(**wrong)
