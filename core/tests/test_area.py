"""The mean over footprints: the compiled loop, its equal in numpy, and the textbook."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from slideloom.base.geometry import Rgb, Size
from slideloom.pixels.area import Footprints, area, area_in_numpy, footprints
from slideloom.pixels.linear import COMPILED
from slideloom.pixels.mosaic import Mosaic

needs_compiled = pytest.mark.skipif(not COMPILED, reason="the core was installed without a compiler")

sides = st.integers(1, 60)
starts = st.one_of(st.sampled_from([0.0, 0.5, 3.0]), st.floats(-2, 5))
ratios = st.one_of(st.sampled_from([1.0, 1.25, 2.0, 3.5]), st.floats(0.2, 5.0))


def noise(height: int, width: int, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiled(image: Rgb, side: int) -> Mosaic:
    """The image as square tiles, the last ones padded with noise."""
    rows, columns = -(-image.shape[0] // side), -(-image.shape[1] // side)
    padded = noise(rows * side, columns * side, seed=1)
    padded[: image.shape[0], : image.shape[1]] = image
    grid = padded.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
    tiles = [np.ascontiguousarray(grid[row, column]) for row in range(rows) for column in range(columns)]
    size = Size(image.shape[1], image.shape[0])
    return Mosaic(tiles, columns, Size(side, side), 0, 0, size, size)


@settings(max_examples=200, deadline=None)
@given(height=sides, width=sides, start=starts, ratio=st.floats(1.0, 5.0), count=st.integers(1, 20))
def test_every_pixel_is_the_mean_of_what_it_covers(
    height: int, width: int, start: float, ratio: float, count: int
) -> None:
    image = noise(height, width)
    x, y = (footprints(start, ratio * count, count=count, limit=limit) for limit in (width, height))
    out = np.empty((count, count, 3), np.uint8)

    area(Mosaic.of(image), x=x, y=y, out=out)

    def matrix(limit: int) -> np.ndarray:
        """(count, limit) float64: the share of each source pixel; what lies beyond belongs to the last ones."""
        low = start + np.arange(count)[:, None] * ratio
        beside = np.arange(-110, limit + 110)
        share = np.maximum(np.minimum(low + ratio, beside + 1) - np.maximum(low, beside), 0) / ratio
        inside: np.ndarray = share[:, 110 : limit + 110].copy()
        inside[:, 0] += share[:, :110].sum(axis=1)
        inside[:, -1] += share[:, limit + 110 :].sum(axis=1)
        return inside

    exact = np.einsum("yh,hwc,xw->yxc", matrix(height), image.astype(float), matrix(width), optimize=True)
    assert np.abs(out - exact).max() <= 0.5 + 1e-3


@needs_compiled
@settings(max_examples=300, deadline=None)
@given(
    height=sides, width=sides, start=starts, ratio=ratios, rows=sides, columns=sides, side=st.sampled_from([7, 16, 64])
)
def test_the_compiled_loop_gives_the_bytes_of_numpy(
    height: int, width: int, start: float, ratio: float, rows: int, columns: int, side: int
) -> None:
    image = noise(height, width)
    x = footprints(start, ratio * columns, count=columns, limit=width)
    y = footprints(start, ratio * rows, count=rows, limit=height)
    out = np.empty((rows, columns, 3), np.uint8)

    area(tiled(image, side), x=x, y=y, out=out)

    assert np.array_equal(out, area_in_numpy(image, x=x, y=y))


def test_white_stays_white_and_black_stays_black() -> None:
    axis = footprints(0.3, 1.3 * 50, count=50, limit=70)
    for value in (0, 255):
        out = np.empty((50, 50, 3), np.uint8)

        area(Mosaic.of(np.full((70, 70, 3), value, np.uint8)), x=axis, y=axis, out=out)

        assert (out == value).all()


@needs_compiled
def test_what_does_not_fit_together_is_refused_and_never_read() -> None:
    from slideloom.pixels import _kernels

    axis = footprints(0.5, 1.3 * 8, count=8, limit=12)
    grid, window, end, out = (1, 12, 12), (0, 0, 12, 12), (12, 12), np.empty((8, 8, 3), np.uint8)
    good = (axis.index, axis.weight, axis.index.shape[1])

    def call(columns=good, rows=good, tiles=None, window=window, out=out) -> None:  # type: ignore[no-untyped-def]
        _kernels.area([noise(12, 12)] if tiles is None else tiles, grid, window, end, columns, rows, out)

    def with_index(value: int) -> tuple[np.ndarray, np.ndarray, int]:
        changed = axis.index.copy()
        changed[-1, -1] = value
        return changed, *good[1:]

    def with_weight(value: float) -> tuple[np.ndarray, np.ndarray, int]:
        changed = axis.weight.copy()
        changed[0, 0] = value
        return good[0], changed, good[2]

    call()
    for wrong in (with_index(12), with_index(-1), with_weight(-0.1), with_weight(2), with_weight(np.nan)):
        with pytest.raises(ValueError, match=r"^area: "):
            call(columns=wrong)
        with pytest.raises(ValueError, match=r"^area: "):
            call(rows=wrong)
    for taps in (0, -1, good[2] + 1):
        with pytest.raises(ValueError, match=r"^area: "):
            call(rows=(*good[:2], taps))
    with pytest.raises(ValueError, match=r"^area: "):
        call(rows=(good[0], good[1][:-1], good[2]))
    with pytest.raises(ValueError, match=r"^area: "):
        call(window=(1, 0, 12, 12))
    with pytest.raises(ValueError, match=r"^area: "):
        call(out=np.empty((8, 9, 3), np.uint8))
    with pytest.raises(ValueError, match="another size"):
        call(tiles=[noise(11, 12)])


def test_a_weight_of_nothing_changes_nothing() -> None:
    image = noise(9, 9)
    plain = footprints(0.0, 9.0, count=9, limit=9)
    index = np.concatenate([plain.index, np.full((9, 1), 4, np.int32)], axis=1)
    padded = Footprints(index, np.concatenate([plain.weight, np.zeros((9, 1), np.float32)], axis=1))
    out = np.empty((9, 9, 3), np.uint8)

    area(Mosaic.of(image), x=padded, y=padded, out=out)

    assert np.array_equal(out, image)
