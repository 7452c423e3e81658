"""Placements that put one tile around each cell.

`QuPathCells`, `CsvCells`, `Nuclei` and `Cellpose` are settings; `find_nuclei` and `placed_around` can be used alone.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "Cellpose": "settings",
    "CsvCells": "settings",
    "Nuclei": "settings",
    "QuPathCells": "settings",
    "find_nuclei": "nuclei",
    "placed_around": "placing",
}

__all__ = ["Cellpose", "CsvCells", "Nuclei", "QuPathCells", "find_nuclei", "placed_around"]

if TYPE_CHECKING:
    from slideloom_cells.nuclei import find_nuclei
    from slideloom_cells.placing import placed_around
    from slideloom_cells.settings import Cellpose, CsvCells, Nuclei, QuPathCells


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_cells' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_cells.{_HOME_OF[name]}"), name)
