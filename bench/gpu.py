# ruff: noqa: T201 - a script prints
"""Tiles per second on a GPU, beside the CPU form and the copy to the GPU and back, in one run.

    python -m bench.gpu [--device cuda:0] [--batch 64] [--repeats 9] [--out DIR]

Every figure on the GPU includes both copies. The farthest that its pixels or scores are from those of the CPU stands
beside it. Networks have random weights where none are bundled: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict
from numpy.typing import NDArray
from slideloom import StainNormalizer

from bench.gpu_loading import loaders
from bench.gpu_machine import SIDE, Array, Machine, Row, tiles
from bench.slides import ROOT
from bench.table import table
from bench.work import CORES

PATCH = 256
METHODS = (
    "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask", "vahadane",
)  # fmt: skip


def copies(here: Machine) -> Iterator[Row]:
    """A batch of uint8 tiles to the GPU and back, from memory that is page-locked and from memory that is not."""
    import torch

    batch = torch.from_numpy(tiles(here.batch, SIDE))
    locked = batch.pin_memory()
    yield Row("copy there and back", here.per_second(lambda: batch.to(here.device).cpu(), here.batch))
    back = torch.empty_like(batch).pin_memory()

    def quick() -> None:
        back.copy_(locked.to(here.device, non_blocking=True), non_blocking=True)

    yield Row("copy, page-locked", here.per_second(quick, here.batch))


def normalizers(here: Machine) -> Iterator[Row]:
    """Every stain method: tensors on the GPU, numpy on all cores."""
    import torch

    batch = tiles(here.batch, SIDE)
    tensors = torch.from_numpy(batch)
    for name in METHODS:
        normalizer = StainNormalizer(name)
        form, share = normalizer.torch(native=True).to(here.device), 16 if name == "vahadane" else 4
        few = tensors[: max(1, here.batch // share)]
        yield here.both(
            name,
            lambda f=form: f(tensors.to(here.device)).cpu().numpy(),  # type: ignore[misc]
            lambda n=normalizer, few=few: n.transform(few).numpy(),  # type: ignore[misc]
            share=share,
        )


def focus(here: Machine) -> Iterator[Row]:
    """DeepFocus's network at its own input size, prepared by the CPU; the batches of its step."""
    from slideloom_deepfocus import DeepFocus
    from slideloom_deepfocus.deepfocus import deepfocus_step
    from slideloom_deepfocus.layers import TILE_PX

    batch = tiles(4 * here.batch, TILE_PX)
    gpu, cpu = (
        deepfocus_step(DeepFocus(device=device, framework="torch", batch=4 * here.batch))
        for device in (here.device, "cpu")
    )
    many = Machine(here.device, len(batch), here.repeats)
    few = batch[: max(1, len(batch) // 4)]
    yield many.both(f"deepfocus ({TILE_PX} px)", lambda: gpu.scores_for(batch), lambda: cpu.scores_for(few), share=4)


def artifacts(here: Machine) -> Iterator[Row]:
    """Megapixels of the 4 um grid per second: the step over a slide in memory; medians of 3, and one run on the CPU."""
    from attrs import evolve
    from slideloom_artifacts import Artifacts
    from slideloom_testing import PixelsSlide, scene_of

    side = 3072  # 16 blocks
    slide = PixelsSlide(np.concatenate([np.concatenate(list(row), axis=1) for row in _mosaic(side)]), mpp=4.0)
    scene = evolve(scene_of(mpp=4.0), threads=_threads())
    most = side * side / 1e6

    def measured(device: str, batch: int, repeats: int) -> tuple[float, Array]:
        step, found = Artifacts(device=device, batch=batch).build(), list[Array]()
        machine = Machine(here.device, here.batch, min(repeats, here.repeats))
        rate = machine.per_second(lambda: found.append(np.asarray(step.assess(slide, scene).labels)), most)
        return rate, found[-1]

    cpu, expected = measured("cpu", 1, 1)
    for batch in (1, 4):
        gpu, labels = measured(here.device, batch, 3)
        what = f"artifacts, {batch} blocks at once (Mpx; share of cells with another class)"
        yield Row(what, gpu, cpu, float((labels != expected).mean()))


def _mosaic(side: int) -> NDArray[np.uint8]:
    """(rows, columns, 512, 512, 3) stained tiles, for a picture of `side` pixels."""
    count = side // 512
    return tiles(count * count, 512).reshape(count, count, 512, 512, 3)


def _threads() -> int:
    import torch

    return torch.get_num_threads()


def features(here: Machine) -> Iterator[Row]:
    """An encoder of the shape of ViT-S/16 with random weights, as its sink calls it: float32, and half precision."""
    from slideloom_features import Features
    from slideloom_features.loading import encoder_of

    batch = tiles(here.batch, 224)
    few = batch[: max(1, here.batch // 16)]
    with tempfile.TemporaryDirectory() as folder:
        code = Path(folder) / "vit.py"
        code.write_text(_ENCODER, encoding="utf-8")
        known: dict[str, Any] = {"factory": "encoder", "code": code}
        cpu = encoder_of(Features(device="cpu", **known))
        for precision in ("full", "half"):
            gpu = encoder_of(Features(device=here.device, precision=precision, **known))
            yield here.both(
                f"features, ViT-S/16 shape (224 px), {precision} precision",
                lambda g=gpu: g(batch),  # type: ignore[misc]
                lambda: cpu(few),
                share=16,
            )


_ENCODER = """
import torch
from torch import nn

class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 384, 16, stride=16)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(384, 6, 1536, activation="gelu", batch_first=True, norm_first=True)
            for _ in range(12)
        )

    def forward(self, pixels):
        tokens = self.patches(pixels).flatten(2).transpose(1, 2)
        for layer in self.layers:
            tokens = layer(tokens)
        return tokens.mean(dim=1)

def encoder():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Encoder()
"""


def rounded(here: Machine) -> Iterator[Row]:
    """The same convolutions with and without TF32, which `slideloom.computing` does not let a GPU use."""
    import torch
    from slideloom import computing
    from slideloom_artifacts.artifacts import _network
    from slideloom_artifacts.network import as_input

    net = _network(here.device)._net
    blocks = as_input(torch.from_numpy(tiles(4, 1088)).to(here.device))

    def run() -> Array:
        with torch.inference_mode():
            found: Array = net(blocks, margin=64).softmax(dim=1).cpu().numpy()
        return found

    def exactly() -> Array:
        with computing(torch.device(here.device)):
            return run()

    far, count = float(np.abs(run() - exactly()).max()), 4 * 1.088**2
    yield Row("artifacts' network alone, float32 (Mpx)", here.per_second(exactly, count))
    yield Row("the same with TF32 (Mpx; farthest from float32)", here.per_second(run, count), None, far)


def segmentation(here: Machine) -> Iterator[Row]:
    """Its networks with random weights."""
    import torch
    from slideloom_segmentation.model import Facts, SegmentModel
    from slideloom_segmentation.networks import build_network

    batch = tiles(here.batch, PATCH)
    few = batch[: max(1, here.batch // 16)]
    for arch in ("unet", "fpn", "deeplabv3plus"):
        torch.manual_seed(0)
        facts = Facts(arch, 32, ("background", "tumour", "stroma"), is_binary=False, mpp=2.0, patch_px=PATCH)
        state = build_network(arch, width=32, outputs=facts.outputs).state_dict()

        def model(device: str, facts: Facts = facts, state: Any = state) -> SegmentModel:
            network = build_network(facts.arch, width=facts.width, outputs=facts.outputs)
            network.load_state_dict(state)
            return SegmentModel(facts, network, torch.device(device))

        gpu, cpu = model(here.device), model("cpu")
        yield here.both(
            f"segmentation {arch} ({PATCH} px)",
            lambda g=gpu: g.probabilities(batch),  # type: ignore[misc]
            lambda c=cpu: c.probabilities(few),  # type: ignore[misc]
            share=16,
        )


def cyclegan(here: Machine) -> Iterator[Row]:
    """Its generator with random weights, in float32 and in half precision."""
    import torch
    from slideloom_cyclegan import CycleGan, CycleGanNormalizer, ResnetGenerator

    count = min(here.batch, 16)
    batch = tiles(count, SIDE)
    few = Machine(here.device, count, here.repeats)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "he2mt.pth"
        torch.manual_seed(0)
        torch.save(ResnetGenerator().state_dict(), path)
        cpu = CycleGanNormalizer(CycleGan(weights=path, direction="he2mt", device="cpu"))
        for half in (False, True):
            gpu = CycleGanNormalizer(
                CycleGan(weights=path, direction="he2mt", device=here.device, half=half, batch=count)
            )
            yield few.both(
                f"cyclegan{', half precision' if half else ''}",
                lambda g=gpu: g.transform(batch),  # type: ignore[misc]
                lambda: cpu.transform(batch[:1]),
                share=count,
            )


def main(words: list[str] | None = None) -> int:
    """Print the table, and store it as JSON; where there is no GPU, say so."""
    parser = argparse.ArgumentParser(prog="python -m bench.gpu", description=__doc__)
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--batch", type=int, default=64, help="tiles at once")
    parser.add_argument("--repeats", type=int, default=9, help="runs per median")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-results", help="folder of the results")
    chosen = parser.parse_args(words)
    import torch

    if not torch.cuda.is_available():
        print("bench.gpu is skipped: PyTorch sees no CUDA GPU on this machine")
        return 0
    torch.set_num_threads(CORES)  # whatever OMP_NUM_THREADS says
    here = Machine(chosen.device, chosen.batch, chosen.repeats)
    about = f"{torch.cuda.get_device_name(here.device)}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads"
    chosen.out.mkdir(parents=True, exist_ok=True)
    rows: list[Row] = []
    failed = 0
    for section in (copies, normalizers, focus, artifacts, features, rounded, loaders, segmentation, cyclegan):
        start = time.perf_counter()
        try:
            for row in section(here):
                rows.append(row)
                _store(chosen.out / "gpu.json", about, here, rows)
        except Exception:  # the other sections are measured all the same
            failed += 1
            traceback.print_exc()
        print(f"{section.__name__}: {time.perf_counter() - start:.0f} s", flush=True)
    print(f"\n{about}, batches of {here.batch}, medians of {here.repeats}; tiles of {SIDE} px per second\n")
    header = ["what", "GPU", "CPU", "ratio", "farthest"]
    print("\n".join(table(header, [_cells(row) for row in rows])))
    return 1 if failed else 0


def _store(path: Path, about: str, here: Machine, rows: list[Row]) -> None:
    result = {"about": about, "batch": here.batch, "rows": [asdict(row) for row in rows]}
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def _cells(row: Row) -> list[str]:
    cpu = ["", ""] if row.cpu is None else [f"{row.cpu:.1f}", f"{row.gpu / row.cpu:.1f}"]
    return [row.what, f"{row.gpu:.0f}", *cpu, "" if row.farthest is None else f"{row.farthest:.2g}"]


if __name__ == "__main__":
    raise SystemExit(main())
