"""Patches with labels from slides with regions: random ones for training, fixed ones for validation."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, floor
from typing import Self

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from shapely.affinity import scale
from shapely.geometry import box as rectangle
from slideloom import ConfigError, Outlines, Region, Regions, Rgb, Size, Slide

from slideloom_segmentation.model_grid import ModelGrid
from slideloom_segmentation.settings import SegmentConfig

LabelMap = NDArray[np.uint8]  # (H, W), class numbers
CELL = 8  # side of the coarse cells used to look up classes, in model pixels


@frozen
class PatchArea:
    """Model pixels from x0, y0 up to, but not including, x1, y1."""

    x0: int
    y0: int
    x1: int
    y1: int


@frozen(eq=False)
class Plot:
    """A slide, or a part of it, as a source of patches.

    Attributes:
        slide: open.
        grid: of the slide at the model's resolution.
        outlines: class number and outline of each region; later ones lie on top.
        window: where patches may lie.
        cells: per class number, (N, 2) x and y of the coarse cells with that class near the regions.
        picture: the slide at the model's resolution, or None if it is read patch by patch.
    """

    slide: Slide
    grid: ModelGrid
    outlines: tuple[tuple[int, Outlines], ...]
    window: PatchArea
    cells: dict[int, NDArray[np.int64]]
    picture: Rgb | None

    @classmethod
    def of(cls, slide: Slide, regions: Regions, config: SegmentConfig) -> Self:
        """All of a slide; it is read patch by patch.

        Raises:
            ConfigError: the slide has no region, or one that is too small to be seen at the model's resolution.
        """
        grid = ModelGrid.of(slide.info, config.mpp)
        if unpainted := [region.name for region in regions.items if not _paints(region, grid)]:
            raise ConfigError(
                f"{slide.info.path.name}: {len(unpainted)} regions hold the centre of no pixel at {config.mpp:g} um/px "
                f"({', '.join(unpainted[:5])}); remove them, or choose a smaller mpp"
            )
        outlines = []
        for region in regions.items:
            if config.mode == "multiclass":
                number = config.classes.index(region.label) if region.label in config.labels else 0
            else:
                number = int(not config.labels or region.label in config.labels)
            outlines.append((number, Outlines.of([region.shape])))
        if not outlines:
            raise ConfigError(f"{slide.info.path.name}: no region to learn from; leave the slide out or label it")
        window = PatchArea(0, 0, grid.size.width, grid.size.height)
        cells = _cells(outlines, grid, margin=config.patch_px)
        return cls(slide, grid, tuple(outlines), window, cells, None)

    def within(self, window: PatchArea) -> Plot:
        """The part of the plot in a window."""
        low, high = np.array([window.x0, window.y0]) / CELL, np.array([window.x1, window.y1]) / CELL
        cells = {
            number: places[((places >= np.ceil(low)) & (places + 1 <= high)).all(axis=1)]
            for number, places in self.cells.items()
        }
        kept = {number: places for number, places in cells.items() if len(places)}
        return Plot(self.slide, self.grid, self.outlines, window, kept, self.picture)

    def with_picture(self) -> Plot:
        """The plot with the slide in memory at the model's resolution."""
        size = self.grid.size
        picture = self.slide.read_at(self.grid.box(0, 0, size), size)
        return Plot(self.slide, self.grid, self.outlines, self.window, self.cells, picture)

    def patch(self, x: int, y: int, side: int) -> tuple[Rgb, LabelMap]:
        """The pixels at (x, y) and their classes, (side, side, 3) and (side, side) uint8; white beyond the slide."""
        labels, whole = self.labels(x, y, side), self.grid.size
        if self.picture is None or x < 0 or y < 0 or x + side > whole.width or y + side > whole.height:
            size = Size(side, side)
            return self.slide.read_at(self.grid.box(x, y, size), size), labels
        return self.picture[y : y + side, x : x + side], labels

    def labels(self, x: int, y: int, side: int) -> LabelMap:
        """The classes at (x, y): (side, side) uint8."""
        labels = np.zeros((side, side), np.uint8)
        box = self.grid.box(x, y, Size(side, side))
        for number, outline in self.outlines:
            labels[outline.mask(extent=box, shape=labels.shape)] = number
        return labels

    def random_place(self, side: int, random: np.random.Generator) -> tuple[int, int]:
        """Top left of a patch that contains a class, each with equal probability; within the window if it fits."""
        places = self.cells[int(random.choice(sorted(self.cells)))]
        x, y = places[random.integers(len(places))] * CELL + CELL // 2 - random.integers(0, side, 2)
        window = self.window
        return (
            int(np.clip(x, window.x0, max(window.x0, window.x1 - side))),
            int(np.clip(y, window.y0, max(window.y0, window.y1 - side))),
        )

    def fixed_places(self, side: int) -> list[tuple[int, int]]:
        """Adjacent patches over the window that have a cell near the regions."""
        window = self.window
        near = np.concatenate(list(self.cells.values())) * CELL
        taken = {(int(x - window.x0) // side, int(y - window.y0) // side) for x, y in near}
        return [(window.x0 + column * side, window.y0 + row * side) for column, row in sorted(taken)]


def _paints(region: Region, grid: ModelGrid) -> bool:
    """True if a region holds the centre of a pixel of the slide at the model's resolution."""
    pixels = scale(region.shape, xfact=1 / grid.scale_x, yfact=1 / grid.scale_y, origin=(0, 0))
    shape = pixels.intersection(rectangle(0, 0, grid.size.width, grid.size.height))
    if shape.is_empty or not shape.buffer(-1).is_empty:
        return not shape.is_empty  # what holds a disc of two pixels across holds a centre
    left, top, right, bottom = shape.bounds
    x0, y0, size = floor(left), floor(top), Size(ceil(right) - floor(left) + 1, ceil(bottom) - floor(top) + 1)
    painted = Outlines.of([region.shape]).mask(extent=grid.box(x0, y0, size), shape=(size.height, size.width))
    return bool(painted.any())


def _cells(outlines: Sequence[tuple[int, Outlines]], grid: ModelGrid, *, margin: int) -> dict[int, NDArray[np.int64]]:
    """Per class, the coarse cells whose centre has it, within `margin` of any region's bounding box."""
    size = Size(-(-grid.size.width // CELL), -(-grid.size.height // CELL))
    extent = grid.box(0, 0, Size(size.width * CELL, size.height * CELL))
    classes = np.zeros((size.height, size.width), np.uint8)
    near = np.zeros(classes.shape, bool)
    for number, outline in outlines:
        classes[outline.mask(extent=extent, shape=classes.shape)] = number
        x, y = (outline.start / (grid.scale_x * CELL, grid.scale_y * CELL)).T
        reach = margin / CELL
        top, left = (max(0, int(np.floor(low.min() - reach))) for low in (y, x))
        bottom, right = (max(0, int(np.ceil(high.max() + reach))) for high in (y, x))
        near[top:bottom, left:right] = True
        # A region between the cells' centres would otherwise never be seen.
        row, column = np.clip([y.mean(), x.mean()], 0, [size.height - 1, size.width - 1]).astype(int)
        if len(x) and (x.max() - x.min() < 2 or y.max() - y.min() < 2):
            classes[row, column] = number
    found = {}
    for number in np.unique(classes[near]).tolist():
        rows, columns = np.nonzero((classes == number) & near)
        found[int(number)] = np.stack([columns, rows], axis=1)
    return found


def augmented(rgb: Rgb, labels: LabelMap, random: np.random.Generator) -> tuple[Rgb, LabelMap]:
    """The patch rotated and flipped at random, with colours and brightness changed by up to 10% or 20%."""
    turns = int(random.integers(4))
    rgb, labels = np.rot90(rgb, turns), np.rot90(labels, turns)
    if random.random() < 0.5:
        rgb, labels = rgb[:, ::-1], labels[:, ::-1]
    pixels = rgb.astype(np.float32)
    gain = random.uniform(0.85, 1.15) * random.uniform(0.92, 1.08, 3)
    grey = pixels.mean(axis=-1, keepdims=True)
    pixels = (grey + (pixels - grey) * random.uniform(0.7, 1.3)) * gain + random.uniform(-12, 12)
    return np.clip(pixels, 0, 255).astype(np.uint8), np.ascontiguousarray(labels)
