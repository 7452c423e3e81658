"""Train the bundled focus model on real fields of many origins, and measure it on origins that it has not seen.

usage: python train_bundled.py --fields FOLDER_OR_ZIP --out FOLDER [--steps 4000 | --seconds 240] [--device cuda]

All networks learn from the same stream of tiles: one for each fold, which never sees the origins of that fold
(`fields.py`), and one that sees all. FOLDER gets `<architecture>.safetensors` with the last one, `folds-*.safetensors`
with the others and the scores of held-out tiles, and `metrics.json`.

One seed draws all tiles. With --steps, the same tiles are drawn on every run; kernels of a GPU add in no fixed order,
so that weights repeat closely but not to the bit. --seconds trains as many steps as fit and records how many. Needs
torch, safetensors, opencv; openslide, too, unless the fields were packed by `fields.py`.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch
from attrs import define, frozen
from defocus_tiles import MPP, TILE_PX, Maker, Source, chances, grid_places, plain_tiles, sources_of
from fields import FOLDS, fields_of
from numpy.typing import NDArray
from safetensors.numpy import save_file
from slideloom_deepfocus.centring import LEAST_CONTRAST
from slideloom_deepfocus.layers import ARCHITECTURES, COMPACT, Architecture
from slideloom_deepfocus.torch_network import FocusNet, arrays_of, network
from torch import Tensor

GROUP = 32  # tiles that are cut from one source at a time
GLASS = 0.06  # share of groups that are cut from glass
RATE = 2e-3
CONDITIONS = (  # radius of defocus in microns, and by how much the stated mpp is off
    *((radius, 1.0) for radius in (0.0, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)),
    (0.0, 0.667), (3.0, 0.667), (0.0, 1.5), (3.0, 1.5),
)  # fmt: skip

log = logging.getLogger("train_bundled")


@frozen
class Plan:
    """How long to train: a number of steps, or seconds."""

    steps: int | None
    seconds: float

    def progress(self, step: int, elapsed: float) -> float:
        """0 at the start, 1 at the end."""
        return step / self.steps if self.steps else elapsed / self.seconds


@define
class Student:
    """A network in training and the fold that it must not see (-1: it sees all)."""

    fold: int
    net: FocusNet
    optimiser: torch.optim.Optimizer
    loss: float = 0.7


def student_of(table: Architecture, fold: int, seed: int, device: torch.device) -> Student:
    """A new network."""
    torch.manual_seed(seed)
    net = FocusNet(table).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    for norm in [*net.conv_norms, *net.dense_norms]:
        norm.momentum = 0.02  # the running figures are what prediction uses
    return Student(fold, net.train(), torch.optim.AdamW(net.parameters(), lr=RATE, weight_decay=2e-2))


def input_of(tiles: Tensor) -> Tensor:
    """`slideloom_deepfocus.centring.contrasted`, for (B, 3, 64, 64)."""
    centred = tiles - tiles.mean((2, 3), keepdim=True)
    contrast = centred.square().mean((1, 2, 3), keepdim=True).sqrt().clamp_min(LEAST_CONTRAST)
    return (centred / contrast).contiguous(memory_format=torch.channels_last)


def rate_at(progress: float) -> float:
    """The learning rate: a linear start, then a cosine to nothing."""
    if progress < 0.05:
        return RATE * (0.05 + 0.95 * progress / 0.05)
    return RATE * 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - 0.05) / 0.95)))


def train(students: list[Student], sources: list[Source], plan: Plan, *, groups: int, seed: int) -> int:
    """Train all at once; the number of steps."""
    device = sources[0].pixels.device
    maker, chance = Maker(device, seed), chances([each for each in sources if each.field.role == "train"])
    tissue = [source for source in sources if source.field.role == "train"]
    glass = [source for source in sources if source.field.role == "glass"]
    started, step, progress = time.monotonic(), 0, 0.0
    while progress < 1:
        drawn = [
            glass[int(maker.choose.integers(len(glass)))]
            if maker.choose.random() < GLASS
            else tissue[int(maker.choose.choice(len(tissue), p=chance))]
            for _ in range(groups)
        ]
        with torch.no_grad():
            made = [maker.tiles(source, GROUP) for source in drawn]
            inputs = input_of(torch.cat([tiles for tiles, _ in made]))
            labels = torch.cat([label for _, label in made])
        folds = torch.tensor([source.field.fold for source in drawn], device=device).repeat_interleave(GROUP)
        for student in students:
            learn(student, inputs, labels, folds, rate_at(progress), report=step % 50 == 0)
        step += 1
        progress = plan.progress(step, time.monotonic() - started)
        if step % 50 == 1:
            losses = " ".join(f"{student.loss:.3f}" for student in students)
            log.info("step %d, %.0f%%, %.0f s, loss %s", step, 100 * progress, time.monotonic() - started, losses)
    return step


def learn(student: Student, inputs: Tensor, labels: Tensor, folds: Tensor, rate: float, *, report: bool) -> None:
    """One step on the tiles that the student may see."""
    seen = folds != student.fold
    if not seen.any():
        return
    for group in student.optimiser.param_groups:
        group["lr"] = rate
    with torch.autocast(inputs.device.type, torch.bfloat16):
        logits = student.net(inputs[seen]).float()
    target = torch.stack([1 - labels[seen], labels[seen]], 1)
    loss = torch.nn.functional.cross_entropy(logits, target)
    student.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    student.optimiser.step()
    if report:
        student.loss = float(loss.detach())


def logits_of(net: FocusNet, tiles: Tensor) -> NDArray[np.float32]:
    """(N,) log odds of being out of focus."""
    with torch.inference_mode():
        chance = torch.cat([net(input_of(tiles[start : start + 256]))[:, 1] for start in range(0, len(tiles), 256)])
    found: NDArray[np.float32] = torch.logit(chance.double(), eps=1e-12).float().cpu().numpy()
    return found


def measured(net: FocusNet, sources: list[Source], *, stride_um: float) -> dict[str, NDArray[np.float32]]:
    """Scores of tiles on a grid over the tissue of each source, by source and condition."""
    found = {}
    for source in sources:
        places = grid_places(source, stride_um=stride_um)
        if not len(places):
            log.warning("%s: no tissue on a grid of %g microns; not measured", source.field.name, stride_um)
            continue
        for radius, zoom in CONDITIONS:
            parts = [
                plain_tiles(source, places[start : start + 64], radius, zoom=zoom, quality=75.0)
                for start in range(0, len(places), 64)
            ]
            found[f"{source.field.name}|{radius:g}|{zoom:g}"] = logits_of(net, torch.cat(parts))
    return found


def auroc(negative: NDArray[np.float32], positive: NDArray[np.float32]) -> float:
    """Probability that a positive outranks a negative; ties count half."""
    ordered = np.sort(negative)
    low, high = (np.searchsorted(ordered, positive, side) for side in ("left", "right"))  # type: ignore[call-overload]
    return float(((low + high) / 2).mean() / len(negative))


def summary(scores: dict[str, NDArray[np.float32]]) -> dict[str, dict[str, float]]:
    """AUROC and false alarms of each source, from its scores.

    `alarms_at_90` is the share of sharp tiles above the score that 90% of the tiles with a disk of 3 um exceed.
    """
    result = {}
    for name in sorted({key.split("|")[0] for key in scores}):
        sharp = scores[f"{name}|0|1"]
        row: dict[str, float] = {"tiles": len(sharp), "sharp_called": float((sharp > 0).mean())}
        for radius, zoom in CONDITIONS:
            here = scores[f"{name}|{radius:g}|{zoom:g}"]
            label = f"{radius:g}um" + ("" if zoom == 1 else f"_mpp_x{zoom:g}")
            row[f"called_{label}"] = round(float((here > 0).mean()), 4)
            if radius and zoom == 1:
                row[f"auroc_{label}"] = round(auroc(sharp, here), 4)
        row["alarms_at_90"] = round(float((sharp > np.quantile(scores[f"{name}|3|1"], 0.1)).mean()), 4)
        result[name] = row
    return result


def shipped(net: FocusNet, device: torch.device) -> tuple[dict[str, NDArray[np.float16]], FocusNet]:
    """16-bit weights, and the network that they make: what is measured is what is shipped."""
    half = {name: array.astype(np.float16) for name, array in arrays_of(net).items()}
    rounded = network({name: array.astype(np.float32) for name, array in half.items()})
    return half, rounded.to(device)


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seconds", type=float, default=235.0)
    parser.add_argument("--architectures", nargs="+", default=[COMPACT.name])
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--groups", type=int, default=32, help="groups of 32 tiles in a step")
    parser.add_argument("--stride-um", type=float, default=32.0, help="grid of the measured tiles")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    started, device = time.monotonic(), torch.device(args.device)
    torch.backends.cudnn.allow_tf32 = False  # what is measured must be what a CPU computes
    sources = sources_of(fields_of(args.fields), device)
    log.info("%d sources in %.0f s", len(sources), time.monotonic() - started)
    tables = [table for table in ARCHITECTURES if table.name in args.architectures]
    students = [student_of(table, fold, args.seed, device) for table in tables for fold in range(-1, FOLDS)]
    steps = train(students, sources, Plan(args.steps, args.seconds), groups=args.groups, seed=args.seed)
    log.info("%d steps, %.0f s", steps, time.monotonic() - started)
    args.out.mkdir(parents=True, exist_ok=True)
    metrics: dict[str, object] = {"steps": steps, "tiles": steps * args.groups * GROUP, "seed": args.seed}
    for table in tables:
        metrics[table.name] = written(table, [each for each in students if each.net.table is table], sources, args)
    metrics["seconds"] = round(time.monotonic() - started)
    (args.out / "metrics.json").write_text(json.dumps(metrics, indent=1) + "\n")


def written(
    table: Architecture, students: list[Student], sources: list[Source], args: argparse.Namespace
) -> dict[str, object]:
    """Write the weights of one architecture; its figures by held-out field, and those of the final network."""
    kept: dict[str, NDArray[np.generic]] = {}
    held_out: dict[str, NDArray[np.float32]] = {}
    seen: dict[str, NDArray[np.float32]] = {}
    for student in students:
        half, net = shipped(student.net, sources[0].pixels.device)
        here = [s for s in sources if s.field.role == "train" and student.fold in (-1, s.field.fold)]
        scores = measured(net, here, stride_um=args.stride_um)
        if student.fold < 0:
            seen = scores
            about = {"layout": table.name, "mpp": str(MPP), "tile_px": str(TILE_PX)}
            save_file(half, args.out / f"{table.name}.safetensors", metadata=about)
        else:
            held_out |= scores
            kept |= {f"fold{student.fold}/{name}": array for name, array in half.items()}
    kept |= {f"scores/{name}": array for name, array in held_out.items()}
    save_file(kept, args.out / f"folds-{table.name}.safetensors")
    figures = summary(held_out)
    log.info("%s, held out: %s", table.name, json.dumps(figures, indent=1))
    return {"held_out": figures, "seen": summary(seen)}


if __name__ == "__main__":
    main()
