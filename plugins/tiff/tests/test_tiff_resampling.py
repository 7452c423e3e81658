"""The core's native resampler with the OpenCV that the reader hands in."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from slideloom import Box, NativeResampler, Rgb, Size, resample

_native = NativeResampler(cv2)  # one for all tests: what it keeps in memory must not show


def picture(height: int, width: int) -> Rgb:
    """Waves of at least 20 pixels, on which linear interpolation errs by less than half a grey level."""
    y, x = np.mgrid[:height, :width]
    waves = [128 + 60 * np.sin(x / 9 + k) + 50 * np.cos(y / (8 + k)) for k in range(3)]
    return np.stack(waves, axis=-1).astype(np.uint8)


@settings(max_examples=300, deadline=None)
@given(
    x=st.sampled_from([0.0, 0.5, 0.25, 0.7, 0.123]),
    y=st.sampled_from([0.0, 0.5, 0.75, 0.9]),
    ratio_x=st.floats(1.0, 1.03),
    ratio_y=st.floats(1.0, 1.03),
    side=st.integers(20, 150),
)
def test_boxes_between_pixels_agree_with_the_reference_within_a_grey_level(
    x: float, y: float, ratio_x: float, ratio_y: float, side: int
) -> None:
    box = Box(x, y, side * ratio_x, side * ratio_y)
    rgb = picture(int(np.ceil(box.bottom)), int(np.ceil(box.right)))

    gap = np.abs(
        _native(rgb, box=box, size=Size(side, side)).astype(int) - resample(rgb, box=box, size=Size(side, side))
    )

    assert gap.max() <= 2  # one of rounding in each, and the picture's own half
    assert gap.mean() < 0.6


@pytest.mark.parametrize("ratio", [1.04, 1.1, 1.25, 1.3, 1.5, 1.9, 2.2, 3.5, 4.4, 7.5])
@pytest.mark.parametrize("start", [0.3, 0.77])
def test_at_a_ratio_that_is_no_near_multiple_every_pixel_is_the_exact_mean(ratio: float, start: float) -> None:
    side = 40
    rgb = np.random.default_rng(4).choice(np.array([0, 255], np.uint8), (310, 310, 3))  # edges at every pixel
    box = Box(start, start / 2, side * ratio, side * ratio)

    found = _native(rgb, box=box, size=Size(side, side))

    def matrix(first: float) -> np.ndarray:
        """(side, 310) float64: the share of each source pixel in each output pixel."""
        low = first + np.arange(side)[:, None] * ratio
        covered = np.minimum(low + ratio, np.arange(310) + 1) - np.maximum(low, np.arange(310))
        return np.maximum(covered, 0) / ratio

    exact = np.einsum("yh,hwc,xw->yxc", matrix(box.y), rgb.astype(float), matrix(box.x), optimize=True)
    assert np.abs(found - exact).max() <= 0.5 + 1e-4  # rounding to 8 bits, and float32


@pytest.mark.parametrize("ratio", [1.0, 1.0117, 1.1, 1.5, 2.0, 2.023, 4.0])
def test_a_result_does_not_depend_on_what_was_resampled_before(ratio: float) -> None:
    side = 64
    rgb = picture(300, 300)
    box = Box(0.5, 0.25, side * ratio, side * ratio)
    fresh = NativeResampler(cv2)(rgb, box=box, size=Size(side, side))

    for other in (Box(0.5, 0.5, 201, 201), Box(0.25, 0.5, 70, 71)):
        _native(255 - rgb, box=other, size=Size(side, side))

    assert np.array_equal(_native(rgb, box=box, size=Size(side, side)), fresh)


@pytest.mark.parametrize("start", [0.0, 0.5])
@pytest.mark.parametrize("ratio", [1.0, 1.0117, 1.5, 2.023])
def test_a_tile_of_a_batch_gets_what_a_tile_of_its_own_gets(start: float, ratio: float) -> None:
    rgb = picture(200, 200)
    box = Box(start, start, 64 * ratio, 64 * ratio)
    batch = np.zeros((3, 64, 64, 3), np.uint8)

    _native.into(rgb, box=box, out=batch[1])

    assert np.array_equal(batch[1], _native(rgb, box=box, size=Size(64, 64)))
    assert not batch[0].any()
    assert not batch[2].any()


@pytest.mark.parametrize("side", [129, 130, 193, 259])
def test_a_shrink_by_little_more_than_a_whole_number_is_the_average(side: int) -> None:
    rgb = picture(side, side)
    box = Box(0, 0, side, side)

    gap = np.abs(_native(rgb, box=box, size=Size(64, 64)).astype(int) - resample(rgb, box=box, size=Size(64, 64)))

    assert gap.max() <= 2
    assert gap.mean() < 0.4


@settings(max_examples=150, deadline=None)
@given(
    x=st.sampled_from([0.0, 0.5, 0.25, 0.7, 0.123]),
    y=st.sampled_from([0.0, 0.5, 0.75, 0.9]),
    ratio=st.sampled_from([1.0, 302.5 / 299, 1.1, 1.137, 1.25, 1.5, 2.0, 2.023, 3.3]),
    side=st.integers(20, 120),
)
def test_what_is_not_compiled_gives_the_same_bytes(x: float, y: float, ratio: float, side: int) -> None:
    box = Box(x, y, side * ratio, side * ratio)
    rgb = np.random.default_rng(side).integers(
        0, 256, (int(np.ceil(box.bottom)), int(np.ceil(box.right)), 3), dtype=np.uint8
    )
    compiled = _native(rgb, box=box, size=Size(side, side))

    with pytest.MonkeyPatch.context() as without:
        without.setattr("slideloom.pixels.resampling.COMPILED", False)
        without.setattr("slideloom.pixels.linear.COMPILED", False)
        without.setattr("slideloom.pixels.area.COMPILED", False)
        assert np.array_equal(_native(rgb, box=box, size=Size(side, side)), compiled)
