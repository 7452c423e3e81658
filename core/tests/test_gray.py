"""Counting of pixels without colour."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from slideloom.pixels.gray import gray_counter

HIGHEST = np.arange(256)


def least_of(threshold: float) -> np.ndarray:
    """For every highest value the least lowest one of HSV saturation (highest - lowest) / highest < threshold."""
    table = [next(low for low in range(high + 1) if (high - low) / max(high, 1) < threshold) for high in range(256)]
    return np.array(table, np.uint8)


@pytest.fixture(scope="module")
def every_pair() -> np.ndarray:
    """(1, 256, 768, 3) uint8: every pair of a highest and a lowest value in each of three orders of channels."""
    high, low = np.meshgrid(HIGHEST, HIGHEST)
    middle = (high + low) // 2
    orders = [np.stack([high, low, middle], -1), np.stack([low, middle, high], -1), np.stack([middle, high, low], -1)]
    return np.concatenate(orders, axis=1).astype(np.uint8)[None]


@settings(max_examples=60, deadline=None)
@given(threshold=st.one_of(st.sampled_from([0.05, 0.01, 0.1, 0.5, 1.0]), st.floats(0.002, 1.0)))
def test_every_pair_of_channel_values_is_counted_as_the_table_says(threshold: float, every_pair: np.ndarray) -> None:
    least = least_of(threshold)
    count = gray_counter(least)
    if count is None:
        pytest.skip("not compiled here")

    high, low = every_pair.max(axis=-1), every_pair.min(axis=-1)
    assert count(every_pair).tolist() == [int((low >= least[high]).sum())]


def test_each_image_of_a_batch_has_its_own_count() -> None:
    count = gray_counter(least_of(0.05))
    if count is None:
        pytest.skip("not compiled here")
    batch = np.random.default_rng(0).integers(0, 256, (5, 17, 31, 3), dtype=np.uint8)
    batch[1] = 200
    batch[3, :10] = 0

    counts = count(batch[:, :, ::-1])

    high = batch.max(axis=-1)
    assert counts.tolist() == (batch.min(axis=-1) >= least_of(0.05)[high]).sum(axis=(1, 2)).tolist()
    assert counts[1] == 17 * 31
    assert count(batch[:0]).tolist() == []


@pytest.mark.parametrize("pixels", [1, 31, 32, 33, 64, 65, 255, 256, 257, 288, 289, 1100])
def test_every_pixel_counts_once_wherever_it_lies_in_a_row_of_any_length(pixels: int) -> None:
    count = gray_counter(least_of(0.05))
    if count is None:
        pytest.skip("not compiled here")
    row = np.full((pixels, 1, pixels, 3), (200, 100, 30), np.uint8)
    row[range(pixels), 0, range(pixels)] = 140

    assert count(row).tolist() == [1] * pixels


def test_a_table_far_from_a_line_is_not_followed() -> None:
    bent = np.minimum(HIGHEST, 60).astype(np.uint8)
    above = np.full(256, 255, np.uint8)

    assert gray_counter(bent) is None
    assert gray_counter(above) is None
