"""Train wide networks from nothing, and measure them on origins held out; `narrow.py` makes the bundled one of them.

usage: python train.py --data fields.npz --out FOLDER [--pictures 10000] [--fold-steps 1000] [--steps 3600]

`pack.py` makes the file of fields. Pictures are made once, each from its own seed and the tissue of one field. One
network is trained per fold, without any picture or field of the fold's origins, and measured on these; the last one is
trained on all origins whose licence allows it. Needs torch, numpy, opencv, safetensors and slideloom-artifacts.

Same seeds, same pictures and order; on a GPU the order of sums may change the last digits of the weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from fields import CLASSES, IGNORE
from measure import examined, summed
from pictures import FOLDS, Pictures
from safetensors.torch import save, save_file
from slideloom_artifacts.network import as_input
from torch import Tensor
from torch.nn import functional
from wide import WideNet

log = logging.getLogger("train")


def class_weights(labels: Tensor) -> Tensor:
    """(classes,) of the loss: rare ones count more."""
    counts = torch.bincount(labels.flatten().long(), minlength=256)[: len(CLASSES)].double()
    weights = (counts.sum() / counts.clamp(min=1)) ** 0.35
    return (weights / weights.mean()).float()


def turned(inputs: Tensor, marks: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pictures and labels, all of them turned and flipped alike, and each picture in another light."""
    turns, flips = torch.randint(4, (1,), generator=generator).item(), torch.rand(1, generator=generator).item() < 0.5
    inputs, marks = torch.rot90(inputs, turns, (2, 3)), torch.rot90(marks, turns, (1, 2))
    if flips:
        inputs, marks = inputs.flip(3), marks.flip(2)
    gain = 1 + 0.06 * torch.randn((len(inputs), 3, 1, 1), generator=generator).to(inputs.device)
    return (((inputs + 1) * gain).clamp(0, 2) - 1).contiguous(memory_format=torch.channels_last), marks


def trained(
    rgb: Tensor, labels: Tensor, *, steps: int, batch: int, seed: int, device: str, until: float
) -> tuple[WideNet, int]:
    """A network after `steps` steps on these pictures, and the number of steps done before the time was up."""
    torch.manual_seed(seed)
    net = WideNet(len(CLASSES)).to(device, memory_format=torch.channels_last)
    weights = class_weights(labels).to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-3, weight_decay=0.02)
    # pct_start of the steps warm up; then the rate falls along a cosine.
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.15)
    generator = torch.Generator(device="cpu").manual_seed(seed)
    order = torch.empty(0, dtype=torch.long)
    done = 0
    net.train()
    for done in range(1, steps + 1):
        if len(order) < batch:
            order = torch.randperm(len(rgb), generator=generator)
        chosen, order = order[:batch].to(rgb.device), order[batch:]
        inputs, marks = turned(as_input(rgb[chosen]), labels[chosen].long(), generator)
        with torch.autocast(device_type=torch.device(device).type, dtype=torch.bfloat16, enabled=device != "cpu"):
            scores = net(inputs)
        loss = functional.cross_entropy(
            scores.float(), marks, weight=weights, ignore_index=IGNORE, label_smoothing=0.02
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if done % 100 == 0:
            log.info("  step %d: loss %.3f", done, loss.item())
        if time.monotonic() > until:
            log.info("  time is up after %d of %d steps", done, steps)
            break
    net.eval()
    return net, done


class Training:
    """The networks trained on the pictures, and what is reported of each.

    Args:
        chosen: options of the command line.
        started: the time from which `--most-seconds` counts.
    """

    def __init__(self, chosen: argparse.Namespace, started: float) -> None:
        self.chosen, self.started = chosen, started
        self.pictures = Pictures.of(chosen.data, chosen.pictures, seed=chosen.seed, workers=chosen.workers)
        self.begun = time.monotonic()
        self.total = len(FOLDS) * chosen.fold_steps + chosen.steps

    def network(self, which: np.ndarray, *, steps: int, seed: int, steps_before: int) -> tuple[WideNet, int]:
        """A network trained on some of the pictures, and its number of steps."""
        until, most = math.inf, self.chosen.most_seconds
        if not math.isinf(most):
            left = self.started + most - 20 - self.begun
            until = self.begun + left * (steps_before + steps) / self.total
        at = torch.from_numpy(which).to(self.pictures.device)
        return trained(
            self.pictures.rgb[at],
            self.pictures.marks[at],
            steps=steps,
            batch=self.chosen.batch,
            seed=seed,
            device=self.pictures.device,
            until=until,
        )

    def fold(self, number: int, examples: zipfile.ZipFile) -> dict:
        """Figures of a network on the origins that it has not seen; its weights and examples go into a file."""
        held_out, steps = FOLDS[number], self.chosen.fold_steps
        net, done = self.network(
            np.flatnonzero(~np.isin(self.pictures.origin, held_out)),
            steps=steps,
            seed=self.chosen.seed + number,
            steps_before=number * steps,
        )
        state = {name: value.half() for name, value in stored(net).items()}
        examples.writestr(f"weights/fold-{number}.safetensors", save(state))
        report = {"steps": done, **examined(net, number, self.pictures, examples)}
        log.info("fold %s after %.0f s: %s", held_out, time.monotonic() - self.started, json.dumps(report["simulated"]))
        return report


def stored(net: WideNet) -> dict[str, Tensor]:
    """The weights without counters of batches, which no answer depends on."""
    return {name: value.cpu().contiguous() for name, value in net.state_dict().items() if "num_batches" not in name}


def main() -> None:
    """Train and report."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=10000)
    parser.add_argument("--fold-steps", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=3600)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=min(7, os.cpu_count() or 1))
    parser.add_argument("--most-seconds", type=float, default=math.inf, help="stop training early rather than be late")
    chosen = parser.parse_args()
    started = time.monotonic()
    chosen.out.mkdir(parents=True, exist_ok=True)
    training = Training(chosen, started)
    with zipfile.ZipFile(chosen.out / "wide-folds.zip", "w", zipfile.ZIP_DEFLATED) as examples:
        folds = [training.fold(number, examples) for number in range(len(FOLDS))]
    labels = training.pictures.labels
    net, done = training.network(
        np.arange(len(labels)), steps=chosen.steps, seed=chosen.seed + 100, steps_before=len(FOLDS) * chosen.fold_steps
    )
    save_file(stored(net), str(chosen.out / "wide.safetensors"), metadata={"classes": ",".join(CLASSES), "mpp": "4"})
    report = {
        "classes": CLASSES,
        "device": training.pictures.device,
        "options": {name: value for name, value in vars(chosen).items() if name not in ("data", "out")},
        "cells": dict(zip(CLASSES, np.bincount(labels.ravel(), minlength=256).tolist(), strict=False)),
        **summed(folds),
        "steps": done,
        "seconds": round(time.monotonic() - started),
        "folds": folds,
    }
    if math.isinf(chosen.most_seconds):
        del report["options"]["most_seconds"]  # which JSON cannot hold
    (chosen.out / "wide-report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    log.info("%s", json.dumps({name: report[name] for name in ("simulated", "real", "seconds")}))


if __name__ == "__main__":
    main()
