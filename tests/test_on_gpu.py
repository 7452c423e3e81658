"""What runs on a GPU gives the results of the CPU. Skipped where PyTorch sees no CUDA device (`nox -s bench_gpu`)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from slideloom import Size, Slide, StainNormalizer, open_slide
from slideloom_testing import DemoSlide, stained

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
if not torch.cuda.is_available():
    pytest.skip("PyTorch sees no CUDA device", allow_module_level=True)

GPU = "cuda:0"
METHODS = ["macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask", "vahadane"]
SIDE, TILE, MPP = 2048, 256, 0.5


@pytest.fixture(scope="module")
def tiles() -> NDArray[np.uint8]:
    """(8, 299, 299, 3), one of them glass, which cannot be measured."""
    made = [stained(Size(299, 299), seed=seed) for seed in range(7)]
    return np.stack([*made, np.full_like(made[0], 243)])


@pytest.fixture(scope="module")
def slide_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A demo slide as a tiled TIFF, its lower half out of focus."""
    cv2 = pytest.importorskip("cv2")
    size = Size(SIDE, SIDE)
    rgb = np.array(DemoSlide(size, mpp=MPP).block(0, 0, size))
    rgb[SIDE // 2 :] = cv2.blur(rgb[SIDE // 2 :], (25, 25))
    path = tmp_path_factory.mktemp("slides") / "half.tif"
    corners = [(y, x) for y in range(0, SIDE, TILE) for x in range(0, SIDE, TILE)]
    quality = [cv2.IMWRITE_JPEG_QUALITY, 95]
    tiles = (cv2.imencode(".jpg", rgb[y : y + TILE, x : x + TILE, ::-1], quality)[1].tobytes() for y, x in corners)
    tifffile.imwrite(
        path, tiles, shape=rgb.shape, dtype=np.uint8, tile=(TILE, TILE), compression="jpeg", photometric="ycbcr",
        subsampling=(2, 2), resolution=(1e4 / MPP, 1e4 / MPP), resolutionunit="CENTIMETER",
    )  # fmt: skip
    return path


@pytest.fixture
def slide(slide_path: Path) -> Iterator[Slide]:
    with open_slide(slide_path) as opened:
        yield opened


def farthest(a: object, b: object) -> float:
    return float(np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64)).max())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("planar", [False, True])
def test_a_normalizer_gives_the_pixels_of_numpy(name: str, planar: bool, tiles: NDArray[np.uint8]) -> None:
    normalizer = StainNormalizer(name)
    x = torch.from_numpy(tiles)
    x = x.permute(0, 3, 1, 2) if planar else x

    out, ok = normalizer.torch().to(GPU).normalize(x.to(GPU))

    assert out.device == torch.device(GPU)
    assert ok.tolist() == [True] * 7 + [False]
    assert farthest((out.permute(0, 2, 3, 1) if planar else out).cpu(), normalizer.transform(tiles)) <= 1


@pytest.mark.parametrize("name", METHODS)
def test_floating_images_give_the_pixels_of_numpy(name: str, tiles: NDArray[np.uint8]) -> None:
    normalizer = StainNormalizer(name)

    out = normalizer.torch().to(GPU)(torch.from_numpy(tiles).to(GPU).float() / 255)

    assert farthest(out.cpu() * 255, normalizer.transform(tiles)) <= 1


@pytest.mark.parametrize("name", ["macenko", "reinhard-fast", "hsv-augment"])
def test_a_tile_gets_the_draw_that_it_gets_on_the_cpu(name: str, tiles: NDArray[np.uint8]) -> None:
    normalizer, index = StainNormalizer(name, seed=9), np.arange(7)

    out = normalizer.torch(augment="own").to(GPU)(torch.from_numpy(tiles[:7]).to(GPU), torch.from_numpy(index))

    assert farthest(out.cpu(), normalizer.augment(tiles[:7], index)) <= 1


def test_deepfocus_gives_the_scores_of_the_cpu(slide: Slide) -> None:
    from slideloom_deepfocus import DeepFocus

    on_gpu, on_cpu = (DeepFocus(device=device).build()(slide, threshold=False).values for device in (GPU, "cpu"))

    assert np.array_equal(np.isnan(on_gpu), np.isnan(on_cpu))
    assert farthest(np.nan_to_num(on_gpu), np.nan_to_num(on_cpu)) <= 0.01


def test_a_segmentation_gives_the_probabilities_of_the_cpu(slide: Slide) -> None:
    from slideloom_segmentation.model import Facts, SegmentModel
    from slideloom_segmentation.networks import build_network

    facts = Facts("unet", 16, ("background", "tissue"), is_binary=True, mpp=2.0, patch_px=256)
    maps = []
    for device in (GPU, "cpu"):
        torch.manual_seed(3)
        model = SegmentModel(facts, build_network("unet", width=16, outputs=1), torch.device(device))
        maps.append(np.concatenate([band for _, band in model.bands(slide)], axis=1))

    assert farthest(*maps) <= 0.01


@pytest.mark.parametrize(("half", "most"), [(False, 1), (True, 2)])
def test_cyclegan_gives_the_pixels_of_the_cpu(half: bool, most: int, tiles: NDArray[np.uint8], tmp_path: Path) -> None:
    from slideloom_cyclegan import CycleGan, CycleGanNormalizer, ResnetGenerator

    path = tmp_path / "he2mt.pth"
    torch.manual_seed(0)
    torch.save(ResnetGenerator().state_dict(), path)
    on_gpu, on_cpu = (
        CycleGanNormalizer(CycleGan(weights=path, direction="he2mt", device=device, half=half)).transform(tiles[:2])
        for device in (GPU, "cpu")
    )

    assert farthest(on_gpu, on_cpu) <= most


def test_two_processes_share_the_gpu_and_keep_the_tiles_of_the_cpu(slide_path: Path, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("a", "b", "c"):
        (slides / f"{name}.tif").write_bytes(slide_path.read_bytes())
    kept = {}
    for device, jobs in (("auto", "2"), ("cpu", "1")):
        out = tmp_path / device
        words = ["--tile-px", "128", "--tile-um", "64", "--qc", f"deepfocus:device={device}", "--jobs", jobs]
        command = [sys.executable, "-m", "slideloom", "extract", str(slides), "--out", str(out), *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        reports = sorted(out.glob("slideloom/*/slides/*.json"))
        found = [json.loads(report.read_text(encoding="utf-8")) for report in reports]
        kept[device] = [(report["written"], report["rejected"]) for report in found]

    assert len(kept["cpu"]) == 3
    assert kept["auto"] == kept["cpu"]
    assert all(written and rejected["qc:deepfocus"] for written, rejected in kept["cpu"])


def test_a_segmentation_model_learns_on_the_gpu(tmp_path: Path) -> None:
    from shapely.geometry import Point
    from slideloom import Region, Regions
    from slideloom_segmentation import SegmentConfig, train
    from slideloom_testing import PixelsSlide

    slides, regions, reports = [], [], []
    y, x = np.mgrid[:800, :800]
    for seed in range(3):
        rgb = np.random.default_rng(seed).normal(243, 1.5, (800, 800, 3)).clip(0, 255).astype(np.uint8)
        inside = (x + 0.5 - 380) ** 2 + (y + 0.5 - 420) ** 2 < 220**2
        rgb[inside] = stained(Size(800, 800), seed=seed)[inside]
        slides.append(PixelsSlide(rgb, mpp=4.0, path=Path(f"section{seed}.json")))
        regions.append(Regions(items=(Region("tissue", Point(380, 420).buffer(220), "tissue"),)))
    config = SegmentConfig(width=8, mpp=16.0, patch_px=64, epochs=8, patches=160, learning_rate=5e-3, device=GPU)

    train(config, slides=slides, regions=regions, out=tmp_path / "model", progress=reports.append)

    assert reports[-1].val_iou > 0.9
