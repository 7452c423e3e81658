"""Nuclei: their appearance, as small images of haematoxylin density, and their positions."""

from __future__ import annotations

from math import ceil

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom.base.geometry import Size

from slideloom_testing.tiles import smooth_noise
from slideloom_testing.tissue.outlines import Field

KINDS = ("tumor", "epithelium", "fibroblast", "lymphocyte")
_TURNS = 16  # directions over half a turn
_SHAPES = 6


@frozen
class _Look:
    """Half axes (microns), their spread, and densities (natural log) of one kind of nucleus."""

    long: float
    short: float
    spread: float
    body: float
    clumps: float
    rim: float
    nucleoli: int


_LOOKS = {
    "tumor": _Look(long=5.2, short=4.0, spread=0.20, body=0.78, clumps=0.24, rim=0.42, nucleoli=2),
    "epithelium": _Look(long=4.6, short=2.6, spread=0.12, body=1.10, clumps=0.20, rim=0.20, nucleoli=0),
    "fibroblast": _Look(long=6.8, short=1.4, spread=0.25, body=1.15, clumps=0.18, rim=0.05, nucleoli=0),
    "lymphocyte": _Look(long=3.2, short=2.9, spread=0.10, body=1.50, clumps=0.28, rim=0.15, nucleoli=0),
}


@frozen(eq=False)
class Nuclei:
    """N nuclei as columns; lengths in microns.

    Attributes:
        x, y: (N,) centres.
        kind: (N,) index into KINDS.
        angle: (N,) direction of the long axis in radians.
        shape: (N,) which of the shapes of its kind.
        strength: (N,) factor of its density.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    kind: NDArray[np.int64]
    angle: NDArray[np.float64]
    shape: NDArray[np.int64]
    strength: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.x)

    def take(self, which: NDArray[np.bool_] | NDArray[np.integer]) -> Nuclei:
        """The nuclei where the mask is True, or at the positions."""
        columns = (self.x, self.y, self.kind, self.angle, self.shape, self.strength)
        return Nuclei(*(column[which] for column in columns))  # type: ignore[arg-type]  # in the order of the fields


def nuclei_at(
    rng: np.random.Generator, x: NDArray[np.float64], y: NDArray[np.float64], kind: str, angle: NDArray[np.float64]
) -> Nuclei:
    """Nuclei of one kind with random shapes and strengths."""
    count = len(x)
    strength = rng.normal(1.0, 0.11, count).clip(0.7, 1.35).astype(np.float32)
    return Nuclei(x, y, np.full(count, KINDS.index(kind)), angle, rng.integers(0, _SHAPES, count), strength)


def joined(groups: list[Nuclei]) -> Nuclei:
    """All nuclei, from top to bottom."""
    x, y = np.concatenate([group.x for group in groups]), np.concatenate([group.y for group in groups])
    every = Nuclei(
        x,
        y,
        np.concatenate([group.kind for group in groups]),
        np.concatenate([group.angle for group in groups]),
        np.concatenate([group.shape for group in groups]),
        np.concatenate([group.strength for group in groups]),
    )
    return every.take(np.lexsort((x, y)))


def scattered(
    rng: np.random.Generator, *, width: float, height: float, spacing: float, jitter: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """x and y of points about `spacing` microns apart: a hexagonal lattice with random shifts."""
    rows, columns = ceil(height / (spacing * 0.866)), ceil(width / spacing) + 1
    row, column = np.mgrid[0:rows, 0:columns]
    x = (column + 0.5 * (row % 2)) * spacing + rng.normal(0, jitter * spacing, row.shape)
    y = row * spacing * 0.866 + rng.normal(0, jitter * spacing, row.shape)
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    return x[inside], y[inside]


class Stamps:
    """Images of nuclei, made once; each (side, side) float32 haematoxylin density."""

    def __init__(self, mpp: float, seed: int) -> None:
        self._mpp = mpp
        self._rng = np.random.default_rng(seed)
        self._chromatin = smooth_noise(Size(512, 512), grain_px=max(1.2 / mpp, 1.0), seed=seed + 1)
        self.pictures = {
            (kind, shape, turn): picture
            for kind, name in enumerate(KINDS)
            for shape in range(_SHAPES)
            for turn, picture in enumerate(self._turned(_LOOKS[name]))
        }

    def _turned(self, look: _Look) -> list[Field]:
        rng = self._rng
        grow = float(np.clip(rng.normal(1, look.spread), 0.65, 1.5))
        long, short = look.long * grow * rng.uniform(0.92, 1.1), look.short * grow * rng.uniform(0.88, 1.12)
        bend = rng.normal(0, 1, (3, 2)) * np.array([[0.045], [0.03], [0.015]])
        spots = [(rng.uniform(-0.5, 0.5) * long, rng.uniform(-0.5, 0.5) * short) for _ in range(look.nucleoli)]
        half = ceil((long + 1.5) / self._mpp)
        at = np.arange(-half, half + 1) * self._mpp
        top, left = rng.integers(0, 512 - 2 * half - 1, 2)
        chromatin = self._chromatin[top : top + 2 * half + 1, left : left + 2 * half + 1]
        pictures = []
        for turn in range(_TURNS):
            angle = np.pi * turn / _TURNS
            u = np.cos(angle) * at[None, :] + np.sin(angle) * at[:, None]
            v = np.cos(angle) * at[:, None] - np.sin(angle) * at[None, :]
            theta = np.arctan2(v / short, u / long)
            wobble = sum(a * np.cos(k * theta) + b * np.sin(k * theta) for k, (a, b) in enumerate(bend, start=2))
            depth = (1 + wobble - np.hypot(u / long, v / short)) * short
            density = look.body + look.clumps * chromatin + look.rim * np.exp(-(((depth - 0.5) / 0.45) ** 2))
            for su, sv in spots:
                density += 0.7 * np.exp(-((u - su) ** 2 + (v - sv) ** 2) / 0.55)
            edge = np.clip(depth / 0.9 + 0.5, 0, 1)
            pictures.append((np.maximum(density, 0.1) * edge).astype(np.float32))
        return pictures

    def draw(self, density: Field, nuclei: Nuclei, *, left: int, top: int) -> None:
        """Draw nuclei into a plane whose first pixel is (left, top); the higher density is kept."""
        height, width = density.shape
        turns = np.floor(nuclei.angle / np.pi * _TURNS + 0.5).astype(int) % _TURNS
        xs = np.floor(nuclei.x / self._mpp).astype(int) - left
        ys = np.floor(nuclei.y / self._mpp).astype(int) - top
        columns = (nuclei.kind, nuclei.shape, turns, xs, ys, nuclei.strength)
        for kind, shape, turn, x, y, strength in zip(*(column.tolist() for column in columns), strict=True):
            picture = self.pictures[kind, shape, turn]
            half = picture.shape[0] // 2
            x0, y0, x1, y1 = max(x - half, 0), max(y - half, 0), min(x + half + 1, width), min(y + half + 1, height)
            if x0 < x1 and y0 < y1:
                part = picture[y0 - y + half : y1 - y + half, x0 - x + half : x1 - x + half]
                place = density[y0:y1, x0:x1]
                np.maximum(place, part * np.float32(strength), out=place)
