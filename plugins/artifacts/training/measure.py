"""What is measured of a network: cells by their truth and by what was found, on pictures and fields held out."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from fields import CLASSES, IGNORE, Field
from pictures import FOLDS, Pictures, cells

if TYPE_CHECKING:
    from torch import nn


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


def examined(net: nn.Module, number: int, pictures: Pictures, examples: zipfile.ZipFile) -> dict:
    """Figures of a network on the origins that its fold holds out; examples go into a file."""
    import torch

    held_out = FOLDS[number]
    out = np.flatnonzero(np.isin(pictures.origin, held_out))
    found = predicted(net, pictures.rgb[torch.from_numpy(out).to(pictures.device)], pictures.device)
    table = confusion(pictures.labels[out], found)
    by_field = {}
    tests_only = ["birl"] if number == len(FOLDS) - 1 else []
    for field in pictures.fields:
        if field.origin not in (*held_out, *tests_only):
            continue
        picture, truth = field_as_input(field)
        answer = predicted(net, torch.from_numpy(picture)[None], pictures.device)[0]
        by_field[field.name] = confusion(truth, answer).tolist()
        examples.writestr(f"fields/{Path(field.name).stem}.jpg", jpeg(shown(picture, truth, answer)))
    for i, at in enumerate(out[:10].tolist()):
        picture = pictures.rgb[at].cpu().numpy()
        examples.writestr(f"simulated/{number}-{i}.jpg", jpeg(shown(picture, pictures.labels[at], found[i])))
    real = sum(np.array(own) for own in by_field.values())
    return {
        "held_out": held_out, "pictures": len(out), "simulated": figures(table), "real": figures(real),
        "simulated_cells": table.tolist(), "fields": by_field,
    }  # fmt: skip


def summed(folds: list[dict]) -> dict[str, dict]:
    """Figures of all folds together."""
    simulated = sum(np.array(fold["simulated_cells"]) for fold in folds)
    real = sum(np.array(table) for fold in folds for table in fold["fields"].values())
    return {"simulated": figures(simulated), "real": figures(real)}
