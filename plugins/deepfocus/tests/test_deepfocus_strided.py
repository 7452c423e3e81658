from __future__ import annotations

import threading
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Box, ConfigError, MissingResolution, PluginError, Point, Rgb, Size, SlideError
from slideloom_deepfocus import StridedModelQC, StridedModelSettings
from slideloom_deepfocus.testing import StridedModelContract
from slideloom_testing import PixelsSlide, scene_of

GLASS, TISSUE, PEN = (244, 244, 244), (190, 90, 150), (40, 160, 60)


def painted(size: Size, *patches: tuple[Box, tuple[int, int, int]]) -> Rgb:
    """Glass with rectangles of one colour."""
    rgb = np.empty((size.height, size.width, 3), np.uint8)
    rgb[:] = GLASS
    for box, colour in patches:
        rgb[int(box.y) : int(box.bottom), int(box.x) : int(box.right)] = colour
    return rgb


def green_share(tiles: NDArray[Any]) -> NDArray[np.float64]:
    red, green, blue = np.moveaxis(tiles.astype(int), -1, 0)
    share: NDArray[np.float64] = ((green > red + 30) & (green > blue + 30)).mean(axis=(1, 2))
    return share


@frozen
class GreenPen(StridedModelSettings):
    """Discards tiles with green pen."""

    name: ClassVar[str] = "green-pen"

    def load(self) -> object:
        return green_share


def green_pen(**options: Any) -> StridedModelQC:
    return GreenPen(**{"tile_px": 50, "tile_um": 50.0, "preprocess": "uint8", **options}).build()


class TestGreenPen(StridedModelContract):
    settings = GreenPen(tile_px=64, tile_um=64.0, preprocess="uint8")
    entry_module = "slideloom_deepfocus.plugin"


def test_a_pen_mark_is_found_where_it_is_on_a_slide_of_half_the_scale() -> None:
    # 50 px at 1 mpp are 100 px of this slide: the mark covers rows 2-3 and columns 4-5 of the grid exactly.
    rgb = painted(Size(1000, 800), (Box(100, 100, 800, 600), TISSUE), (Box(400, 200, 200, 200), PEN))
    result = green_pen()(PixelsSlide(rgb, mpp=0.5))
    expected = np.zeros((8, 10), bool)
    expected[2:4, 4:6] = True
    assert result.extent == Box(0, 0, 1000, 800)
    assert np.array_equal(result.mask, expected)
    assert result.kind == "artifact"
    assert result.metrics["cells_discarded"] == 4


def test_the_raw_map_holds_the_share_of_each_tile_and_its_scale() -> None:
    rgb = painted(Size(400, 200), (Box(0, 0, 400, 200), TISSUE), (Box(100, 0, 50, 100), PEN))
    found = green_pen()(PixelsSlide(rgb, mpp=0.5), threshold=False)
    assert np.allclose(found.values, [[0, 0.5, 0, 0], [0, 0, 0, 0]])
    assert found.extent == Box(0, 0, 400, 200)
    assert found.cell_um == 50


def test_a_slide_coarser_than_the_model_is_enlarged_not_refused() -> None:
    rgb = painted(Size(100, 100), (Box(0, 0, 100, 100), TISSUE), (Box(0, 0, 50, 50), PEN))
    result = green_pen(tile_um="20x")(PixelsSlide(rgb, mpp=2.0))  # 50 px at 0.5 mpp: 12.5 px of the slide
    assert "enlarged" in result.notes[0]
    assert result.mask.shape == (8, 8)
    assert result.mask[:4, :4].all()
    assert result.mask.sum() == 16


def test_glass_is_not_looked_at_and_not_discarded_unless_asked() -> None:
    rgb = painted(Size(400, 200), (Box(0, 0, 100, 200), TISSUE))
    seen: list[int] = []

    def everything_is_bad(tiles: NDArray[Any]) -> NDArray[np.float64]:
        seen.append(len(tiles))
        return np.ones(len(tiles))

    options = GreenPen(tile_px=50, tile_um=50.0, batch=1)
    step = StridedModelQC(everything_is_bad, options)
    slide = PixelsSlide(rgb, mpp=0.5)
    assert step(slide).mask.tolist() == [[True, False, False, False]] * 2
    assert sum(seen) == 2
    assert np.isnan(step(slide, threshold=False).values[:, 1:]).all()
    assert green_pen(discard_unvisited=True)(slide).mask.tolist() == [[False, True, True, True]] * 2
    assert not np.isnan(green_pen(everywhere=True)(slide, threshold=False).values).any()


def test_the_mask_ends_with_the_slide_and_is_not_stretched() -> None:
    # 470 px are 4.7 tiles of 100 px: the fifth is padded with glass, and the mask is cut at 470 to 1/8 of a tile.
    rgb = painted(Size(470, 100), (Box(0, 0, 470, 100), TISSUE), (Box(400, 0, 70, 100), PEN))
    step = green_pen()
    raw = step(PixelsSlide(rgb, mpp=0.5), threshold=False)
    assert raw.extent == Box(0, 0, 500, 100)
    assert np.allclose(raw.values, [[0, 0, 0, 0, 0.7]])
    result = step(PixelsSlide(rgb, mpp=0.5))
    assert result.extent == Box(0, 0, 462.5, 100)
    assert result.mask.shape == (8, 37)
    assert result.mask[:, 32:].all()
    assert not result.mask[:, :32].any()


@pytest.mark.parametrize("stride_div", [1, 2, 4])
def test_the_answer_does_not_depend_on_the_batch_size(stride_div: int) -> None:
    rng = np.random.default_rng(5)
    rgb = rng.integers(0, 255, (530, 770, 3), dtype=np.uint8)

    def mean_red(tiles: NDArray[Any]) -> NDArray[np.float32]:
        return tiles[..., 0].mean(axis=(1, 2))

    def raw(batch: int) -> NDArray[np.float32]:
        options = GreenPen(tile_px=40, tile_um=40.0, batch=batch, stride_div=stride_div)
        return StridedModelQC(mean_red, options)(PixelsSlide(rgb, mpp=0.5), threshold=False).values

    assert np.array_equal(raw(1), raw(7))
    assert np.array_equal(raw(1), raw(1000))


def test_overlapping_tiles_are_blended_by_weights_that_are_largest_in_the_middle() -> None:
    # Three tiles of 40 px in steps of 10 over one row of 6 cells; the model returns the tile's number.
    rgb = painted(Size(60, 40), (Box(0, 0, 60, 40), TISSUE))
    answers = iter(range(3))
    options = GreenPen(tile_px=40, tile_um=40.0, stride_div=4, batch=1)
    step = StridedModelQC(lambda tiles: np.array([float(next(answers))]), options)
    found = step(PixelsSlide(rgb, mpp=1.0), threshold=False)
    weights = [1, 2, 2, 1]
    total, weight = np.zeros(6), np.zeros(6)
    for tile in range(3):
        for k in range(4):
            total[tile + k] += tile * weights[k]
            weight[tile + k] += weights[k]
    assert found.values.shape == (4, 6)
    assert np.allclose(found.values, total / weight)
    assert (weight > 0).all()


def test_a_model_that_predicts_pixels_gives_a_finer_map() -> None:
    rgb = painted(Size(100, 100), (Box(0, 0, 100, 100), TISSUE), (Box(0, 0, 25, 100), PEN))
    options = GreenPen(tile_px=50, tile_um=50.0, preprocess="uint8")
    step = StridedModelQC(lambda tiles: (tiles[..., 1] > 150).astype(np.float32), options)
    found = step(PixelsSlide(rgb, mpp=1.0), threshold=False)
    assert found.values.shape == (20, 20)  # 10 per tile: the largest divisor of 50 up to 16
    assert found.cell_um == 5
    assert np.array_equal(found.values[0], [1] * 5 + [0] * 15)


def test_scores_below_the_threshold_can_be_the_bad_ones() -> None:
    rgb = painted(Size(100, 50), (Box(0, 0, 100, 50), TISSUE), (Box(0, 0, 50, 50), PEN))
    assert green_pen(bad="below")(PixelsSlide(rgb, mpp=1.0)).mask.tolist() == [[False, True]]


@pytest.mark.parametrize(
    ("output", "options", "expected"),
    [
        (np.array([[0.2, 0.9]]), {}, 0.9),
        (np.array([[0.2, 0.9]]), {"index": 0}, 0.2),
        (np.array([[0.0, np.log(3)]]), {"activation": "softmax"}, 0.75),
        (np.array([np.log(3)]), {"activation": "sigmoid"}, 0.75),
        (np.array([[1.0, 5.0, 3.0]]), {"index": 2}, 3.0),
    ],
)
def test_the_score_is_the_chosen_output(output: NDArray[Any], options: dict[str, Any], expected: float) -> None:
    rgb = painted(Size(50, 50), (Box(0, 0, 50, 50), TISSUE))
    step = StridedModelQC(lambda tiles: output, GreenPen(tile_px=50, tile_um=50.0, batch=1, threshold=0.5, **options))
    assert np.allclose(step(PixelsSlide(rgb, mpp=1.0), threshold=False).values, expected)


@pytest.mark.parametrize(
    ("output", "options", "words"),
    [
        (np.zeros((1, 3)), {}, "index"),
        (np.zeros((1, 2)), {"index": 5}, "index = 5"),
        (np.zeros((1, 1, 1, 1, 1)), {}, "shape"),
        (np.array([np.nan]), {}, "no numbers"),
        (np.zeros((1, 7, 7)), {"stride_div": 2}, "7 x 7"),
    ],
)
def test_an_output_that_makes_no_sense_is_an_error(output: NDArray[Any], options: dict[str, Any], words: str) -> None:
    rgb = painted(Size(50, 50), (Box(0, 0, 50, 50), TISSUE))
    step = StridedModelQC(lambda tiles: output, GreenPen(tile_px=50, tile_um=50.0, batch=1, **options))
    with pytest.raises(PluginError, match=words):
        step(PixelsSlide(rgb, mpp=1.0))


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        ("uint8", 255.0),
        ("unit", 1.0),
        ("symmetric", 1.0),
        ("imagenet", (1 - 0.485) / 0.229),
        ("centred", 1 - np.mean([1, 0, 0.2])),
    ],
)
def test_the_model_gets_pixels_as_it_was_trained_with(preprocess: str, expected: float) -> None:
    rgb = painted(Size(50, 50), (Box(0, 0, 50, 50), (255, 0, 51)))
    step = StridedModelQC(lambda tiles: tiles[:, 0, 0, 0], GreenPen(tile_px=50, tile_um=50.0, preprocess=preprocess))
    assert np.allclose(step(PixelsSlide(rgb, mpp=1.0), threshold=False).values, expected, atol=1e-6)


class DamagedSlide(PixelsSlide):
    """Cannot be read around one pixel."""

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        if level == 0 and origin.x <= 75 < origin.x + size.width and origin.y <= 75 < origin.y + size.height:
            raise SlideError("damaged here")
        return super().read(origin, level, size)


def test_a_damaged_place_costs_only_the_tiles_that_touch_it() -> None:
    rgb = painted(Size(200, 200), (Box(0, 0, 200, 200), PEN))
    result = green_pen()(DamagedSlide(rgb, mpp=1.0, downsamples=(1, 8)))
    expected = np.ones((4, 4), bool)
    expected[1, 1] = False
    assert np.array_equal(result.mask, expected)
    assert result.notes == ("1 tiles could not be read and were not judged",)


class CountingSlide(PixelsSlide):
    """Remembers the largest read."""

    largest = 0

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        self.largest = max(self.largest, size.area)
        return super().read(origin, level, size)


def test_no_read_is_larger_than_a_block() -> None:
    rgb = painted(Size(4000, 3000), (Box(0, 0, 4000, 3000), TISSUE))
    slide = CountingSlide(rgb, mpp=1.0, downsamples=(1, 4, 16))
    green_pen(tile_px=64, tile_um=64.0)(slide)
    assert slide.largest <= 1024 * 1024


def test_threads_share_a_model_that_runs_one_call_at_a_time() -> None:
    rgb = painted(Size(400, 400), (Box(0, 0, 400, 400), TISSUE))
    inside, together = 0, 0
    barrier = threading.Barrier(4)

    def watched(tiles: NDArray[Any]) -> NDArray[np.float64]:
        nonlocal inside, together
        inside += 1
        together = max(together, inside)
        result = green_share(tiles)
        inside -= 1
        return result

    step = StridedModelQC(watched, GreenPen(tile_px=50, tile_um=50.0, batch=2))

    def work() -> None:
        barrier.wait()
        step(PixelsSlide(rgb, mpp=1.0))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == 1


def test_equal_settings_share_one_model_in_a_process() -> None:
    loads = []

    @frozen
    class Counted(StridedModelSettings):
        """Counts."""

        name: ClassVar[str] = "counted"

        def load(self) -> object:
            loads.append(1)
            return green_share

    Counted(tile_px=32).build()
    Counted(tile_px=32).build()
    assert len(loads) == 1


def test_assess_and_call_agree() -> None:
    rgb = painted(Size(200, 200), (Box(0, 0, 200, 200), TISSUE), (Box(0, 0, 100, 100), PEN))
    slide = PixelsSlide(rgb, mpp=1.0)
    step = green_pen()
    assert np.array_equal(step.assess(slide, scene_of()).mask, step(slide).mask)


def test_an_object_with_a_slide_is_as_good_as_a_slide() -> None:
    class Wsi:
        slide = PixelsSlide(painted(Size(100, 100), (Box(0, 0, 100, 100), PEN)), mpp=1.0)

    assert green_pen()(Wsi()).mask.all()


def test_a_slide_without_resolution_is_refused_with_a_remedy() -> None:
    with pytest.raises(MissingResolution, match=r"pixels\.json.*give mpp"):
        green_pen()(PixelsSlide(painted(Size(100, 100)), mpp=None))


@pytest.mark.parametrize("tile_um", ["20", "x20", 0.0, -3.0])
def test_a_size_that_makes_no_sense_is_refused(tile_um: float | str) -> None:
    with pytest.raises(ValueError, match="tile_um"):
        GreenPen(tile_um=tile_um)


def test_a_tile_that_does_not_divide_into_steps_is_refused() -> None:
    with pytest.raises(ConfigError, match="stride_div"):
        green_pen(stride_div=3)(PixelsSlide(painted(Size(100, 100)), mpp=1.0))


def test_a_magnification_near_the_slides_own_reads_whole_pixels(tmp_path: Path) -> None:
    # 0.499 mpp at "20x" is 0.5 mpp: resampling by 1.002 would average neighbours here and there.
    rng = np.random.default_rng(3)
    rgb = rng.integers(0, 200, (200, 200, 3), dtype=np.uint8)
    step = StridedModelQC(
        lambda tiles: tiles[..., 0].astype(float).var(axis=(1, 2)),
        GreenPen(tile_px=50, tile_um="20x", preprocess="uint8"),
    )
    found = step(PixelsSlide(rgb, mpp=0.499), threshold=False)
    expected = rgb[..., 0].reshape(4, 50, 4, 50).astype(float).var(axis=(1, 3))
    assert np.allclose(found.values, expected)
    assert found.cell_um == pytest.approx(50 * 0.499)
