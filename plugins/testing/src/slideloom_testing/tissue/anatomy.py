"""Where everything is on the demo slide: sections, tumour, glands, fat, vessels, pen, blur, fold and nuclei."""

from __future__ import annotations

from math import ceil

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom.base.geometry import Size

from slideloom_testing.tiles import smooth_noise
from slideloom_testing.tissue.nuclei import Nuclei, joined, nuclei_at, scattered
from slideloom_testing.tissue.outlines import Blob, Field, cells, distance_to_line, ragged

GRID_UM = 4.0  # fields are smooth and kept at this step; rendering interpolates them
_FAR = np.float32(-1e3)


@frozen(eq=False)
class Shapes:
    """Outlines and lines in microns."""

    sections: tuple[Blob, ...]
    tumors: tuple[Blob, ...]
    fat: tuple[Blob, ...]
    glands: tuple[Blob, ...]
    vessels: tuple[Blob, ...]
    follicles: tuple[Blob, ...]
    blur: Blob
    pen: NDArray[np.float64]
    pen_um: float
    fold: NDArray[np.float64]
    fold_um: float


@frozen(eq=False)
class Layout:
    """Smooth fields every `GRID_UM` microns, (rows, columns) float32, and the nuclei.

    Attributes:
        shapes: the outlines from which the fields were made.
        tissue: microns inside a section; negative on glass.
        epithelium: microns inside tumour nests and glands.
        hole: microns inside lumina, fat cells and vessels.
        wall: 0-1, muscle of vessel walls.
        across, along: coordinates (microns) in which the fibres are straight.
        eosin, haematoxylin: factor of each stain, by section.
        pen: 0-1, ink. blur: 0-1, out of focus. fold: 0-1, folded tissue.
        nuclei: all of them.
        blood: (N, 2) centres of red cells in microns.
    """

    shapes: Shapes
    tissue: Field
    epithelium: Field
    hole: Field
    wall: Field
    across: Field
    along: Field
    eosin: Field
    haematoxylin: Field
    pen: Field
    blur: Field
    fold: Field
    nuclei: Nuclei
    blood: NDArray[np.float64]


def plan_shapes(rng: np.random.Generator, width: float, height: float) -> Shapes:
    """The outlines of a slide `width` x `height` microns."""
    unit = (width * height) ** 0.5
    a = ragged(rng, 0.27 * width, 0.48 * height, 0.215 * width, 0.36 * height)
    b = ragged(rng, 0.715 * width, 0.31 * height, 0.215 * width, 0.21 * height)
    c = ragged(rng, 0.70 * width, 0.79 * height, 0.20 * width, 0.115 * height)
    tumor_a = ragged(rng, 0.25 * width, 0.38 * height, 0.135 * width, 0.175 * height, rough=0.13)
    tumor_b = ragged(rng, 0.63 * width, 0.31 * height, 0.095 * width, 0.135 * height, rough=0.13)
    fat = (
        ragged(rng, 0.31 * width, 0.735 * height, 0.11 * width, 0.075 * height),
        ragged(rng, 0.81 * width, 0.80 * height, 0.055 * width, 0.055 * height),
    )
    glands = _apart(rng, [(0.635, 0.775, 0.075, 0.045, 8), (0.16, 0.64, 0.05, 0.06, 3)], width, height, low=32, high=52)
    vessels = _apart(rng, [(0.40, 0.55, 0.03, 0.14, 3), (0.83, 0.27, 0.03, 0.07, 2)], width, height, low=16, high=34)
    follicles = tuple(
        ragged(rng, x * width, y * height, size, 0.8 * size)
        for x, y, size in ((0.395, 0.42, min(75, 0.03 * unit)), (0.735, 0.42, min(65, 0.027 * unit)))
    )
    blur = ragged(rng, 0.80 * width, 0.335 * height, 0.085 * width, 0.12 * height, rough=0.08, orders=8)
    bend = np.linspace(0, 1, 30)
    pen = np.stack([(0.045 + 0.42 * bend) * width, (0.715 + 0.14 * np.sin(2.4 * bend + 0.2) - 0.10 * bend) * height], 1)
    fold = np.stack([(0.56 + 0.11 * bend) * width, (0.205 - 0.05 * bend + 0.012 * np.sin(7 * bend)) * height], axis=1)
    return Shapes(
        sections=(a, b, c),
        tumors=(tumor_a, tumor_b),
        fat=fat,
        glands=glands,
        vessels=vessels,
        follicles=follicles,
        blur=blur,
        pen=pen,
        pen_um=0.042 * unit,
        fold=fold,
        fold_um=min(26, 0.02 * unit),
    )


def _apart(
    rng: np.random.Generator,
    spots: list[tuple[float, float, float, float, int]],
    width: float,
    height: float,
    *,
    low: float,
    high: float,
) -> tuple[Blob, ...]:
    """Small blobs, none touching another: per spot (x, y, spread x, spread y, how many at most), radii `low`-`high`."""
    made: list[Blob] = []
    for x, y, spread_x, spread_y, most in spots:
        enough = len(made) + most
        for _ in range(most * 6):
            size = rng.uniform(low, high)
            cx, cy = (x + rng.uniform(-1, 1) * spread_x) * width, (y + rng.uniform(-1, 1) * spread_y) * height
            if all(np.hypot(cx - other.x, cy - other.y) > 1.25 * (size + other.radius_x) for other in made):
                made.append(ragged(rng, cx, cy, size, size * rng.uniform(0.75, 1.0), rough=0.08, orders=7))
            if len(made) == enough:
                break
    return tuple(made)


def plan(width: float, height: float, seed: int) -> Layout:
    """Everything on a slide `width` x `height` microns."""
    rng = np.random.default_rng(seed)
    shapes = plan_shapes(rng, width, height)
    rows, columns = ceil(height / GRID_UM) + 2, ceil(width / GRID_UM) + 2
    y, x = (np.mgrid[0:rows, 0:columns].astype(np.float32) * np.float32(GRID_UM))[:]
    size = Size(columns, rows)

    def noise(grain_um: float, number: int) -> Field:
        return smooth_noise(size, grain_px=grain_um / GRID_UM, seed=seed * 1000 + number)

    depths = [section.depth(x, y) for section in shapes.sections]
    tissue = np.maximum.reduce(depths) + 2.0 * noise(45, 1)
    tumor = np.maximum.reduce([blob.depth(x, y) for blob in shapes.tumors])
    # Nests thin out towards the outline and extend slightly beyond it, like an invasive front.
    nests = np.minimum(26 * (noise(85, 2) + 0.66) + np.minimum(1.2 * tumor, 0), tumor + 25)
    lumina = np.minimum.reduce([15 * (noise(42, 3) - 1.28), nests - 9, tumor - 20])
    glands = _deepest(shapes.glands, x, y)
    vessels = _deepest(shapes.vessels, x, y)
    fat_zone = np.minimum(_deepest(shapes.fat, x, y), tissue - 10)
    fat, fatty = np.full_like(fat_zone, _FAR), fat_zone > -25
    places = [(axis + 7 * noise(40, number))[fatty] for axis, number in ((x, 4), (y, 5))]
    fat[fatty] = np.minimum(cells(*places, spacing=62, seed=seed) - 2.9, fat_zone[fatty] + 12)
    hole = np.maximum.reduce([lumina, glands - 17, vessels - 7, fat])
    epithelium = np.where(fat_zone > 0, _FAR, np.maximum(nests, glands))
    turn = rng.uniform(0, np.pi)
    swirl = 75 * noise(330, 6)
    across = np.cos(turn) * x + np.sin(turn) * y + swirl + 5 * noise(34, 7)
    along = np.cos(turn) * y - np.sin(turn) * x + 75 * noise(330, 8)
    owner = np.argmax(depths, axis=0)
    tone = np.array([[1.0, 1.0], [1.14, 0.88], [0.86, 1.12]], np.float32)  # eosin, haematoxylin by section
    to_pen, to_fold = (
        distance_to_line(x, y, line, within=wide / 2 + 30)  # beyond that, no noise brings ink or a fold
        for line, wide in ((shapes.pen, shapes.pen_um), (shapes.fold, shapes.fold_um))
    )
    ink = np.clip((shapes.pen_um / 2 - to_pen + 2.5 * noise(16, 9)) / 5 + 0.5, 0, 1)
    fold = np.clip((shapes.fold_um / 2 - to_fold + 3 * noise(30, 12)) / 5 + 0.5, 0, 1)
    fields = {
        "tissue": tissue,
        "epithelium": epithelium,
        "hole": hole,
        "wall": np.clip(vessels / 3 + 1, 0, 1),
        "across": across,
        "along": along,
        "eosin": tone[owner, 0] * (1 + 0.07 * noise(260, 10)),
        "haematoxylin": tone[owner, 1] * (1 + 0.05 * noise(260, 11)),
        "pen": ink,
        "blur": np.clip(shapes.blur.depth(x, y) / 16 + 0.5, 0, 1),
        "fold": fold,
    }
    smooth = {name: np.ascontiguousarray(values, np.float32) for name, values in fields.items()}
    nuclei = _nuclei(rng, shapes, smooth, width, height)
    blood = _blood(rng, shapes)
    return Layout(shapes=shapes, nuclei=nuclei, blood=blood, **smooth)


def _deepest(blobs: tuple[Blob, ...], x: Field, y: Field) -> Field:
    return np.maximum.reduce([blob.depth(x, y) for blob in blobs]) if blobs else np.full(x.shape, _FAR)


class _Planting:
    """Places nuclei as the tissue requires."""

    def __init__(self, rng: np.random.Generator, shapes: Shapes, fields: dict[str, Field]) -> None:
        self.rng, self.shapes = rng, shapes
        slope_y, slope_x = np.gradient(fields["across"])
        self._fields = {**fields, "fibre": np.arctan2(slope_y, slope_x) + np.float32(np.pi / 2)}

    def at(self, name: str, x: NDArray[np.float64], y: NDArray[np.float64]) -> Field:
        """A field at points."""
        values: Field = self._fields[name][(y / GRID_UM + 0.5).astype(int), (x / GRID_UM + 0.5).astype(int)]
        return values

    def room(self, x: NDArray[np.float64], y: NDArray[np.float64], *, hole: float) -> NDArray[np.bool_]:
        """True in tissue, `hole` microns or more away from holes."""
        return (self.at("tissue", x, y) > 4) & (self.at("hole", x, y) < -hole)

    def nests(self, width: float, height: float) -> Nuclei:
        """Large nuclei, packed, in the epithelium of the tumour."""
        x, y = scattered(self.rng, width=width, height=height, spacing=10.8, jitter=0.13)
        keep = (self.at("epithelium", x, y) > 2.5) & self.room(x, y, hole=4) & (self.rng.random(len(x)) < 0.93)
        for gland in self.shapes.glands:
            keep &= np.hypot(x - gland.x, y - gland.y) > 1.3 * gland.radius_x
        return nuclei_at(self.rng, x[keep], y[keep], "tumor", self.rng.uniform(0, np.pi, int(keep.sum())))

    def stroma(self, width: float, height: float) -> list[Nuclei]:
        """Thin nuclei along the fibres, and some lymphocytes between them."""
        x, y = scattered(self.rng, width=width, height=height, spacing=15.5, jitter=0.3)
        crowd = 0.62 + 0.3 * np.tanh(self.at("eosin", x, y) * 6 - 6)
        keep = (self.at("epithelium", x, y) < -3) & self.room(x, y, hole=1.5) & (self.rng.random(len(x)) < crowd)
        x, y = x[keep], y[keep]
        is_round = self.rng.random(len(x)) < 0.18
        angle = self.at("fibre", x, y) + self.rng.normal(0, 0.25, len(x))
        kinds = ((~is_round, "fibroblast"), (is_round, "lymphocyte"))
        return [nuclei_at(self.rng, x[which], y[which], kind, angle[which]) for which, kind in kinds]

    def follicles(self, width: float, height: float) -> Nuclei:
        """Lymphocytes in dense clusters."""
        x, y = scattered(self.rng, width=width, height=height, spacing=7.6, jitter=0.12)
        depth = _deepest(self.shapes.follicles, x.astype(np.float32), y.astype(np.float32))
        keep = (self.rng.random(len(x)) < np.clip(0.5 + depth / 45, 0, 0.93)) & self.room(x, y, hole=3)
        keep &= self.at("epithelium", x, y) < -1
        return nuclei_at(self.rng, x[keep], y[keep], "lymphocyte", self.rng.uniform(0, np.pi, int(keep.sum())))

    def ring(self, blob: Blob, frame: tuple[float, float], *, inset: float, step: float, kind: str) -> Nuclei:
        """Nuclei along an outline: perpendicular to it in a gland (columnar), along it in a vessel (lining)."""
        ring = blob.outline(max(8, int(2 * np.pi * blob.radius_x / step)), inset=inset)
        ring += self.rng.normal(0, 0.7, ring.shape)
        ring = ring[(ring > 0).all(axis=1) & (ring < frame).all(axis=1)]
        ring = ring[self.at("tissue", ring[:, 0], ring[:, 1]) > 4]
        angle = np.arctan2(ring[:, 1] - blob.y, ring[:, 0] - blob.x)
        return nuclei_at(self.rng, ring[:, 0], ring[:, 1], kind, angle + (np.pi / 2 if kind == "fibroblast" else 0))


def _nuclei(rng: np.random.Generator, shapes: Shapes, fields: dict[str, Field], width: float, height: float) -> Nuclei:
    planting = _Planting(rng, shapes, fields)
    groups = [planting.nests(width, height), *planting.stroma(width, height), planting.follicles(width, height)]
    frame = (width, height)
    groups += [planting.ring(blob, frame, inset=5.5, step=5.8, kind="epithelium") for blob in shapes.glands]
    groups += [planting.ring(blob, frame, inset=6.0, step=11.0, kind="fibroblast") for blob in shapes.vessels]
    return joined(groups)


def _blood(rng: np.random.Generator, shapes: Shapes) -> NDArray[np.float64]:
    """Red cells, loosely filling the vessels."""
    found = [np.zeros((0, 2))]
    for blob in shapes.vessels:
        reach = 1.5 * blob.radius_x
        x, y = scattered(rng, width=2 * reach, height=2 * reach, spacing=6.2, jitter=0.18)
        x, y = x + blob.x - reach, y + blob.y - reach
        keep = (blob.depth(x.astype(np.float32), y.astype(np.float32)) > 11) & (rng.random(len(x)) < 0.6)
        found.append(np.stack([x[keep], y[keep]], axis=1))
    return np.concatenate(found)
