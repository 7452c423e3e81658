"""Packed masks: the same answers as masks of bytes, in an eighth of the memory, whatever asks for them."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as npst
from slideloom import Box, Level, Mask, PackedMask, QcResult, Size, SlideInfo, Tiles, masked_share, union_mask
from slideloom.base.packed_masks import count_true, rows_of
from slideloom.drawing.pictures import stretched
from slideloom.planning.burden import blur_burden
from slideloom.planning.mask_files import load_mask, npy_bytes, save_mask

MASKS = npst.arrays(np.bool_, st.tuples(st.integers(1, 40), st.integers(1, 40)))
SLIDE = Size(900, 700)


def random_mask(height: int, width: int, seed: int = 0) -> Mask:
    return np.random.default_rng(seed).random((height, width)) < 0.5


def tiles(side: int, columns: int, rows: int) -> Tiles:
    y, x = (place.ravel() for place in np.mgrid[0:rows, 0:columns])
    count = np.arange(x.size)
    return Tiles(count, x * side, y * side, count, count * 0, count * 0 - 1, footprint=Size(side, side))


@given(MASKS)
def test_a_packed_mask_gives_back_every_pixel_row_and_count(mask: Mask) -> None:
    packed = PackedMask.of(mask)

    assert packed.shape == mask.shape
    assert np.array_equal(packed.whole(), mask)
    assert np.array_equal(rows_of(packed, 0, 1), mask[:1])
    assert count_true(packed) == mask.sum()
    y, x = np.ix_(np.arange(mask.shape[0])[::-1], np.arange(mask.shape[1]))
    assert np.array_equal(packed.at(y, x), mask[::-1])


def test_parts_that_are_put_beside_each_other_are_the_mask() -> None:
    mask = random_mask(50, 45)
    packed = PackedMask.empty(50, 45)
    for top in (0, 30):
        for left in (0, 16):
            packed.put(top, mask[top : top + 30, left : left + 16 if left == 0 else None], left=left)

    assert np.array_equal(packed.whole(), mask)


@pytest.mark.parametrize(("left", "width"), [(4, 8), (0, 12)])
def test_a_part_that_ends_within_a_byte_is_refused(left: int, width: int) -> None:
    with pytest.raises(ValueError, match=f"columns {left} to {left + width} of 45 are not whole bytes"):
        PackedMask.empty(9, 45).put(0, np.ones((9, width), np.bool_), left=left)


def test_bits_of_another_width_are_refused() -> None:
    with pytest.raises(ValueError, match=r"bits of 20 columns must be \(h, 3\) uint8, not \(4, 2\) uint8"):
        PackedMask(20, np.zeros((4, 2), np.uint8))


def test_shares_unions_burden_and_pictures_are_those_of_the_mask() -> None:
    extent = Box(10, 20, 850.5, 640.25)
    blur = QcResult(random_mask(311, 402), "blur", extent)
    glass = QcResult(random_mask(97, 128, seed=1), "background")
    packed = [QcResult(PackedMask.of(one.mask), one.kind, one.extent) for one in (blur, glass)]
    places = tiles(61, 14, 11)

    for one, other in zip((blur, glass), packed, strict=True):
        assert np.array_equal(
            masked_share(other.stored, other.extent, places, SLIDE), masked_share(one.mask, one.extent, places, SLIDE)
        )
        found, expected = (
            stretched(mask, extent=one.extent or Box(0, 0, 900, 700), whole=SLIDE, size=Size(90, 71))
            for mask in (other.stored, one.mask)
        )
        assert np.array_equal(found, expected)
    assert np.array_equal(union_mask([blur, glass], SLIDE), union_mask(packed, SLIDE))
    burden = blur_burden([blur], [glass], places, SLIDE)
    assert burden == blur_burden(packed[:1], packed[1:], places, SLIDE)
    # Half of what the blur mask covers of the area of the tiles, 854 x 671.
    assert burden == pytest.approx(0.5 * (844 / 854) * (640 / 671), abs=0.01)


def test_a_saved_packed_mask_has_the_bytes_of_the_mask(tmp_path: Path) -> None:
    mask = random_mask(700, 333)
    slide = SlideInfo(tmp_path / "a.svs", "a", "none", (Level(SLIDE, 1.0, 1.0),), mpp=None)

    path, _ = save_mask(QcResult(PackedMask.of(mask), "blur"), tmp_path / "m.npy", slide=slide)

    assert path.read_bytes() == npy_bytes(mask)
    buffer = io.BytesIO()
    np.save(buffer, mask)
    assert path.read_bytes() == buffer.getvalue()
    assert np.array_equal(load_mask(path, slide=slide).mask, mask)


def test_shares_burden_and_files_of_a_large_packed_mask_take_less_than_the_mask_itself(tmp_path: Path) -> None:
    size = Size(40_000, 40_000)
    blur = QcResult(PackedMask.of(random_mask(4000, 4000)), "blur")
    glass = QcResult(PackedMask.of(random_mask(1000, 1000)), "background")
    slide = SlideInfo(tmp_path / "a.svs", "a", "none", (Level(size, 1.0, 1.0),), mpp=None)
    places = tiles(997, 40, 40)

    tracemalloc.start()
    masked_share(blur.stored, None, places, size)
    blur_burden([blur], [glass], places, size)
    union_mask([blur, glass], size)
    save_mask(blur, tmp_path / "m.npy", slide=slide)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 4000 * 4000 / 2
