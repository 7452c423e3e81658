"""Cells found by Cellpose (Stringer et al., Nature Methods 2021), with its own library."""

from __future__ import annotations

from typing import Any

import numpy as np
from cellpose import models
from numpy.typing import NDArray
from slideloom import Placed, Placement, Rgb, Scene, Slide, SlideError

from slideloom_cells.blocks import blocks_of, lattice_of, read_block, tissue_of
from slideloom_cells.placing import Points, placed_around
from slideloom_cells.settings import Cellpose

_BLOCK_PX = 2048
_MARGIN_DIAMETERS = 2.0


class CellposePlacement(Placement):
    """A tile around each cell; blocks overlap by more than a cell, and each cell belongs to the block of its centre."""

    def __init__(self, settings: Cellpose) -> None:
        self._settings = settings
        self._model: Any = models.CellposeModel(gpu=settings.gpu, pretrained_model=settings.model)

    def place(self, slide: Slide, scene: Scene) -> Placed:
        """See `Placement.place`."""
        return placed_around(self._centres(slide), slide.info, scene.geometry.footprint, edge=self._settings.edge)

    def _centres(self, slide: Slide) -> Points:
        lattice = lattice_of(slide, self._settings.mpp)
        tissue = tissue_of(slide, lattice)
        margin = int(_MARGIN_DIAMETERS * self._settings.diameter_um / lattice.um) + 1
        found = [np.zeros((0, 2))]
        for block in blocks_of(lattice, side=_BLOCK_PX, margin=margin):
            if not tissue.within(block):
                continue
            centres = self._in_pixels(read_block(slide, lattice, block), lattice.um)
            centres += np.array([block.left - margin, block.top - margin])
            found.append(centres[block.holds(centres[:, 0], centres[:, 1])])
        points = np.concatenate(found)
        steps = np.array([lattice.step_x, lattice.step_y])
        return np.asarray((points + 0.5) * steps - 0.5)

    def _in_pixels(self, rgb: Rgb, um: float) -> Points:
        settings = self._settings
        masks = self._model.eval(
            rgb,
            diameter=settings.diameter_um / um,
            flow_threshold=settings.flow_threshold,
            cellprob_threshold=settings.cell_threshold,
        )[0]
        masks = np.asarray(masks)
        if masks.shape != rgb.shape[:2]:
            raise SlideError(f"Cellpose gave masks of {masks.shape} for pixels of {rgb.shape[:2]}; update cellpose")
        return centres_of(masks)


def centres_of(masks: NDArray[Any]) -> Points:
    """(N, 2) mean x and y of each number above 0 in (h, w) masks."""
    row, column = np.nonzero(masks)
    number = masks[row, column].astype(np.int64)
    count = np.bincount(number)
    with np.errstate(invalid="ignore"):
        x, y = np.bincount(number, column) / count, np.bincount(number, row) / count
    centres: Points = np.stack([x, y], axis=1)[count > 0]
    return centres
