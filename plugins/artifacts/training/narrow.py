"""Make the networks to ship of the wide ones of `train.py`: half the time, and no worse on origins held out.

usage: python narrow.py --data fields.npz --wide FOLDER --out FOLDER [--pictures 10000] [--steps 120]

FOLDER of `--wide` is what `train.py` wrote. Each network, of a fold or to ship, begins as the wide one with the
convolutions on the way up brought down to the few combinations of channels that matter most to them. Then it learns on,
from the labels and from what the wide one answers, on the same pictures: those of a fold never come from an origin that
the fold holds out. A processor is enough. Same seeds, same pictures and order.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from fields import CLASSES, IGNORE
from measure import examined, summed
from pictures import FOLDS, Pictures
from safetensors.torch import load, load_file, save, save_file
from slideloom_artifacts.network import ArtifactNet, as_input
from torch import Tensor
from torch.nn import functional
from train import class_weights, turned
from wide import WideNet, joined

log = logging.getLogger("narrow")
WIDE_SHARE = 0.5  # of the loss, that is by the answers of the wide network
WEIGHED = 64  # pictures by which channels are weighed
_given: tuple[argparse.Namespace, Pictures]


def wide_net(weights: dict[str, Tensor]) -> WideNet:
    """A network of `train.py` for use."""
    net = WideNet(len(CLASSES))
    state = {name: value.float() for name, value in weights.items()}
    counters = {name: value for name, value in net.state_dict().items() if name.endswith("num_batches_tracked")}
    net.load_state_dict({**counters, **state})
    return net.fused()


def narrowed(wide: WideNet, rgb: Tensor) -> ArtifactNet:
    """A network whose answers are near those of the wide one.

    Args:
        wide: fused.
        rgb: (N, H, W, 3) uint8, pictures by which channels are weighed.
    """
    net = ArtifactNet(len(CLASSES))
    own = net.state_dict()
    own.update({name: value for name, value in wide.state_dict().items() if name.split(".")[0] != "up"})
    net.load_state_dict(own)
    with torch.inference_mode():
        found = [wide.stem(as_input(rgb))]
        for step in wide.down:
            found += [step(found[-1])]
        deep = found.pop()
        parts = []
        for step in wide.up:
            both = joined(deep, found.pop())
            parts.append((both.mean(dim=(0, 2, 3)), _covariance(both)))
            deep = step(both)
    with torch.no_grad():
        for step, (mean, covariance), whole in zip(net.up, parts, wide.up, strict=True):
            weight, bias = whole[0].weight, whole[0].bias
            reduce, widen = _factors(weight, covariance, step.coarse.out_channels)
            coarse = step.coarse.in_channels
            step.coarse.weight.copy_(reduce[:, :coarse, None, None])
            step.fine.weight.copy_(reduce[:, coarse:, None, None])
            step.coarse.bias.copy_(-reduce @ mean)
            step.both[0].weight.copy_(torch.einsum("oihw,in->onhw", weight, widen))
            step.both[0].bias.copy_(bias + torch.einsum("oihw,i->o", weight, mean))
    return net


def _covariance(pixels: Tensor) -> Tensor:
    """(C, C) of the channels of (B, C, H, W)."""
    flat = pixels.transpose(0, 1).flatten(1)
    return torch.cov(flat)


def _factors(weight: Tensor, covariance: Tensor, narrow: int) -> tuple[Tensor, Tensor]:
    """Matrices (narrow, C) and (C, narrow) whose product loses least of what a convolution gives.

    The least squares of its outputs, with inputs of this covariance: singular vectors of the weights times its square
    root. Neighbouring pixels are taken as independent.
    """
    inputs = weight.shape[1]
    values, vectors = torch.linalg.eigh(covariance.double() + 1e-6 * torch.eye(inputs, dtype=torch.double))
    root = vectors @ torch.diag(values.sqrt()) @ vectors.T
    inverse = vectors @ torch.diag(values.rsqrt()) @ vectors.T
    flat = weight.double().permute(0, 2, 3, 1).reshape(-1, inputs)
    _, _, right = torch.linalg.svd(flat @ root, full_matrices=False)
    kept = right[:narrow]
    return (kept @ inverse).float(), (root @ kept.T).float()


def learned(
    net: ArtifactNet, wide: WideNet, pictures: Pictures, at: Tensor, *, steps: int, batch: int, seed: int, rate: float
) -> None:
    """Train a network on, by the labels of the pictures with these numbers and by the wide network."""
    device = at.device
    net.to(device, memory_format=torch.channels_last).train()
    wide.to(device, memory_format=torch.channels_last)
    weights = class_weights(pictures.marks[at])
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps, pct_start=0.2)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    for done in range(1, steps + 1):
        if len(order) < batch:
            order = torch.randperm(len(at), generator=generator)
        chosen, order = at[order[:batch].to(device)], order[batch:]
        inputs, marks = turned(as_input(pictures.rgb[chosen]), pictures.marks[chosen].long(), generator)
        with torch.autocast(device_type=device.type, dtype=torch.bfloat16):
            with torch.no_grad():
                told = wide(inputs)
            scores = net(inputs)
        scores = scores.float()
        by_labels = functional.cross_entropy(scores, marks, weight=weights, ignore_index=IGNORE, label_smoothing=0.02)
        apart = functional.kl_div(
            scores.log_softmax(dim=1), told.float().log_softmax(dim=1), reduction="none", log_target=True
        ).sum(dim=1)
        loss = (1 - WIDE_SHARE) * by_labels + WIDE_SHARE * apart.mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if done % 20 == 0:
            losses = by_labels.item(), apart.mean().item()
            log.info("  step %d: loss %.3f by labels, %.4f by the wide network", done, *losses)
    net.eval()


def narrow_one(number: int) -> dict | None:
    """Narrow one network and store it; of a fold's, give the figures on the origins that it holds out.

    Args:
        number: of the fold; `len(FOLDS)` for the network to ship.
    """
    chosen, pictures = _given
    torch.set_num_threads(1)
    is_fold = number < len(FOLDS)
    if is_fold:
        with zipfile.ZipFile(chosen.wide / "wide-folds.zip") as stored:
            weights = load(stored.read(f"weights/fold-{number}.safetensors"))
        which = np.flatnonzero(~np.isin(pictures.origin, FOLDS[number]))
    else:
        weights, which = load_file(chosen.wide / "wide.safetensors"), np.arange(len(pictures.labels))
    wide, at = wide_net(weights), torch.from_numpy(which).to(pictures.device)
    net = narrowed(wide, pictures.rgb[at[:WEIGHED]].cpu())
    learned(
        net, wide, pictures, at,
        steps=chosen.steps, batch=chosen.batch, seed=chosen.seed + number, rate=chosen.rate,
    )  # fmt: skip
    state = {name: value.cpu().contiguous() for name, value in net.state_dict().items()}
    if not is_fold:
        save_file(state, str(chosen.out / "artifacts.safetensors"), metadata={"classes": ",".join(CLASSES), "mpp": "4"})
        return None
    with zipfile.ZipFile(chosen.out / f"fold-{number}.zip", "w", zipfile.ZIP_DEFLATED) as examples:
        examples.writestr(f"weights/fold-{number}.safetensors", save(state))
        report = examined(net, number, pictures, examples)
    log.info("fold %s: %s", FOLDS[number], json.dumps(report["simulated"]))
    return report


def main() -> None:
    """Narrow all networks, and report."""
    global _given  # noqa: PLW0603 - inherited by the workers, who are forked
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--wide", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=10000)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rate", type=float, default=3e-4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=min(7, os.cpu_count() or 1))
    chosen = parser.parse_args()
    started = time.monotonic()
    chosen.out.mkdir(parents=True, exist_ok=True)
    pictures = Pictures.of(chosen.data, chosen.pictures, seed=chosen.seed, workers=chosen.workers)
    _given = chosen, pictures
    numbers = (len(FOLDS), *range(len(FOLDS)))
    if pictures.device == "cpu":
        with multiprocessing.get_context("fork").Pool(min(chosen.workers, len(numbers))) as pool:
            _, *folds = pool.map(narrow_one, numbers, chunksize=1)
    else:
        _, *folds = map(narrow_one, numbers)
    with zipfile.ZipFile(chosen.out / "artifacts-folds.zip", "w", zipfile.ZIP_DEFLATED) as together:
        for number in range(len(FOLDS)):
            with zipfile.ZipFile(chosen.out / f"fold-{number}.zip") as own:
                for name in own.namelist():
                    together.writestr(name, own.read(name))
    options = {name: getattr(chosen, name) for name in ("pictures", "steps", "batch", "rate", "seed")}
    report = {
        "classes": CLASSES, "device": pictures.device, "options": options, **summed(folds),
        "seconds": round(time.monotonic() - started), "folds": folds,
    }  # fmt: skip
    (chosen.out / "artifacts-report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    log.info("%s", json.dumps({name: report[name] for name in ("simulated", "real", "seconds")}))


if __name__ == "__main__":
    main()
