"""What runs on a GPU gives the results of the CPU. Skipped where PyTorch sees no CUDA device (`nox -s bench_gpu`)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import slideloom as sl
from numpy.typing import NDArray
from slideloom import PluginError, Size, Slide, StainNormalizer, open_slide
from slideloom_testing import DemoSlide, scene_of, stained

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
    tifffile.imwrite(
        path, rgb, tile=(TILE, TILE), photometric="rgb", resolution=(1e4 / MPP, 1e4 / MPP),
        resolutionunit="CENTIMETER",
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


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("trained_with", ["tf32", "autocast"])
def test_what_training_allows_its_network_changes_no_pixel(
    name: str, trained_with: str, tiles: NDArray[np.uint8]
) -> None:
    form, x = StainNormalizer(name).torch().to(GPU), torch.from_numpy(tiles).to(GPU)
    expected = form(x)
    before = torch.get_float32_matmul_precision()

    try:
        torch.set_float32_matmul_precision("high" if trained_with == "tf32" else before)
        with torch.autocast("cuda", dtype=torch.bfloat16, enabled=trained_with == "autocast"):
            found = form(x)
    finally:
        torch.set_float32_matmul_precision(before)

    assert torch.equal(found, expected)


def test_an_image_of_float16_is_normalized_within_its_own_rounding(tiles: NDArray[np.uint8]) -> None:
    """float16 has steps of 1/2048 below 1, an eighth of a grey level; twice: what goes in, and what comes out."""
    normalizer = StainNormalizer("macenko")

    out = normalizer.torch().to(GPU)((torch.from_numpy(tiles).to(GPU).float() / 255).half())

    assert out.dtype == torch.float16
    assert farthest(out.float().cpu() * 255, normalizer.transform(tiles)) <= 2


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # PyTorch's own, and since Python 3.12 fork's
def test_a_loaders_batches_are_normalized_on_the_gpu_as_in_its_workers(slide_path: Path, tmp_path: Path) -> None:
    """Worker processes are forked here before and after this process uses the GPU: they use none."""
    slides = tmp_path / "slides"
    slides.mkdir()
    (slides / "a.tif").write_bytes(slide_path.read_bytes())
    project = sl.Project.create(tmp_path / "project", slides=slides)
    project.extract_tiles(128, 64, jobs=1, report=False)
    dataset = project.dataset(128, 64)
    normalizer = StainNormalizer("macenko")
    form = normalizer.torch().to(GPU)
    asked = {"shuffle": False, "num_workers": 2}

    plain = dataset.torch(batch_size=16, pin_memory=True, **asked)
    on_gpu = torch.cat([form(batch.to(GPU, non_blocking=True)).cpu() for batch in plain])
    in_workers = torch.cat(list(dataset.torch(batch_size=16, normalizer=normalizer, **asked)))

    assert len(on_gpu) > 50
    assert farthest(on_gpu, in_workers) <= 1


def test_artifacts_are_those_of_the_cpu(slide_path: Path) -> None:
    """On a 4 um grid the slide is one block; at 1 um it is several, and several at once are in a batch."""
    from slideloom_artifacts import Artifacts

    for mpp, batch in ((4.0, 1), (1.0, 2)):
        labels = []
        for device in (GPU, "cpu"):
            with open_slide(slide_path) as opened:
                found = Artifacts(device=device, mpp=mpp, batch=batch).build().assess(opened, scene_of(mpp=MPP))
            assert found.labels is not None
            labels.append(np.asarray(found.labels))

        # Where two classes are equally likely, rounding decides.
        assert (labels[0] != labels[1]).mean() < 0.001
        assert len(np.unique(labels[1])) > 1


def test_a_strided_model_gives_the_scores_of_the_cpu(slide: Slide) -> None:
    from slideloom_deepfocus import StridedModelQC, StridedModelSettings

    torch.manual_seed(4)
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 64, 7, stride=4), torch.nn.ReLU(), torch.nn.Conv2d(64, 64, 3), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(64, 1),
    )  # fmt: skip
    maps = [
        StridedModelQC(network, StridedModelSettings(tile_px=128, tile_um=128.0, device=device))(slide, threshold=False)
        for device in (GPU, "cpu")
    ]

    assert maps[1].visited.any()
    assert np.array_equal(maps[0].visited, maps[1].visited)
    np.testing.assert_allclose(maps[0].values, maps[1].values, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def encoder_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A factory of a network with convolutions and matrix products, as encoders have; made weights, 64 features."""
    path = tmp_path_factory.mktemp("encoder") / "made_encoder.py"
    path.write_text(
        "import torch\n"
        "from torch import nn\n"
        "def encoder():\n"
        "    with torch.random.fork_rng(devices=[]):\n"
        "        torch.manual_seed(6)\n"
        "        layer = nn.TransformerEncoderLayer(64, 4, 128, batch_first=True, norm_first=True)\n"
        "        return nn.Sequential(nn.Conv2d(3, 64, 16, stride=16), nn.Flatten(2), Turned(), layer, Mean()).eval()\n"
        "class Turned(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.transpose(1, 2)\n"
        "class Mean(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x.mean(dim=1)\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize(("precision", "most"), [("full", 1e-5), ("half", 1e-2)])
def test_features_are_those_of_the_cpu(
    precision: Literal["full", "half"], most: float, encoder_file: Path, tiles: NDArray[np.uint8]
) -> None:
    """TF32 would be off by 1e-3: relative to the largest feature, float32 is not."""
    from slideloom_features import Features
    from slideloom_features.loading import encoder_of

    cut = np.ascontiguousarray(tiles[:, :224, :224])
    on_cpu = encoder_of(Features(factory="encoder", code=encoder_file, device="cpu"))(cut)
    settings = Features(factory="encoder", code=encoder_file, device=GPU, precision=precision)
    before = torch.get_float32_matmul_precision()

    try:
        torch.set_float32_matmul_precision("high")  # as a program that trains beside it
        on_gpu = encoder_of(settings)(cut)
        after = torch.get_float32_matmul_precision()
    finally:
        torch.set_float32_matmul_precision(before)

    assert after == "high"
    assert farthest(on_gpu, on_cpu) <= most * np.abs(on_cpu).max()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch.onnx, for its older way
def test_an_onnx_model_on_the_gpu_gives_the_features_of_the_cpu(tmp_path: Path, tiles: NDArray[np.uint8]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx, which stores the model, is not installed")
    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no CUDA")
    from slideloom_features import Features
    from slideloom_features.loading import encoder_of

    path = tmp_path / "made.onnx"
    torch.manual_seed(7)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 64, 16, stride=16), torch.nn.Flatten(2), torch.nn.Linear(196, 8))
    network = torch.nn.Sequential(network, torch.nn.Flatten(1)).eval()
    torch.onnx.export(network, (torch.zeros(8, 3, 224, 224),), path, dynamo=False, input_names=["pixels"])
    cut = np.ascontiguousarray(tiles[:, :224, :224])

    on_gpu, on_cpu = (encoder_of(Features(model=path, device=device))(cut) for device in ("cuda", "cpu"))

    assert farthest(on_gpu, on_cpu) <= 1e-5 * np.abs(on_cpu).max()


def test_memory_that_runs_out_is_an_error_with_the_remedy_and_the_gpu_goes_on(tiles: NDArray[np.uint8]) -> None:
    """A batch that needs 256 TiB; no card has that, so nothing is taken."""
    from slideloom_deepfocus import StridedModelQC, StridedModelSettings

    class Hungry(torch.nn.Module):
        def forward(self, x: object) -> object:
            return torch.empty((1 << 20, 1 << 20, 1 << 6), dtype=torch.float32, device=GPU)

    step = StridedModelQC(Hungry(), StridedModelSettings(tile_px=299, device=GPU))

    with pytest.raises(PluginError, match=r"cuda:0 has too little memory .*; set a smaller batch"):
        step.scores_for(tiles[:2])
    assert torch.ones(3, device=GPU).sum().item() == 3


def test_a_process_forked_from_one_that_uses_the_gpu_is_told_so() -> None:
    code = (
        "import multiprocessing, sys, torch, slideloom\n"
        "def child():\n"
        "    try: slideloom.torch_device('auto')\n"
        "    except slideloom.ConfigError as error: print(error, flush=True)\n"
        "torch.ones(1, device='cuda')\n"
        "process = multiprocessing.get_context('fork').Process(target=child)\n"
        "process.start(); process.join(); sys.exit(process.exitcode)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    assert 'multiprocessing_context="spawn"' in done.stdout


def test_auto_is_the_gpu_and_without_one_that_may_be_seen_the_cpu() -> None:
    code = "import slideloom; print(slideloom.torch_device('auto'))"
    for seen, expected in (("0", "cuda:0"), ("", "cpu")):
        environment = {**os.environ, "CUDA_VISIBLE_DEVICES": seen}
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
        assert done.stdout.strip() == expected


def test_deepfocus_gives_the_scores_of_the_cpu(slide: Slide) -> None:
    from slideloom_deepfocus import DeepFocus

    on_gpu, on_cpu = (DeepFocus(device=device).build()(slide, threshold=False).values for device in (GPU, "cpu"))

    assert np.array_equal(np.isnan(on_gpu), np.isnan(on_cpu))
    assert farthest(np.nan_to_num(on_gpu), np.nan_to_num(on_cpu)) <= 1e-4


def test_a_segmentation_gives_the_probabilities_of_the_cpu(slide: Slide) -> None:
    from slideloom_segmentation.model import Facts, SegmentModel
    from slideloom_segmentation.networks import build_network

    facts = Facts("unet", 16, ("background", "tissue"), is_binary=True, mpp=2.0, patch_px=256)
    maps = []
    for device in (GPU, "cpu"):
        torch.manual_seed(3)
        model = SegmentModel(facts, build_network("unet", width=16, outputs=1), torch.device(device))
        maps.append(np.concatenate([band for _, band in model.bands(slide)], axis=1))

    assert farthest(*maps) <= 1e-4


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
