"""gaussian and gaussian-v2: the textbook's mask, the same for any blocks, and what they find on a real slide."""

from __future__ import annotations

import threading
import tracemalloc
from pathlib import Path
from typing import Any

import attrs
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import (
    Box,
    Level,
    NativeResampler,
    Point,
    QcResult,
    Resolution,
    Rgb,
    Scene,
    Size,
    Slide,
    SlideError,
    SlideInfo,
)
from slideloom_qc import Gaussian, GaussianV2, Tissue
from slideloom_qc.blur import CHUNK_PX, Window, edge_strength, gaussian_weights, out_of_focus
from slideloom_testing import AnalyticSlide, PixelsSlide, scene_of, stained


class NativePixels(PixelsSlide):
    """Resamples as readers with OpenCV do, so that pixels come from fixed-point arithmetic."""

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        return NativeResampler(cv2)(rgb, box=box, size=size)


def partly_blurred(size: Size, *, seed: int) -> Rgb:
    """Stained tissue, blurred more from left to right, with a patch of glass."""
    rgb = stained(size, seed=seed, grain_px=5)
    for part, sigma in enumerate((1.5, 3, 6), start=1):
        left = part * size.width // 4
        rgb[:, left:] = cv2.GaussianBlur(rgb, (0, 0), sigma)[:, left:]
    rgb[: size.height // 4, : size.width // 3] = 243
    return rgb


def textbook_strength(rgb: Rgb, sigma: float) -> NDArray[np.float64]:
    """The definition, pixel sums written out in float64."""
    grey = (rgb / 255.0) @ np.array([0.2125, 0.7154, 0.0721])
    around = np.pad(grey, 1, mode="symmetric")
    laplace = 4 * grey - around[:-2, 1:-1] - around[2:, 1:-1] - around[1:-1, :-2] - around[1:-1, 2:]
    radius = int(4 * sigma + 0.5)
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    result = np.abs(laplace)
    for axis in (0, 1):
        padding = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        padded = np.pad(result, padding, mode="symmetric")
        count = result.shape[axis]
        result = sum(w * np.take(padded, np.arange(k, k + count), axis=axis) for k, w in enumerate(weights))
    return result


def grey_of(rgb: Rgb) -> NDArray[np.float64]:
    return rgb @ np.array([2125.0, 7154.0, 721.0])


@pytest.mark.parametrize("sigma", [0.8, 3.0, 5.5])
@pytest.mark.parametrize("size", [Size(200, 150), Size(40, 9), Size(3, 31)])
def test_the_edge_strength_is_the_textbooks(sigma: float, size: Size) -> None:
    rgb = np.random.default_rng(3).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)

    assert edge_strength(grey_of(rgb), sigma=sigma) == pytest.approx(textbook_strength(rgb, sigma), rel=3e-5)


def test_the_weights_sum_to_one_exactly() -> None:
    for sigma in (0.3, 1.0, 3.0, 17.3):
        assert gaussian_weights(sigma).sum() == 1.0


@pytest.mark.parametrize("sigma", [0.3, 3.0, 7.0])
@pytest.mark.parametrize("size", [Size(230, 190), Size(40, 9), Size(1, 1)])
def test_pixels_at_the_very_threshold_are_decided_as_in_float64(sigma: float, size: Size) -> None:
    rgb = np.random.default_rng(5).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)
    grey = grey_of(rgb).astype(np.float32)
    strength = edge_strength(grey, sigma=sigma)
    inner = Window(size.width // 5, size.height // 4, size.width, size.height)

    # The strength of a pixel itself, the numbers beside it, and what is far from any.
    for own in np.quantile(strength, [0, 0.2, 0.5, 1], method="nearest").tolist():
        for threshold in (max(0.0, np.nextafter(own, -1)), own, np.nextafter(own, 9), own / 2, 0.0, 3.9, 1e300):
            found = out_of_focus(grey, inner, sigma=sigma, threshold=threshold)
            assert np.array_equal(found, (strength <= threshold)[inner.within]), (own, threshold)


def test_a_picture_that_is_at_the_threshold_everywhere_is_decided_as_in_float64() -> None:
    checkers = (np.indices((300, 400)).sum(axis=0) % 2 * 255 * 100).astype(np.float32)
    # The Laplacian of a checkerboard is 4 steps of 0.01 everywhere but at the edges.
    strength = edge_strength(checkers, sigma=2.0)
    assert np.median(strength) == pytest.approx(0.04, rel=1e-9)

    middle = float(np.median(strength))
    for threshold in (middle, float(np.nextafter(middle, 0))):
        found = out_of_focus(checkers, Window(0, 0, 400, 300), sigma=2.0, threshold=threshold)
        assert np.array_equal(found, strength <= threshold)
        assert (found.mean() > 0.9) == (threshold == middle)


def test_the_mask_is_the_textbooks_except_at_the_very_threshold() -> None:
    rgb = partly_blurred(Size(400, 300), seed=1)
    expected = textbook_strength(rgb, 3.0)

    mask = Gaussian(mpp=1).build().assess(PixelsSlide(rgb, mpp=1.0), scene_of()).mask

    decided = np.abs(expected / 0.02 - 1) > 1e-4
    assert 0.2 < mask.mean() < 0.9
    assert np.array_equal(mask[decided], (expected <= 0.02)[decided])
    assert decided.mean() > 0.999


@pytest.mark.parametrize("slide_class", [PixelsSlide, NativePixels])
@pytest.mark.parametrize(("mpp", "wanted"), [(0.5, 1.0), (0.499, 1.01), ((0.5, 0.47), 1.37)])
def test_the_mask_is_the_same_for_one_block_and_many(slide_class: type[PixelsSlide], mpp: Any, wanted: float) -> None:
    slide = slide_class(partly_blurred(Size(1301, 1187), seed=2), mpp=mpp)
    whole = GaussianV2(mpp=wanted, block_px=100_000).build().assess(slide, scene_of())

    assert 0.1 < whole.mask.mean() < 0.9
    for block_px in (53, 256, 300, 1024):
        blocks = GaussianV2(mpp=wanted, block_px=block_px).build().assess(slide, scene_of())
        assert np.array_equal(blocks.mask, whole.mask), block_px
        assert (blocks.extent, blocks.kind, blocks.metrics) == (whole.extent, "blur", whole.metrics)


def test_the_resolution_is_four_times_the_tiles_unless_set() -> None:
    slide = PixelsSlide(stained(Size(800, 600)), mpp=0.5)

    by_tile = GaussianV2().build().assess(slide, scene_of(mpp=1.0))
    by_option = GaussianV2(mpp=2).build().assess(slide, scene_of(mpp=1.0))

    assert (by_tile.mask.shape, by_tile.metrics["mpp"]) == ((75, 100), 4.0)
    assert (by_option.mask.shape, by_option.extent) == ((150, 200), Box(0, 0, 800, 600))


def test_mask_pixels_are_square_in_um_and_stay_on_the_slide() -> None:
    slide = PixelsSlide(stained(Size(1001, 803)), mpp=(0.5, 0.25))

    result = GaussianV2(mpp=2.0).build().assess(slide, scene_of())

    assert result.mask.shape == (100, 250)
    assert result.extent == Box(0, 0, 1000, 800)


def test_a_resolution_finer_than_the_slide_is_not_made_up() -> None:
    result = GaussianV2(mpp=0.25).build().assess(PixelsSlide(stained(Size(300, 200)), mpp=0.5), scene_of())

    assert result.mask.shape == (200, 300)
    assert "0.25 um/px is finer than the slide" in result.notes[0]


class _Counted(Slide):
    """Flat slide that notes what is read."""

    def __init__(self, size: Size) -> None:
        self.info = SlideInfo(Path("big.svs"), "big", "none", (Level(size, 1.0, 1.0),), mpp=None)
        self.read_px: list[int] = []

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        self.read_px.append(size.area)
        return np.full((size.height, size.width, 3), 200, np.uint8)

    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        return np.ascontiguousarray(rgb[:: rgb.shape[0] // size.height, :: rgb.shape[1] // size.width])


def test_a_large_slide_is_read_once_and_in_small_parts() -> None:
    slide = _Counted(Size(20_000, 6_000))
    slide.use_mpp(Resolution(0.5, 0.5, "test"))

    result = GaussianV2(mpp=1, block_px=500).build().assess(slide, scene_of())

    assert result.mask.all()
    assert sum(slide.read_px) == 20_000 * 6_000
    assert max(slide.read_px) == (CHUNK_PX * 2) ** 2


def test_memory_grows_with_the_width_of_the_slide_and_not_with_its_area() -> None:
    peaks = []
    for height in (6_000, 24_000):
        slide = _Counted(Size(6_000, height))
        slide.use_mpp(Resolution(0.5, 0.5, "test"))
        step = GaussianV2(mpp=1).build()
        tracemalloc.start()
        result = step.assess(slide, scene_of())
        peaks.append(tracemalloc.get_traced_memory()[1] - result.stored.size / 8)
        tracemalloc.stop()

    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[1] < 3000 * 12_000  # bytes; the mask as bytes would have as many


def threaded(threads: int, *, mpp: float = 1.0) -> Scene:
    return attrs.evolve(scene_of(mpp=mpp), threads=threads)


@pytest.mark.parametrize("threads", [2, 3, 8])
def test_the_mask_is_the_same_for_any_number_of_threads(threads: int) -> None:
    slide = NativePixels(partly_blurred(Size(1301, 1187), seed=2), mpp=0.5)
    alone = GaussianV2(mpp=0.6).build().assess(slide, threaded(1))

    for block_px in (100, 256, 5000):
        together = GaussianV2(mpp=0.6, block_px=block_px).build().assess(slide, threaded(threads))
        assert np.array_equal(together.mask, alone.mask), block_px
        assert together.metrics == alone.metrics


class _Meeting(PixelsSlide):
    """Its first two readers wait for each other."""

    def __init__(self, rgb: Rgb) -> None:
        super().__init__(rgb, mpp=1.0)
        self._both = threading.Barrier(2)
        self._met = False

    def read(self, origin: Point, level: int, size: Size) -> Rgb:
        if not self._met:
            self._both.wait()
            self._met = True
        return super().read(origin, level, size)


def test_two_threads_read_at_once() -> None:
    rgb = stained(Size(600, 300), seed=1)

    together = GaussianV2(mpp=1).build().assess(_Meeting(rgb), threaded(2))

    alone = GaussianV2(mpp=1).build().assess(PixelsSlide(rgb, mpp=1.0), threaded(1))
    assert np.array_equal(together.mask, alone.mask)


def test_a_slide_that_is_not_thread_safe_is_read_by_one_thread_at_a_time() -> None:
    for attempt in range(3):
        slide = AnalyticSlide(Size(2000 + attempt, 1500), mpp=1.0, thread_safe=False)  # fails if two read at once
        assert GaussianV2(mpp=1, block_px=300).build().assess(slide, threaded(4)).mask.shape == (1500, 2000 + attempt)


def test_one_thread_is_the_callers_own() -> None:
    class Noted(PixelsSlide):
        readers: set[int] = set()  # noqa: RUF012 - for this test alone

        def read(self, origin: Point, level: int, size: Size) -> Rgb:
            self.readers.add(threading.get_ident())
            return super().read(origin, level, size)

    Gaussian(mpp=1).build().assess(Noted(stained(Size(600, 300)), mpp=1.0), threaded(1))

    assert Noted.readers == {threading.get_ident()}


@pytest.mark.parametrize("threads", [1, 3])
def test_a_damaged_slide_is_an_error_that_names_it(threads: int) -> None:
    slide = AnalyticSlide(Size(3000, 2000), mpp=1.0, damaged=[Box(1500, 500, 10, 10)], path=Path("torn.json"))

    with pytest.raises(SlideError, match=r"torn\.json"):
        GaussianV2(mpp=1, block_px=256).build().assess(slide, threaded(threads))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("slideloom-qc")]


def disk(radius: int) -> NDArray[np.float32]:
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    kernel = (x * x + y * y <= radius * radius).astype(np.float32)
    return kernel / kernel.sum()


def on_grid_of(result: QcResult, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    height, width = result.mask.shape
    return cv2.resize(mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST) > 0


# Lower half of a real slide at 0.499 um/px blurred by a disk; measured recall and precision on tissue less 0.05.
@pytest.mark.parametrize(
    ("mpp", "radius_px", "recall", "precision"),
    [(1.0, 12, 0.93, 0.97), (1.0, 8, 0.6, 0.97), (2.0, 16, 0.65, 0.97), (4.04, 24, 0.25, 0.97)],
)
def test_planted_blur_is_found_on_a_real_slide(
    real_data: Path, mpp: float, radius_px: int, recall: float, precision: float
) -> None:
    rgb = _whole(real_data / "cmu-1-small-region.svs")
    truth = np.zeros(rgb.shape[:2], np.bool_)
    truth[rgb.shape[0] // 2 :] = True
    blurred = np.where(truth[..., None], cv2.filter2D(rgb, -1, disk(radius_px)), rgb)
    tissue = ~Tissue().build().assess(NativePixels(rgb, mpp=0.499), scene_of()).mask

    found = GaussianV2(mpp=mpp).build().assess(NativePixels(blurred, mpp=0.499), scene_of())

    hit, planted = found.mask & on_grid_of(found, tissue), on_grid_of(found, truth & _full(tissue, truth.shape))
    assert (hit & planted).sum() / planted.sum() > recall
    assert (hit & planted).sum() / hit.sum() > precision


def test_sharp_tissue_of_real_slides_is_left_alone(real_data: Path) -> None:
    for name, mpp in (("cmu-1-small-region.svs", 0.499), ("tcga-cr-7395-01a-01-ts1.svs", 0.5)):
        slide = NativePixels(_whole(real_data / name), mpp=mpp)
        tissue = ~Tissue().build().assess(slide, scene_of()).mask
        found = GaussianV2().build().assess(slide, scene_of(mpp=1.01))
        assert found.mask[on_grid_of(found, tissue)].mean() < 0.001, name


def _full(mask: NDArray[np.bool_], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    return cv2.resize(mask.astype(np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST) > 0


def _whole(path: Path) -> Rgb:
    openslide = pytest.importorskip("openslide")
    with openslide.OpenSlide(path) as slide:
        return np.array(slide.read_region((0, 0), 0, slide.dimensions).convert("RGB"))


def test_the_scene_is_not_needed_beyond_the_resolution() -> None:
    slide = PixelsSlide(stained(Size(300, 200)), mpp=0.5)
    scene: Scene = scene_of(tile_px=64, footprint=Size(64, 64), mpp=0.5)
    assert GaussianV2().build().assess(slide, scene).metrics["mpp"] == 2.0
