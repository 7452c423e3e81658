"""Slides whose outlines are known, models trained on them, and one PyTorch thread."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import shapely
import torch
from numpy.typing import NDArray
from shapely.geometry import MultiPolygon, Polygon
from slideloom import Mask, Region, Regions, Size, Slide, UnsupportedSlide, open_slide
from slideloom_segmentation import SegmentConfig, train
from slideloom_testing import DemoSlide, DemoTruth, PixelsSlide, stained, write_demo_slide

Section = tuple[Slide, Regions]
MPP = 4.0
SIZE = Size(1200, 800)
DEMO_MPP = 2.0
DEMO = Size(1500, 1125)  # the demo slide's usual 3000 x 2250 um


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def section() -> Callable[[int], Section]:
    """A section by its seed; other seeds have other outlines and another staining."""
    return make_section


@pytest.fixture(scope="session")
def truth() -> Callable[..., NDArray[np.uint8]]:
    """Class numbers on a raster, by shapely."""
    return true_classes


@lru_cache(maxsize=8)
def make_section(seed: int) -> Section:
    random = np.random.default_rng(seed)
    whole = blob(random, x=SIZE.width / 2, y=SIZE.height / 2, radius=0.38 * SIZE.height)
    places = [random.uniform(0.35, 0.65, 2) * (SIZE.width, SIZE.height) for _ in range(3)]
    tumor = shapely.union_all([blob(random, x=x, y=y, radius=0.13 * SIZE.height) for x, y in places])
    tumor = tumor.intersection(whole)
    strength = random.uniform(0.85, 1.15)
    rgb = random.normal(243, 1.5, (SIZE.height, SIZE.width, 3)).clip(0, 255).astype(np.uint8)
    for shape, grain, density in ((whole, 8, 0.6), (tumor, 3, 1.0)):
        where = inside(shape, SIZE)
        rgb[where] = stained(SIZE, seed=seed + grain, grain_px=grain, strength=density * strength)[where]
    regions = Regions(items=(Region("tissue", whole, "stroma"), Region("tumor", tumor, "tumor")))
    return PixelsSlide(rgb, mpp=MPP, downsamples=(1, 4), path=Path(f"section{seed}.json")), regions


def blob(random: np.random.Generator, *, x: float, y: float, radius: float) -> Polygon:
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    reach = np.ones(200)
    for wave in range(2, 6):
        reach += random.normal(0, 0.25 / wave) * np.cos(wave * angle + random.uniform(0, 2 * np.pi))
    return Polygon(np.stack([x + radius * reach * np.cos(angle), y + radius * reach * np.sin(angle)], axis=1))


def inside(shape: Polygon | MultiPolygon, size: Size, *, scale: float = 1.0) -> Mask:
    """Which pixel centres of a raster of pixels `scale` wide lie in a shape, by shapely."""
    y, x = (np.mgrid[0 : size.height, 0 : size.width] + 0.5) * scale
    shapely.prepare(shape)
    mask: Mask = shapely.contains_xy(shape, x, y)
    return mask


def true_classes(regions: Regions, size: Size, *, scale: float) -> NDArray[np.uint8]:
    """0 glass, 1 the first region, 2 the second, on a raster of pixels `scale` wide."""
    classes = np.zeros((size.height, size.width), np.uint8)
    for number, region in enumerate(regions.items, start=1):
        classes[inside(region.shape, size, scale=scale)] = number
    return classes


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a U-Net for "stroma" and "tumor", trained on three sections."""
    sections = [make_section(seed) for seed in (1, 2, 3)]
    config = SegmentConfig(
        mode="multiclass",
        labels=("stroma", "tumor"),
        width=8,
        mpp=16.0,
        patch_px=32,
        epochs=8,
        patches=160,
        learning_rate=5e-3,
        device="cpu",
    )
    out = tmp_path_factory.mktemp("models") / "unet"
    train(config, slides=[slide for slide, _ in sections], regions=[regions for _, regions in sections], out=out)
    return out


@pytest.fixture(scope="session")
def demo() -> Callable[[int], Section]:
    """The demo slide of a seed, with every piece of tissue as a region."""
    return make_demo


@lru_cache(maxsize=4)
def make_demo(seed: int) -> Section:
    made = DemoSlide(DEMO, mpp=DEMO_MPP, seed=seed)
    return PixelsSlide(made.block(0, 0, DEMO), mpp=DEMO_MPP, path=Path(f"demo{seed}.json")), tissue_of(made.truth)


def tissue_of(truth: DemoTruth) -> Regions:
    parts = sorted(truth.tissue.geoms, key=lambda part: part.bounds)
    return Regions(items=tuple(Region(f"tissue{number}", part, "tissue") for number, part in enumerate(parts)))


@pytest.fixture(scope="session")
def true_mask() -> Callable[..., Mask]:
    """Where any region is, by shapely."""

    def mask(regions: Regions, size: Size, *, scale: float) -> Mask:
        return true_classes(regions, size, scale=scale) > 0

    return mask


@pytest.fixture(scope="session")
def demo_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a U-Net for tissue, trained on the demo slides of two seeds."""
    slides = [make_demo(seed) for seed in (1, 2)]
    config = SegmentConfig(
        labels=("tissue",), width=4, mpp=8.0, patch_px=64, epochs=5, patches=96, learning_rate=5e-3, device="cpu"
    )
    out = tmp_path_factory.mktemp("models") / "tissue"
    train(config, slides=[slide for slide, _ in slides], regions=[regions for _, regions in slides], out=out)
    return out


@pytest.fixture(scope="session")
def demo_svs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Slide, Regions]]:
    """A demo slide that no model was trained on, as an SVS file, open; skipped where nothing writes or reads it."""
    pytest.importorskip("pyvips", reason="writing the demo slide needs pyvips")
    path = tmp_path_factory.mktemp("slides") / "demo21.svs"
    truth = write_demo_slide(path, size=DEMO, mpp=DEMO_MPP, seed=21)
    try:
        slide = open_slide(path)
    except UnsupportedSlide:
        pytest.skip("no installed reader opens an SVS; install slideloom-openslide or slideloom-vips")
    with slide:
        yield slide, tissue_of(truth)
