# ruff: noqa: T201 - a script prints
"""Tiles per second on a GPU, beside the CPU form and the copy to the GPU and back, in one run.

    python -m bench.gpu [--device cuda:0] [--batch 64] [--repeats 9] [--out DIR]

Every figure on the GPU includes both copies. The farthest that its pixels or scores are from those of the CPU stands
beside it. Networks have random weights where none are bundled: speed does not depend on them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from attrs import asdict, frozen
from numpy.typing import NDArray
from slideloom import Size, StainNormalizer
from slideloom_testing import stained

from bench.slides import ROOT
from bench.table import table

SIDE, PATCH = 299, 256
METHODS = (
    "macenko", "macenko-fast", "reinhard", "reinhard-fast", "reinhard-mask", "reinhard-fast-mask", "vahadane",
)  # fmt: skip
Array = NDArray[Any]


@frozen
class Row:
    """One line of the table.

    Attributes:
        what: the step, or the copy.
        gpu, cpu: tiles per second; the copy has no form on the CPU.
        farthest: largest difference of the GPU from the CPU: grey levels, or for scores 0 to 1.
    """

    what: str
    gpu: float
    cpu: float | None = None
    farthest: float | None = None


@frozen
class Machine:
    """Where and how often things are measured."""

    device: str
    batch: int
    repeats: int

    def per_second(self, work: Callable[[], Any], count: int) -> float:
        """`count` by the median time of several runs, after one that warms up."""
        import torch

        taken = []
        for _ in range(self.repeats + 1):
            torch.cuda.synchronize(self.device)
            start = time.perf_counter()
            work()
            torch.cuda.synchronize(self.device)
            taken.append(time.perf_counter() - start)
        return count / statistics.median(taken[1:])

    def both(self, what: str, gpu: Callable[[], Array], cpu: Callable[[], Array], *, share: int = 8) -> Row:
        """A row for work on a whole batch on the GPU, and on its first tiles on the CPU.

        Args:
            what: name of the row.
            gpu: result for `batch` tiles.
            cpu: result for the first `batch // share` of them.
            share: the CPU gets this part of the work, or one tile.
        """
        few = max(1, self.batch // share)
        far = np.abs(gpu()[:few].astype(np.float64) - cpu().astype(np.float64)).max()
        quick = Machine(self.device, self.batch, min(3, self.repeats))
        return Row(what, self.per_second(gpu, self.batch), quick.per_second(cpu, few), float(far))


def tiles(count: int, side: int) -> NDArray[np.uint8]:
    """(count, side, side, 3) uint8 stained tiles, each another one."""
    made = [stained(Size(side, side), seed=seed) for seed in range(min(count, 16))]
    return np.stack([np.roll(made[i % len(made)], 7 * i, axis=0) for i in range(count)])


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


def networks(here: Machine) -> Iterator[Row]:
    """DeepFocus, segmentation and CycleGAN through their steps."""
    yield from _focus(here)
    yield from _segmentation(here)
    yield from _cyclegan(here)


def _focus(here: Machine) -> Iterator[Row]:
    from slideloom_deepfocus import DeepFocus

    side = 64
    batch = tiles(here.batch, side)
    block = batch.reshape(-1, side, 3)
    gpu, cpu = (DeepFocus(device=device, framework="torch").build() for device in (here.device, "cpu"))
    few = max(1, here.batch // 4)
    yield here.both(
        f"deepfocus ({side} px)",
        lambda: gpu.scores_for(gpu.prepare(batch, block=block)),
        lambda: cpu.scores_for(cpu.prepare(batch[:few], block=block)),
        share=4,
    )


def _segmentation(here: Machine) -> Iterator[Row]:
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


def _cyclegan(here: Machine) -> Iterator[Row]:
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
    here = Machine(chosen.device, chosen.batch, chosen.repeats)
    rows = [*copies(here), *normalizers(here), *networks(here)]
    about = f"{torch.cuda.get_device_name(here.device)}, PyTorch {torch.__version__}, {torch.get_num_threads()} threads"
    print(f"{about}, batches of {here.batch}, medians of {here.repeats}; tiles of {SIDE} px per second\n")
    header = ["what", "GPU", "CPU", "ratio", "farthest"]
    print("\n".join(table(header, [_cells(row) for row in rows])))
    chosen.out.mkdir(parents=True, exist_ok=True)
    result = {"about": about, "batch": here.batch, "rows": [asdict(row) for row in rows]}
    (chosen.out / "gpu.json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return 0


def _cells(row: Row) -> list[str]:
    if row.cpu is None or row.farthest is None:
        return [row.what, f"{row.gpu:.0f}", "", "", ""]
    return [row.what, f"{row.gpu:.0f}", f"{row.cpu:.1f}", f"{row.gpu / row.cpu:.1f}", f"{row.farthest:.2g}"]


if __name__ == "__main__":
    raise SystemExit(main())
