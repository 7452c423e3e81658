"""The demo slide's planted pen, blur and tissue are found; its truth is known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import Box, NativeResampler, QcResult, Rgb, Size, blur_burden
from slideloom_qc import GaussianV2, Otsu, Pen, Tissue
from slideloom_testing import PixelsSlide, scene_of, tiles_of
from slideloom_testing.tissue import DemoSlide, DemoTruth

SIZE = Size(4000, 3000)


class DemoPixels(PixelsSlide):
    def resample(self, rgb: Rgb, *, box: Box, size: Size) -> Rgb:
        return NativeResampler(cv2)(rgb, box=box, size=size)


@pytest.fixture(scope="module")
def demo() -> tuple[DemoPixels, DemoTruth]:
    slide = DemoSlide(SIZE, mpp=0.5)
    rgb = np.empty((SIZE.height, SIZE.width, 3), np.uint8)
    for left, top, block in slide.blocks():
        rgb[top : top + block.shape[0], left : left + block.shape[1]] = block
    return DemoPixels(rgb, mpp=0.5), slide.truth


def truth_on(result: QcResult, truth: DemoTruth, part: str) -> NDArray[np.bool_]:
    """True where at least half of a mask pixel is in the part."""
    fine = truth.mask(part, downsample=4).astype(np.float32)
    height, width = result.mask.shape
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA) >= 0.5


def precision_and_recall(found: NDArray[np.bool_], planted: NDArray[np.bool_]) -> tuple[float, float]:
    hit = (found & planted).sum()
    return float(hit / found.sum()), float(hit / planted.sum())


def test_the_pen_is_found(demo: tuple[DemoPixels, DemoTruth]) -> None:
    slide, truth = demo
    result = Pen().build().assess(slide, scene_of())

    # Ink reaches beyond the outline, whose stroke is soft.
    precision, recall = precision_and_recall(result.mask, truth_on(result, truth, "pen"))
    assert recall > 0.95
    assert precision > 0.7


def test_the_tissue_is_found_without_the_pen(demo: tuple[DemoPixels, DemoTruth]) -> None:
    slide, truth = demo
    result = Tissue().build().assess(slide, scene_of())
    by_otsu = Otsu().build().assess(slide, scene_of())

    pen = truth_on(result, truth, "pen")
    precision, recall = precision_and_recall(~result.mask, truth_on(result, truth, "tissue") & ~pen)
    assert precision > 0.95
    assert recall > 0.97
    assert result.mask[pen].mean() > 0.95
    assert by_otsu.mask[truth_on(by_otsu, truth, "pen")].mean() < 0.3


@pytest.mark.parametrize(("mpp", "least_precision", "least_recall"), [(2.0, 0.7, 0.85), (4.0, 0.95, 0.7)])
def test_the_blur_is_found(
    demo: tuple[DemoPixels, DemoTruth], mpp: float, least_precision: float, least_recall: float
) -> None:
    slide, truth = demo
    result = GaussianV2(mpp=mpp).build().assess(slide, scene_of())
    background = Tissue().build().assess(slide, scene_of()).mask.astype(np.uint8)
    height, width = result.mask.shape
    tissue = cv2.resize(background, (width, height), interpolation=cv2.INTER_NEAREST) == 0

    # Fat is tissue, but has hardly an edge, so the finer resolution takes some of it for blurred.
    precision, recall = precision_and_recall(result.mask & tissue, truth_on(result, truth, "blur") & tissue)
    assert precision > least_precision
    assert recall > least_recall


def test_the_blur_burden_is_the_planted_share_of_tissue(demo: tuple[DemoPixels, DemoTruth]) -> None:
    slide, truth = demo
    scene = scene_of(mpp=0.5)
    blur, tissue = (step.build().assess(slide, scene) for step in (GaussianV2(), Tissue()))
    tiles = tiles_of(20 * 15, footprint=Size(200, 200), columns=20)

    burden = blur_burden([blur], [tissue], tiles, slide.info.size)

    inside = truth_on(tissue, truth, "tissue")
    planted = (truth_on(tissue, truth, "blur") & ~tissue.mask).sum() / (inside & ~tissue.mask).sum()
    assert burden == pytest.approx(planted, rel=0.25)  # fat looks out of focus too
