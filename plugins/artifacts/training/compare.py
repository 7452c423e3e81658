"""Compare the networks of the folds with `tissue`, `pen` and `gaussian-v2`, on origins that neither has seen.

usage: python compare.py --data fields.npz --folds artifacts-folds.zip --out compare.json [--pictures 60]

Both look at the same pixels: the fields of the fold's origins as they are, and pictures made of them. The networks are
run by the step `artifacts`, as users run it. Where the three steps overlap, ink counts before glass and glass before
blur.
"""

from __future__ import annotations

import argparse
import json
import logging
import zipfile
from pathlib import Path

import cv2
import numpy as np
import torch
from fields import BACKGROUND, BLUR, CLASSES, PEN, TISSUE, Field, packed
from measure import confusion, field_as_input, figures
from pictures import FOLDS, cells, tasks_for
from safetensors.torch import load
from slideloom import Size, stretched
from slideloom_artifacts import Artifacts
from slideloom_artifacts.artifacts import ArtifactsQc, _Network
from slideloom_qc import GaussianV2, Pen, Tissue
from slideloom_testing import PixelsSlide, scene_of
from synthesis import made

log = logging.getLogger("compare")
STEPS = (("gaussian-v2", GaussianV2(), BLUR), ("tissue", Tissue(), BACKGROUND), ("pen", Pen(), PEN))


def by_steps(rgb: np.ndarray, mpp: float, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) numbers of classes as the three steps together give them, on a grid over the picture."""
    slide = PixelsSlide(rgb, mpp=mpp)
    found = np.full(shape, TISSUE, np.uint8)
    scene = scene_of(tile_px=64, footprint=Size(64, 64), mpp=mpp)
    for _, settings, value in STEPS:
        result = settings.build().assess(slide, scene)
        extent = result.extent or slide.info.box
        found[stretched(result.mask, extent=extent, whole=slide.info.size, size=Size(shape[1], shape[0]))] = value
    return found


def step_of(folds: Path, number: int) -> ArtifactsQc:
    """The step `artifacts` with the weights of a fold."""
    step = ArtifactsQc(Artifacts(device="cpu"))
    with zipfile.ZipFile(folds) as archive:
        step._network = _Network("cpu", load(archive.read(f"weights/fold-{number}.safetensors")))
    return step


def by_network(step: ArtifactsQc, rgb: np.ndarray, mpp: float, shape: tuple[int, int]) -> np.ndarray:
    """(h, w) numbers of classes as the step gives them, on the same grid."""
    found = step.assess(PixelsSlide(rgb, mpp=mpp), scene_of(tile_px=64, footprint=Size(64, 64), mpp=mpp)).labels
    return cv2.resize(found, shape[::-1], interpolation=cv2.INTER_NEAREST_EXACT)


def main() -> None:
    """Compare and report."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=60, help="per fold")
    parser.add_argument("--seed", type=int, default=7)
    chosen = parser.parse_args()
    torch.set_num_threads(2)
    every = packed(chosen.data)
    sums = {
        (kind, who): np.zeros((len(CLASSES),) * 2, np.int64) for kind in ("fields", "made") for who in ("net", "steps")
    }
    by_field: dict[str, dict[str, list]] = {}
    for number, origins in enumerate(FOLDS):
        net = step_of(chosen.folds, number)
        own = [field for field in every if field.origin in (*origins, *(["birl"] if number == len(FOLDS) - 1 else []))]
        for field in own:
            rows, columns = shape = _shape(field)
            truth = field_as_input(field)[1][:rows, :columns]
            tables = {
                "net": confusion(truth, by_network(net, field.rgb, field.mpp, shape)),
                "steps": confusion(truth, by_steps(field.rgb, field.mpp, shape)),
            }
            by_field[field.name] = {who: one.tolist() for who, one in tables.items()}
            for who, one in tables.items():
                sums["fields", who] += one
        usable = [field for field in own if field.may_train]
        for which, other, seed in tasks_for(usable, chosen.pictures, chosen.seed + number):
            rgb, labels = made(usable[which], usable[other], seed)
            truth = cells(labels)
            sums["made", "net"] += confusion(truth, by_network(net, rgb, 4.0, truth.shape))
            sums["made", "steps"] += confusion(truth, by_steps(rgb, 4.0, truth.shape))
        log.info("%s done", ", ".join(origins))
    report = {
        f"{kind} {who}": {"figures": figures(one), "confusion": one.tolist()} for (kind, who), one in sums.items()
    }
    chosen.out.write_text(json.dumps({**report, "by_field": by_field}, indent=1) + "\n", encoding="utf-8")


def _shape(field: Field) -> tuple[int, int]:
    """Rows and columns of cells of a field, without padding."""
    shrink = min(1.0, field.mpp / 4)
    return tuple(max(1, round(length * shrink)) // 2 for length in field.labels.shape)  # type: ignore[return-value]


if __name__ == "__main__":
    main()
