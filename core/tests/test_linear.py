"""Linear interpolation: the compiled loop, its equal in numpy, and the textbook."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from slideloom.base.geometry import Point, Rgb, Size
from slideloom.pixels.linear import COMPILED, linear, linear_each, linear_in_numpy, taps
from slideloom.pixels.mosaic import Mosaic

needs_compiled = pytest.mark.skipif(not COMPILED, reason="the core was installed without a compiler")

sides = st.integers(1, 90)
starts = st.one_of(st.sampled_from([0.0, 0.5, 0.25, -1.5, 3.0]), st.floats(-2, 5))
steps = st.one_of(st.sampled_from([1.0, 302.5 / 299, 1.25]), st.floats(0.1, 1.4))


def noise(height: int, width: int, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def cut(image: Rgb, *, side: int, left: int, top: int, window: Size) -> Mosaic:
    """A window of an image that is stored in square tiles, the last ones padded with noise."""
    rows, columns = -(-image.shape[0] // side), -(-image.shape[1] // side)
    padded = noise(rows * side, columns * side, seed=1)
    padded[: image.shape[0], : image.shape[1]] = image
    grid = padded.reshape(rows, side, columns, side, 3).swapaxes(1, 2)
    tiles = [np.ascontiguousarray(grid[row, column]) for row in range(rows) for column in range(columns)]
    return Mosaic(tiles, columns, Size(side, side), left, top, window, Size(image.shape[1], image.shape[0]))


@settings(max_examples=300, deadline=None)
@given(height=sides, width=sides, start=starts, step=steps, rows=sides, columns=sides)
def test_every_pixel_is_within_half_a_level_and_its_roundings_of_the_textbook(
    height: int, width: int, start: float, step: float, rows: int, columns: int
) -> None:
    image = noise(height, width)
    x, y = taps(start, step, columns, width), taps(start, step, rows, height)
    out = np.empty((rows, columns, 3), np.uint8)

    linear(Mosaic.of(image), x=x, y=y, out=out)

    def matrix(count: int, limit: int) -> np.ndarray:
        """(count, limit) float64: the weights of linear interpolation at pixel centres, edges repeated."""
        place = np.clip(start + (np.arange(count) + 0.5) * step - 0.5, 0, limit - 1)
        return np.maximum(0, 1 - np.abs(place[:, None] - np.arange(limit)))

    exact = np.einsum(
        "yh,hwc,xw->yxc", matrix(rows, height), image.astype(float), matrix(columns, width), optimize=True
    )
    # A place is off by 1/128 pixel at most where the start is brought to a whole pixel, and by 1/4096 by rounding.
    most = 2 * 255 * (1 / 128 + 1 / 4096) + 0.5 + 0.25
    assert np.abs(out - exact).max() <= most


@needs_compiled
@settings(max_examples=300, deadline=None)
@given(height=sides, width=sides, start=starts, step=steps, rows=sides, columns=sides)
def test_the_compiled_loop_gives_the_bytes_of_numpy(
    height: int, width: int, start: float, step: float, rows: int, columns: int
) -> None:
    image = noise(height, width)
    x, y = taps(start, step, columns, width), taps(start / 2, step, rows, height)
    out = np.empty((rows, columns, 3), np.uint8)

    linear(Mosaic.of(image), x=x, y=y, out=out)

    assert np.array_equal(out, linear_in_numpy(image, x=x, y=y))


@st.composite
def windows(draw: st.DrawFn) -> tuple[int, int, int, Point, Size]:
    """Height and width of an image, the side of its tiles, and corner and size of a window within these."""
    height, width, side = draw(sides), draw(sides), draw(st.integers(1, 40))
    grid = Size(-(-width // side) * side, -(-height // side) * side)
    left, top = draw(st.integers(0, grid.width - 1)), draw(st.integers(0, grid.height - 1))
    window = Size(draw(st.integers(1, grid.width - left)), draw(st.integers(1, grid.height - top)))
    return height, width, side, Point(left, top), window


@settings(max_examples=200, deadline=None)
@given(windows())
def test_a_window_of_a_mosaic_is_the_window_of_the_image_on_white(case: tuple[int, int, int, Point, Size]) -> None:
    height, width, side, corner, window = case
    left, top = int(corner.x), int(corner.y)
    image = noise(height, width)
    stored = cut(image, side=side, left=left, top=top, window=window)
    grid = Size(stored.columns * side, len(stored.tiles) // stored.columns * side)
    canvas = np.full((grid.height, grid.width, 3), 255, np.uint8)
    canvas[:height, :width] = image
    expected = canvas[top : top + window.height, left : left + window.width]

    assert np.array_equal(stored.image(), expected)
    x, y = taps(0.3, 1.1, window.width, window.width), taps(0.3, 1.1, window.height, window.height)
    out = np.empty((window.height, window.width, 3), np.uint8)
    linear(stored, x=x, y=y, out=out)
    assert np.array_equal(out, linear_in_numpy(expected, x=x, y=y))


def test_tiles_that_were_never_written_are_white() -> None:
    image = noise(20, 20)
    stored = cut(image, side=10, left=3, top=4, window=Size(14, 13))
    holed = Mosaic([stored.tiles[0], None, None, stored.tiles[3]], 2, stored.tile, 3, 4, stored.window, stored.end)
    image[:10, 10:] = image[10:, :10] = 255
    x, y = taps(0.5, 1.05, 12, 14), taps(0.25, 1.05, 12, 13)
    out = np.empty((12, 12, 3), np.uint8)

    linear(holed, x=x, y=y, out=out)

    assert np.array_equal(holed.image(), image[4:17, 3:17])
    assert np.array_equal(out, linear_in_numpy(image[4:17, 3:17], x=x, y=y))


def test_a_result_may_lie_anywhere() -> None:
    image = noise(40, 40)
    x = taps(0.5, 1.1, 30, 40)
    whole, part = np.empty((30, 30, 3), np.uint8), np.zeros((30, 60, 3), np.uint8)

    linear(Mosaic.of(image), x=x, y=x, out=whole)
    linear(Mosaic.of(image), x=x, y=x, out=part[:, 10:40])

    assert np.array_equal(part[:, 10:40], whole)
    assert not part[:, :10].any()
    assert not part[:, 40:].any()


@needs_compiled
@settings(max_examples=500, deadline=None)
@given(
    numbers=st.lists(st.integers(-3, 60), min_size=9, max_size=9), count=st.integers(0, 4), reach=st.integers(-2, 40)
)
def test_what_does_not_fit_together_is_refused_and_never_read(numbers: list[int], count: int, reach: int) -> None:
    from slideloom.pixels import _kernels

    axis = taps(0.5, 1.1, 10, 12)
    runs = axis.along[0].copy()
    runs[-1, 2] += reach
    out = np.empty((10, 10, 3), np.uint8)
    grid, window, end = tuple(numbers[:3]), tuple(numbers[3:7]), tuple(numbers[7:])
    tiles = [noise(12, 12) for _ in range(count)]
    along = (runs, *axis.along[1:])
    fits = (
        numbers[1] == numbers[2] == 12
        and 0 < numbers[0] <= count
        and min(numbers[3:5]) >= 0
        and numbers[3] + numbers[5] <= numbers[0] * 12
        and numbers[4] + numbers[6] <= count // max(1, numbers[0]) * 12
    )

    try:
        _kernels.linear([(tiles, grid, window, end, along, axis.across, out, False)])
    except ValueError:
        return
    assert fits


@needs_compiled
def test_the_compiled_loop_refuses_other_types() -> None:
    from slideloom.pixels import _kernels

    axis = taps(0.5, 1.1, 10, 12)
    out = np.empty((10, 10, 3), np.uint8)

    def task(tiles: Any) -> Any:  # wrong types on purpose
        return tiles, (1, 12, 12), (0, 0, 12, 12), (12, 12), axis.along, axis.across, out, False

    good = task([noise(12, 12)])
    _kernels.linear([good])

    for wrong in (task((noise(12, 12),)), task(["tile"])):
        with pytest.raises(TypeError):
            _kernels.linear([good, wrong])
    several: list[Any] = [(good,), [good, None], [list(good)], None]
    for tasks in several:
        with pytest.raises(TypeError, match="linear: "):
            _kernels.linear(tasks)
    with pytest.raises(ValueError, match="another size"):
        _kernels.linear([good, task([noise(11, 12)])])
    with pytest.raises(ValueError, match="contiguous"):
        _kernels.linear([task([noise(12, 24)[:, ::2]]), good])
    out.flags.writeable = False
    with pytest.raises(TypeError, match="read-write"):
        _kernels.linear([good])


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 3), *((3, width) for width in range(4, 14)), (13, 22), (26, 31)]
)
def test_a_result_half_as_large_holds_the_mean_of_four_rounded_half_up(height: int, width: int) -> None:
    mosaic = cut(noise(90, 120), side=32, left=3, top=4, window=Size(70, 60))
    x, y = taps(0.3, 1.05, 2 * width, 70), taps(0.25, 1.1, 2 * height, 60)
    out = np.full((height + 1, width, 3), 77, np.uint8)

    linear_each([(mosaic, x, y, out[:height])])

    fine = linear_in_numpy(mosaic.image(), x=x, y=y).astype(np.float64)
    means = (fine[::2, ::2] + fine[::2, 1::2] + fine[1::2, ::2] + fine[1::2, 1::2]) / 4
    assert np.array_equal(out[:height], np.floor(means + 0.5))
    assert (out[height] == 77).all()


@needs_compiled
def test_a_result_that_cannot_be_halved_is_refused() -> None:
    from slideloom.pixels import _kernels

    image = noise(12, 12)
    head = [image], (1, 12, 12), (0, 0, 12, 12), (12, 12)
    even, odd = taps(0.5, 1.1, 10, 12), taps(0.5, 1.1, 9, 12)
    for x, y in ((even, odd), (odd, even), (odd, odd), (even, even)):
        height, width = (len(axis.first) // 2 for axis in (y, x))
        for out in (np.empty((height + 1, width, 3), np.uint8), np.empty((height, width, 3), np.uint8)):
            if x is y is even and len(out) == height:
                _kernels.linear([(*head, x.along, y.across, out, True)])
            else:
                with pytest.raises(ValueError, match="fit together"):
                    _kernels.linear([(*head, x.along, y.across, out, True)])


def test_many_windows_at_once_give_what_each_gives_alone() -> None:
    image = noise(90, 120)
    mosaic = cut(image, side=32, left=3, top=4, window=Size(70, 60))
    sizes = [(20, 31), (45, 17), (1, 1)]
    axes = [(taps(0.5, 1.05, width, 70), taps(0.25, 1.2, height, 60)) for height, width in sizes]
    together, alone = ([np.empty((*size, 3), np.uint8) for size in sizes] for _ in range(2))
    together[1] = np.empty((45, 34, 3), np.uint8)[:, ::2]  # not contiguous

    linear_each([(mosaic, x, y, out) for (x, y), out in zip(axes, together, strict=True)])
    for (x, y), out in zip(axes, alone, strict=True):
        linear(mosaic, x=x, y=y, out=out)

    for first, second in zip(together, alone, strict=True):
        assert np.array_equal(first, second)
    linear_each([])
