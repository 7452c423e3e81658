"""Irregular outlines: closed curves with the depth of points inside them, and their polygons."""

from __future__ import annotations

from itertools import pairwise
from math import cos, sin

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from shapely.geometry import Polygon

Field = NDArray[np.float32]
# What is made of a depth is the same for all points farther outside than this, so they are told only that.
_FAR_UM = 60.0


@frozen(eq=False)
class Blob:
    """A star-shaped outline around a centre; all lengths in microns.

    Attributes:
        x, y: its centre.
        radius_x, radius_y: before turning and wobbling.
        turn: of the axes, in radians.
        wobble: (K, 3) order, amplitude and phase of the waves along the outline.
    """

    x: float
    y: float
    radius_x: float
    radius_y: float
    turn: float = 0.0
    wobble: NDArray[np.float64] = field(factory=lambda: np.zeros((0, 3)))

    def scale(self, theta: NDArray[np.floating]) -> NDArray[np.floating]:
        """The outline's distance from the centre, as a share of the radius, in direction `theta` (radians)."""
        exponent = np.zeros_like(theta)
        for order, amplitude, phase in self.wobble:
            exponent += amplitude * np.cos(order * theta + phase)
        return np.asarray(np.exp(exponent))

    def depth(self, x: Field, y: Field) -> Field:
        """Approximate depth of each point inside, in microns; negative outside.

        Points that are more than 60 microns outside for certain get some value between their depth and -60: the waves
        of the outline take far longer than a distance from its centre.
        """
        dx, dy = x - self.x, y - self.y
        u = (cos(self.turn) * dx + sin(self.turn) * dy) / self.radius_x
        v = (cos(self.turn) * dy - sin(self.turn) * dx) / self.radius_y
        away, unit = np.hypot(u, v), min(self.radius_x, self.radius_y)
        reach = np.exp(np.abs(self.wobble[:, 1]).sum())  # if all waves had their crests in one place
        near = (away - reach) * unit <= _FAR_UM
        inside = (reach - away) * unit
        inside[near] = (self.scale(np.arctan2(v[near], u[near])) - away[near]) * unit
        return np.asarray(inside, np.float32)

    def outline(self, points: int = 720, *, inset: float = 0.0) -> NDArray[np.float64]:
        """(points, 2) microns along the outline, or `inset` microns inside it."""
        theta = np.linspace(0, 2 * np.pi, points, endpoint=False)
        reach = self.scale(theta) - inset / min(self.radius_x, self.radius_y)
        u, v = reach * np.cos(theta) * self.radius_x, reach * np.sin(theta) * self.radius_y
        x = self.x + cos(self.turn) * u - sin(self.turn) * v
        y = self.y + sin(self.turn) * u + cos(self.turn) * v
        return np.stack([x, y], axis=1)

    def polygon(self) -> Polygon:
        """The outline as a valid polygon in microns."""
        return Polygon(self.outline()).buffer(0)


def ragged(
    rng: np.random.Generator,
    x: float,
    y: float,
    radius_x: float,
    radius_y: float,
    *,
    rough: float = 0.16,
    orders: int = 28,
) -> Blob:
    """A blob whose wobble decreases with its order, as in natural outlines."""
    order = np.arange(2, orders + 2, dtype=np.float64)
    amplitude = rough * rng.uniform(0.4, 1.0, orders) / (order - 1) ** 1.15
    wobble = np.stack([order, amplitude, rng.uniform(0, 2 * np.pi, orders)], axis=1)
    return Blob(x, y, radius_x, radius_y, rng.uniform(0, np.pi) if radius_x == radius_y else 0.0, wobble)


def distance_to_line(x: Field, y: Field, line: NDArray[np.float64], *, within: float) -> Field:
    """Microns from each point to a polyline (N, 2); infinite where they are more than `within` for certain."""
    (left, top), (right, bottom) = line.min(axis=0) - within, line.max(axis=0) + within
    near = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    result = np.full(x.shape, np.inf, np.float32)
    result[near] = _distance_to_line(x[near], y[near], line)
    return result


def _distance_to_line(x: Field, y: Field, line: NDArray[np.float64]) -> Field:
    nearest = np.full(x.shape, np.inf, np.float32)
    for (ax, ay), (bx, by) in pairwise(line):
        length = (bx - ax) ** 2 + (by - ay) ** 2
        share = np.clip(((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length, 0, 1)
        nearest = np.minimum(nearest, np.hypot(x - ax - share * (bx - ax), y - ay - share * (by - ay)))
    return np.asarray(nearest, np.float32)


def cells(x: Field, y: Field, *, spacing: float, seed: int) -> Field:
    """Microns from each point to the nearest wall between cells about `spacing` wide (half of Voronoi's F2 - F1)."""
    column, row = np.floor(x / spacing).astype(np.int64), np.floor(y / spacing).astype(np.int64)
    rng = np.random.default_rng(seed)
    jitter = rng.uniform(0.12, 0.88, (64, 64, 2)).astype(np.float32)
    first, second = np.full(x.shape, np.inf, np.float32), np.full(x.shape, np.inf, np.float32)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            point = jitter[(row + dy) % 64, (column + dx) % 64]
            away = np.hypot(x - (column + dx + point[..., 0]) * spacing, y - (row + dy + point[..., 1]) * spacing)
            second = np.minimum(second, np.maximum(first, away))
            first = np.minimum(first, away)
    return np.asarray((second - first) / 2, np.float32)
