"""Placements by cells."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Placement, Settings, hookimpl

from slideloom_cells.settings import Cellpose, CsvCells, Nuclei, QuPathCells


@hookimpl
def slideloom_placements() -> Sequence[type[Settings[Placement]]]:
    """From files, and by detectors."""
    return [QuPathCells, CsvCells, Nuclei, Cellpose]
