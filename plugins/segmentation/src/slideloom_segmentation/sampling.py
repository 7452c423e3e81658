"""Patches with labels from slides with regions: random ones for training, fixed ones for validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import ConfigError, Outlines, Regions, Rgb, Size, Slide

from slideloom_segmentation.model_grid import ModelGrid
from slideloom_segmentation.settings import SegmentConfig

LabelMap = NDArray[np.uint8]  # (H, W), class numbers
_CELL = 8  # side of the coarse cells used to look up classes, in model pixels


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
            ConfigError: the slide has no usable region.
        """
        grid = ModelGrid.of(slide.info, config.mpp)
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
        low, high = np.array([window.x0, window.y0]) / _CELL, np.array([window.x1, window.y1]) / _CELL
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
        size = Size(side, side)
        labels = np.zeros((side, side), np.uint8)
        box = self.grid.box(x, y, size)
        for number, outline in self.outlines:
            labels[outline.mask(extent=box, shape=labels.shape)] = number
        whole = self.grid.size
        if self.picture is None or x < 0 or y < 0 or x + side > whole.width or y + side > whole.height:
            return self.slide.read_at(box, size), labels
        return self.picture[y : y + side, x : x + side], labels

    def random_place(self, side: int, random: np.random.Generator) -> tuple[int, int]:
        """Top left of a patch that contains a class, each with equal probability; within the window if it fits."""
        places = self.cells[int(random.choice(sorted(self.cells)))]
        x, y = places[random.integers(len(places))] * _CELL + _CELL // 2 - random.integers(0, side, 2)
        window = self.window
        return (
            int(np.clip(x, window.x0, max(window.x0, window.x1 - side))),
            int(np.clip(y, window.y0, max(window.y0, window.y1 - side))),
        )

    def fixed_places(self, side: int) -> list[tuple[int, int]]:
        """Adjacent patches over the window that have a cell near the regions."""
        window = self.window
        near = np.concatenate(list(self.cells.values())) * _CELL
        taken = {(int(x - window.x0) // side, int(y - window.y0) // side) for x, y in near}
        return [(window.x0 + column * side, window.y0 + row * side) for column, row in sorted(taken)]


def _cells(outlines: Sequence[tuple[int, Outlines]], grid: ModelGrid, *, margin: int) -> dict[int, NDArray[np.int64]]:
    """Per class, the coarse cells whose centre has it, within `margin` of any region's bounding box."""
    size = Size(-(-grid.size.width // _CELL), -(-grid.size.height // _CELL))
    extent = grid.box(0, 0, Size(size.width * _CELL, size.height * _CELL))
    classes = np.zeros((size.height, size.width), np.uint8)
    near = np.zeros(classes.shape, bool)
    for number, outline in outlines:
        classes[outline.mask(extent=extent, shape=classes.shape)] = number
        x, y = (outline.start / (grid.scale_x * _CELL, grid.scale_y * _CELL)).T
        reach = margin / _CELL
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


@frozen
class TrainingSplit:
    """What to train on and what to validate on; `text` says how they were split."""

    train: tuple[Plot, ...]
    validation: tuple[Plot, ...]
    text: str


def split(plots: Sequence[Plot], config: SegmentConfig) -> TrainingSplit:
    """Plots for training and validation: split by slide, or a single slide into two halves.

    Raises:
        ConfigError: there is nothing to train on, or a label is missing from the training part.
    """
    if not plots:
        raise ConfigError("segment: no slide to train on")
    if len(plots) == 1:
        result = _halves(plots[0])
    else:
        order = np.random.default_rng([config.seed, 0]).permutation(len(plots)).tolist()
        count = min(len(plots) - 1, max(1, round(config.val_fraction * len(plots))))
        chosen = sorted(order[:count])
        held_out = ", ".join(plots[i].slide.info.name for i in chosen)
        result = TrainingSplit(
            tuple(plot for i, plot in enumerate(plots) if i not in chosen),
            tuple(plots[i] for i in chosen),
            f"by slide: {held_out}",
        )
    for number, name in enumerate(config.classes):
        if not any(number in plot.cells for plot in result.train):
            raise ConfigError(f"segment: nothing in the training part is '{name}' (validation is {result.text})")
    return result


def _halves(plot: Plot) -> TrainingSplit:
    whole = plot.window
    places = np.concatenate(list(plot.cells.values())) * _CELL
    span = places.max(axis=0) - places.min(axis=0)
    if span[0] >= span[1]:
        middle = int(np.median(places[:, 0]))
        parts, text = (PatchArea(0, 0, middle, whole.y1), PatchArea(middle, 0, whole.x1, whole.y1)), "left and right"
    else:
        middle = int(np.median(places[:, 1]))
        parts, text = (PatchArea(0, 0, whole.x1, middle), PatchArea(0, middle, whole.x1, whole.y1)), "top and bottom"
    train, validation = (plot.within(part) for part in parts)
    if not validation.cells:
        raise ConfigError(f"{plot.slide.info.path.name}: too small to be split for validation; add a second slide")
    return TrainingSplit(
        (train,), (validation,), f"the other half of the only slide ({text}), so it says little about other slides"
    )


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
