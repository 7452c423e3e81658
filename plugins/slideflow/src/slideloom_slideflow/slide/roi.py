"""Regions of interest by Slideflow's names, and their files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from slideloom import Region, csv_text, storing_in, utf8, write_whole

from slideloom_slideflow.adapting import Refusing

COLUMNS = ("roi_name", "label", "x_base", "y_base")


class ROI(Refusing):
    """One region: `name`, `label`, `description`, its `poly` (shapely) and `coordinates`."""

    peer = "slide.ROI"

    def __init__(self, region: Region) -> None:
        self.region = region

    def __repr__(self) -> str:
        return f"<ROI {self.name}: {self.label or 'no label'}, {len(self.coordinates)} points>"

    @property
    def name(self) -> str:
        """Its name."""
        return self.region.name

    @property
    def label(self) -> str | None:
        """Its class."""
        return self.region.label

    @property
    def description(self) -> str | None:
        """Free text."""
        return self.region.description

    @property
    def poly(self) -> Any:  # Any: shapely has no types
        """The shape, in level-0 pixels; holes are interior rings."""
        return self.region.shape

    @property
    def coordinates(self) -> NDArray[np.float64]:
        """(n, 2) x and y of the outline; of several parts, one after another."""
        rings = [shapely.get_coordinates(part.exterior)[:-1] for part in shapely.get_parts(self.region.shape)]
        return np.concatenate(rings)

    @property
    def holes(self) -> list[NDArray[np.float64]]:
        """(n, 2) x and y of each hole."""
        parts = shapely.get_parts(self.region.shape)
        return [shapely.get_coordinates(ring)[:-1] for part in parts for ring in part.interiors]


def write_rois(rois: Sequence[ROI], path: Path) -> None:
    """Write regions as Slideflow does: a row per point, and each hole under a name of its own.

    Raises:
        OutputError: the file cannot be written.
    """
    rows: list[tuple[object, ...]] = []
    for roi in rois:
        rings = [(roi.name, roi.coordinates)]
        rings += [(f"{roi.name}_hole{number}", hole) for number, hole in enumerate(roi.holes)]
        for name, points in rings:
            rows += [(name, roi.label or "", x, y) for x, y in np.floor(points).astype(np.int64).tolist()]
    with storing_in(path.parent):
        write_whole(path, utf8(csv_text(COLUMNS, rows)))
