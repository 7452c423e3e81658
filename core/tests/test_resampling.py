"""Reading at any box and size against the closed form of the pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from slideloom.base.geometry import Box, Size
from slideloom.pixels.resampling import resample
from slideloom.slides.info import levels_from_sizes
from slideloom_testing import AnalyticSlide


@settings(max_examples=40, deadline=None)
@given(
    x=st.floats(0, 900),
    y=st.floats(0, 700),
    width=st.floats(100, 900),
    ratio=st.floats(1.0, 5.0),
    level=st.integers(0, 2),
)
def test_a_read_is_the_area_average_of_level_0_from_every_level(
    x: float, y: float, width: float, ratio: float, level: int
) -> None:
    slide = AnalyticSlide(Size(2000, 1800), downsamples=(1, 2, 4), mpp=0.5)
    box = Box(x, y, width, width)
    side = max(1, int(width / slide.info.levels[level].downsample / ratio))
    size = Size(side, side)

    read = slide.read_at(box, size, level=level)

    error = np.abs(read - slide.expected(box, size))
    assert error.mean() < 1.0
    # Half a level of rounding in the stored pixels and half in the result; and a pixel of a lower level that a box cuts
    # counts with its mean, which is off by up to an eighth of the slope times its width.
    assert error.max() <= (1.5, 2.0, 3.0)[level]


def test_a_shrunk_pixel_is_the_mean_of_what_it_covers() -> None:
    rgb = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)

    halved = resample(rgb, box=Box(0, 0, 6, 4), size=Size(3, 2))

    blocks = rgb.reshape(2, 2, 3, 2, 3).astype(float).mean(axis=(1, 3))
    assert np.array_equal(halved, np.floor(blocks + 0.5).astype(np.uint8))


def test_a_box_of_whole_pixels_at_its_own_size_is_a_copy() -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (20, 30, 3)).astype(np.uint8)

    assert np.array_equal(resample(rgb, box=Box(5, 3, 11, 9), size=Size(11, 9)), rgb[3:12, 5:16])


def test_reading_in_parts_gives_what_reading_at_once_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    slide = AnalyticSlide(Size(1500, 1100), mpp=0.5)
    whole = slide.read_at(slide.info.box, Size(300, 220))

    monkeypatch.setattr("slideloom.slides.slide.MAX_READ_PX", 10_000)
    parts = slide.read_at(slide.info.box, Size(300, 220))

    assert np.array_equal(whole, parts)


@pytest.mark.parametrize(
    ("full", "small", "downsample"), [(4035, 1009, 4.0), (4035, 1008, 4.0), (1000, 334, 3.0), (1000, 900, 1000 / 900)]
)
def test_a_level_is_downsampled_by_the_whole_number_that_rounding_hides(
    full: int, small: int, downsample: float
) -> None:
    levels = levels_from_sizes([Size(full, full), Size(small, small)])

    assert levels[1].downsample_x == downsample
