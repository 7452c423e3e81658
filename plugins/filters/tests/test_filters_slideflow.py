"""Filters that measure where Slideflow measures: which pixels, by which arithmetic, on which slides."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slideloom import Box, Level, Rgb, Size, SlideError, SlideInfo, levels_from_sizes, pipeline_from_table, run_pipeline
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.grid import tile_geometry
from slideloom_filters import Grayspace, Whitespace
from slideloom_filters.slideflow import Window, openslide_downsample, window_of
from slideloom_testing import AnalyticSlide, PixelsSlide, batch_of, scene_of, stained
from slideloom_testing.contracts import TileFilterContract


class TestGrayspaceOfALowLevel(TileFilterContract):
    settings = Grayspace(measured="slideflow")


class TestWhitespaceOfALowLevel(TileFilterContract):
    settings = Whitespace(measured="slideflow", fraction=0.5)


def info_of(width: int, height: int, *downsamples: int) -> SlideInfo:
    return _info([Size(width // by, height // by) for by in (1, *downsamples)])


def _info(sizes: list[Size]) -> SlideInfo:
    resolution = AnalyticSlide(sizes[0], mpp=0.499).info.mpp
    return SlideInfo(path=Path("a.svs"), name="a", reader="analytic", levels=levels_from_sizes(sizes), mpp=resolution)


DEEP = (2, 4, 8, 16, 32, 64, 128, 256)


@pytest.mark.parametrize(
    ("info", "tiling", "level", "side"),
    [
        # 605 level-0 pixels; 2.02 of them are one of the tile, so level 1 is read, 302 pixels wide; 302 // (256 // 2).
        (info_of(26640, 35604, *DEEP), Tiling(size_px=299, size_um=302), 8, 2),
        # 513 pixels; level 1 (exactly 2 is not below 2.004) would be 256 wide, which level 8 (256) is not below.
        (info_of(26640, 35604, *DEEP), Tiling(size_px=256, size_um=256), 7, 4),
        # 1026 pixels of 4.008, so level 1 is read, 256 wide; 256 // (32 // 4).
        (info_of(46000, 32914, 4, 16, 32), Tiling(size_px=256, size_um=512), 3, 32),
        # One level: the tile itself, as it is read and before it is resized.
        (info_of(2220, 2967), Tiling(size_px=299, size_um=302), 0, 605),
        # Tiles of a magnification are read as they are stored.
        (info_of(26640, 35604, 2, 4), Tiling(size_px=299, magnification="10x"), 2, 149),
    ],
    ids=["deep", "deep, 256", "few levels", "one level", "magnification"],
)
def test_the_last_level_with_more_than_a_pixel_per_tile_is_read(
    info: SlideInfo, tiling: Tiling, level: int, side: int
) -> None:
    window = window_of(info, tile_geometry(info, tiling))

    assert (window.level, window.side) == (level, side)


def test_a_downsample_is_the_mean_of_both_quotients_as_openslide_gives_it() -> None:
    info = _info([Size(46000, 32914), Size(11500, 8228)])

    assert info.levels[1] == Level(Size(11500, 8228), 4.0, 4.0)
    assert openslide_downsample(info, 1) == pytest.approx((4 + 32914 / 8228) / 2)


def shares(settings: Grayspace | Whitespace, rgb: Rgb, *, path: str = "a.svs") -> np.ndarray:
    """The score of each pixel (h, w) of an image, as a slide whose tiles are a pixel wide."""
    slide = PixelsSlide(rgb, path=Path(path))
    height, width = rgb.shape[:2]
    scene = scene_of(tile_px=1, footprint=Size(1, 1))
    y, x = np.mgrid[:height, :width].reshape(2, -1)
    batch = batch_of(np.zeros((width * height, 1, 1, 3), np.uint8))
    batch = type(batch)(
        batch.rgb, type(batch.tiles)(batch.tiles.index, x, y, x, y, x * 0 - 1, footprint=Size(1, 1)), "a", batch.labels
    )
    verdict = settings.build().for_slide(slide, scene).check(batch)
    assert np.array_equal(verdict.keep, verdict.score <= settings.fraction)
    return verdict.score.reshape(height, width)


def every_saturation() -> Rgb:
    highest, lowest = np.mgrid[:256, :256]
    lowest = np.minimum(highest, lowest)
    return np.stack([lowest, (highest + lowest) // 2, highest], axis=-1).astype(np.uint8)


def every_sum() -> Rgb:
    sums = np.arange(766)
    return np.stack([sums // 3, (sums + 1) // 3, (sums + 2) // 3], axis=-1).astype(np.uint8)[None]


@pytest.mark.parametrize("threshold", [0.05, 0.2])
def test_gray_pixels_are_those_of_libvips_for_every_pair_of_extremes(threshold: float) -> None:
    pyvips = pytest.importorskip("pyvips")
    rgb = every_saturation()
    saturation = pyvips.Image.new_from_array(rgb).copy(interpretation="srgb").sRGB2HSV()[1].numpy()

    found = shares(Grayspace(measured="slideflow", threshold=threshold), rgb)

    assert np.array_equal(found == 1, saturation < threshold * 255)


@pytest.mark.parametrize("path", ["a.svs", "a.PNG"])
@pytest.mark.parametrize("threshold", [230.0, 200.0])
def test_white_pixels_are_those_of_libvips_for_every_sum(path: str, threshold: float) -> None:
    pyvips = pytest.importorskip("pyvips")
    rgb = every_sum()
    opaque = np.full((*rgb.shape[:2], 1), 255, np.uint8)
    bands = rgb if path == "a.PNG" else np.concatenate([rgb, opaque], axis=-1)

    found = shares(Whitespace(measured="slideflow", threshold=threshold), rgb, path=path)

    assert np.array_equal(found == 1, pyvips.Image.new_from_array(bands).bandmean().numpy() > threshold)


@pytest.mark.parametrize(("path", "least"), [("a.svs", 223), ("a.jpg", 231)])
def test_opacity_counts_as_brightness_where_an_image_has_an_alpha_channel(path: str, least: int) -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=-1)

    assert np.flatnonzero(shares(Whitespace(measured="slideflow"), greys, path=path)[0])[0] == least


def test_what_is_judged_are_the_pixels_of_the_low_level() -> None:
    rgb = stained(Size(512, 512), seed=4)
    rgb[:, 300:] = 240
    slide = PixelsSlide(rgb, downsamples=(1, 4, 16))
    scene = scene_of(tile_px=64, footprint=Size(64, 64))
    where = np.arange(8) * 64
    tiles = batch_of(np.zeros((8, 64, 64, 3), np.uint8))
    batch = type(tiles)(
        tiles.rgb,
        type(tiles.tiles)(tiles.tiles.index, where, where, where, where, where * 0 - 1, footprint=Size(64, 64)),
        "a",
        tiles.labels,
    )

    step = Grayspace(measured="slideflow", threshold=0.2).build().for_slide(slide, scene)
    found = step.check(batch).score

    assert window_of(slide.info, scene.geometry) == Window(2, 16.0, 4)
    low = np.array([slide.read_at(Box(x, x, 64, 64), Size(4, 4), level=2) for x in where.tolist()]).astype(float)
    saturation = (low.max(axis=-1) - low.min(axis=-1)) / low.max(axis=-1)
    assert found.tolist() == (np.floor(255 * saturation) < 51).mean(axis=(1, 2)).tolist()
    assert 0 < found.sum() < 8


def test_a_low_level_that_cannot_be_read_is_an_error_with_the_remedy() -> None:
    slide = AnalyticSlide(Size(900, 600), downsamples=(1, 4), damaged=[Box(310, 10, 1, 1)])
    step = Whitespace(measured="slideflow").build()
    batch = batch_of(np.zeros((8, 60, 60, 3), np.uint8))

    with pytest.raises(SlideError, match=r"cannot read.*; measured='tile' needs only the pixels of the tiles"):
        step.for_slide(slide, scene_of(tile_px=60, footprint=Size(150, 150))).check(batch)
    with pytest.raises(TypeError, match="call for_slide first"):
        step.check(batch)


def test_real_slides_are_judged_alike_by_any_number_of_threads(real_data: Path, tmp_path: Path) -> None:
    table = {
        "slideloom": 1,
        "tiles": {"size_px": 128, "size_um": 128},
        "slides": {"mpp": 0.5},
        "filter": [
            {"use": "grayspace", "measured": "slideflow"},
            {"use": "whitespace", "measured": "slideflow", "fraction": 0.5},
        ],
    }
    slides = sorted(real_data.glob("*.svs"))
    one, more = (
        run_pipeline(
            pipeline_from_table({**table, "run": {"jobs": 1, "threads": threads}}, where="test"),
            slides, tmp_path, dry_run=True,
        )
        for threads in (1, 4)
    )  # fmt: skip

    for slide, other in zip(one.slides, more.slides, strict=True):
        assert slide.statuses.unpacked() == other.statuses.unpacked()
        assert {"filter:grayspace", "filter:whitespace", "written"} <= set(slide.statuses.words)
