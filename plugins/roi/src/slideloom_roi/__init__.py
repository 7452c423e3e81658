"""Regions of interest: read from QuPath CSV, GeoJSON, NDPA and XML, repaired, and written back without loss."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from slideloom import write_regions_geojson, write_tiles_geojson as write_tiles_geojson

    from slideloom_roi.csv_writer import write_csv as write_csv
    from slideloom_roi.nesting import nest_rings as nest_rings
    from slideloom_roi.settings import (
        GeoJson as GeoJson,
        Ndpa as Ndpa,
        QuPathCsv as QuPathCsv,
        RoiFolder as RoiFolder,
        Xml as Xml,
    )

    write_geojson = write_regions_geojson

_HOMES = {
    "GeoJson": ("slideloom_roi.settings", "GeoJson"),
    "Ndpa": ("slideloom_roi.settings", "Ndpa"),
    "QuPathCsv": ("slideloom_roi.settings", "QuPathCsv"),
    "RoiFolder": ("slideloom_roi.settings", "RoiFolder"),
    "Xml": ("slideloom_roi.settings", "Xml"),
    "nest_rings": ("slideloom_roi.nesting", "nest_rings"),
    "write_csv": ("slideloom_roi.csv_writer", "write_csv"),
    "write_geojson": ("slideloom", "write_regions_geojson"),
    "write_tiles_geojson": ("slideloom", "write_tiles_geojson"),
}

__all__ = [  # noqa: PLE0604 - the names of the table above
    *_HOMES,
    "script_path",
]


def script_path(version: Literal["0.1", "0.2"] = "0.2") -> Path:
    """The Groovy script that exports regions from QuPath: "0.2" for 0.2 and every later version, or "0.1"."""
    scripts = {"0.1": "export_regions_qupath_0.1.groovy", "0.2": "export_regions_qupath.groovy"}
    if version not in scripts:
        raise ValueError(f"there are scripts for QuPath 0.1 and for 0.2 and later ('0.2'), not {version!r}")
    return Path(__file__).parent / "scripts" / scripts[version]


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOMES:
        raise AttributeError(f"module 'slideloom_roi' has no attribute {name!r}")
    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
