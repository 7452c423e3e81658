"""What finds how much defocus: the share of tissue that `gaussian-v2` and `deepfocus` discard, field by field.

usage: python focus_table.py --data FOLDER_OR_ZIP --report REPORT.json [--weights FILE] [--folds FOLDS.safetensors]
           [--only deepfocus] [--fields NAME ...]

Every field is defocused by a disk, stored as JPEG (quality 75) and judged as a slide of its own by the steps
themselves. With --folds, each field is judged by the network that has not seen its origin. Rows are radii;
`scale_table.py` measures slides whose mpp is stated wrong. "deepfocus" has the threshold that it chooses for the slide,
which here is in or out of focus all over; "deepfocus 0.5" a fixed one. Needs slideloom-testing, slideloom-qc and torch.
"""

from __future__ import annotations

import argparse
import json
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from fields import Field, Rgb, fields_of
from numpy.typing import NDArray
from slideloom import QcResult
from slideloom_deepfocus import DeepFocus
from slideloom_deepfocus.deepfocus import DeepFocusQC
from slideloom_qc.settings import GaussianV2
from slideloom_testing import PixelsSlide, scene_of

RADII_UM = (0.0, 1.0, 2.0, 3.0, 4.0)
GAUSSIAN_MPP = (4.0, 2.0, 1.0)
CELL_UM = 64.0
QUALITY = 75

log = logging.getLogger("focus_table")


def disk(radius_px: float) -> NDArray[np.float32]:
    """The defocus kernel of geometric optics: an even disk, each pixel weighted by the share that the disk covers."""
    reach, fine = int(np.ceil(radius_px)), 9
    at = (np.arange((2 * reach + 1) * fine) + 0.5) / fine - reach - 0.5
    covered = (at[:, None] ** 2 + at[None, :] ** 2 <= radius_px**2).astype(np.float32)
    kernel: NDArray[np.float32] = covered.reshape(2 * reach + 1, fine, 2 * reach + 1, fine).mean(axis=(1, 3))
    total = kernel.sum()
    return kernel / total if total > 0 else np.ones((1, 1), np.float32)


def defocused(rgb: NDArray[np.float32], radius_px: float) -> NDArray[np.float32]:
    """`rgb` (0-1, sRGB taken as gamma 2.2) out of focus: light adds up before the camera's gamma."""
    if radius_px < 0.05:
        return rgb
    light = np.power(rgb, 2.2)
    blurred = cv2.filter2D(light, -1, disk(radius_px), borderType=cv2.BORDER_REFLECT_101)
    result: NDArray[np.float32] = np.power(np.clip(blurred, 0, 1), 1 / 2.2)
    return result


def stored(rgb: Rgb, radius_px: float) -> Rgb:
    """Out of focus, then JPEG."""
    soft = np.clip(np.round(defocused(rgb.astype(np.float32) / 255, radius_px) * 255), 0, 255).astype(np.uint8)
    _, code = cv2.imencode(".jpg", soft[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    result: Rgb = np.ascontiguousarray(cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1])
    return result


def share_of_cells(result: QcResult, cells: NDArray[np.bool_]) -> float:
    """The share of the true `cells` that a mask of any resolution covers by half or more."""
    mask = cv2.resize(result.mask.astype(np.float32), cells.shape[::-1], interpolation=cv2.INTER_AREA)
    return float((mask[cells] >= 0.5).mean()) if cells.any() else float("nan")


def gaussians(rgb: Rgb, mpp: float, cells: NDArray[np.bool_]) -> dict[str, float]:
    """Share of the cells with tissue that `gaussian-v2` discards, by the mpp it looks at."""
    found = {}
    for look in GAUSSIAN_MPP:
        slide = PixelsSlide(rgb, mpp=mpp)
        found[f"gaussian-v2 {look:g}"] = share_of_cells(GaussianV2(mpp=look).build().assess(slide, scene_of()), cells)
    return found


def judged(field: Field, rgb: Rgb, step: DeepFocusQC, *, with_gaussian: bool) -> dict[str, dict[str, float]]:
    """By condition: the share of cells that each step discards, and how many cells there are."""
    mpp, rows = field.mpp, {}
    sharp = step(PixelsSlide(stored(rgb, 0), mpp=mpp), threshold=False)
    cells = sharp.visited
    for radius in RADII_UM:
        pixels = stored(rgb, radius / mpp)
        # The same cells in all rows: those with tissue when sharp.
        found = step(PixelsSlide(pixels, mpp=mpp), threshold=False)
        followed, fixed = step.threshold_for(found), step.options.threshold
        row = {
            "cells": float(cells.sum()),
            "deepfocus": float((found.values[cells] > followed).mean()),
            f"deepfocus {fixed:g}": float((found.values[cells] > fixed).mean()),
        }
        row["auroc"] = auroc(sharp.values[cells], found.values[cells & found.visited])
        if with_gaussian:
            inside = cells[: int(rgb.shape[0] * mpp / CELL_UM), : int(rgb.shape[1] * mpp / CELL_UM)]
            whole = pixels[: round(inside.shape[0] * CELL_UM / mpp), : round(inside.shape[1] * CELL_UM / mpp)]
            row |= gaussians(whole, mpp, inside)
        rows[f"{radius:g} um"] = row
    return rows


def auroc(negative: NDArray[np.float32], positive: NDArray[np.float32]) -> float:
    """Probability that a positive outranks a negative; ties count half."""
    if not len(negative) or not len(positive):
        return float("nan")
    ordered = np.sort(negative)
    low, high = np.searchsorted(ordered, positive, "left"), np.searchsorted(ordered, positive, "right")
    return float(((low + high) / 2).mean() / len(negative))


def steps(folds: Path | None, weights: Path | str, folder: Path) -> Iterator[tuple[int, DeepFocusQC]]:
    """The step of each fold; -1 is for origins that no network has seen, and for all if there are no folds."""
    yield -1, DeepFocus(weights=weights, device="cpu").build()  # type: ignore[misc]
    if folds is None:
        return
    from safetensors.numpy import load_file, save_file

    arrays = load_file(folds)
    for fold in sorted({name.split("/")[0] for name in arrays if name.startswith("fold")}):
        path = folder / f"{fold}.safetensors"
        chosen = {name.removeprefix(f"{fold}/"): value for name, value in arrays.items() if name.startswith(f"{fold}/")}
        save_file(chosen, path, metadata={"mpp": "1.0"})
        yield int(fold.removeprefix("fold")), DeepFocus(weights=path, device="cpu").build()  # type: ignore[misc]


def main() -> None:
    """Judge every field, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--folds", type=Path)
    parser.add_argument("--only", choices=["deepfocus"])
    parser.add_argument("--fields", nargs="*")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    weights = args.weights if args.weights == "bundled" else Path(args.weights)
    report = {}
    with tempfile.TemporaryDirectory() as folder:
        by_fold = dict(steps(args.folds, weights, Path(folder)))
        for field, rgb in fields_of(args.data).items():
            if field.role == "glass" or (args.fields and field.name not in args.fields):
                continue
            step = by_fold.get(field.fold, by_fold[-1])
            rows = judged(field, rgb, step, with_gaussian=args.only is None)
            report[field.name] = {"origin": field.origin, "mpp": field.mpp, **rows}
            sharp, soft = rows["0 um"], rows["3 um"]
            log.info("%s: sharp %.2f, 3 um %.2f", field.name, sharp["deepfocus"], soft["deepfocus"])
    args.report.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
