"""Placements that read cells from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from slideloom import Placement, Scene, Slide, SlideError, SlideInfo, Tiles, finite_number, slide_name

from slideloom_cells.geojson import geojson_centroids
from slideloom_cells.placing import Points, tiles_around
from slideloom_cells.settings import CsvCells, QuPathCells
from slideloom_cells.tables import Table, csv_points, qupath_points

_TABLES = (".csv", ".tsv", ".txt")
_GEOJSON = (".geojson", ".json")


class QuPathPlacement(Placement):
    """A tile around each cell of QuPath's exports."""

    def __init__(self, settings: QuPathCells) -> None:
        self._settings = settings

    def place(self, slide: Slide, scene: Scene) -> Tiles:
        """See `Placement.place`."""
        info, settings = slide.info, self._settings
        path = _file_of(settings.folder, info, (*_GEOJSON, *_TABLES))
        if path.suffix.lower() in _GEOJSON:
            points = geojson_centroids(path, classes=settings.classes)
        else:
            table = qupath_points(path, slide=info.name, classes=settings.classes)
            points = _in_pixels(table, info, settings.pixel_um)
        if settings.bounds != "none":
            points = points + _origin(info, path, must=settings.bounds == "add")
        return tiles_around(points, info, scene.geometry.footprint, edge=settings.edge)


class CsvPlacement(Placement):
    """A tile around each point of a CSV."""

    def __init__(self, settings: CsvCells) -> None:
        self._settings = settings

    def place(self, slide: Slide, scene: Scene) -> Tiles:
        """See `Placement.place`."""
        info, settings = slide.info, self._settings
        path = _file_of(settings.folder, info, _TABLES)
        table = csv_points(path, slide=info.name, x=settings.x, y=settings.y, unit=settings.unit)
        points = _in_pixels(table, info, None)
        if settings.bounds == "add":
            points = points + _origin(info, path, must=True)
        return tiles_around(points, info, scene.geometry.footprint, edge=settings.edge)


def _file_of(folder: Path, info: SlideInfo, suffixes: tuple[str, ...]) -> Path:
    """The slide's file in a folder: named as the slide, else the one table of all slides.

    Raises:
        SlideError: there is none, or it is not clear which.
    """
    if folder.is_file():
        return folder
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() in suffixes)
    named = [path for path in files if slide_name(path) == info.name or path.stem == info.path.name]
    if len(named) > 1:
        raise SlideError(f"{folder}: {', '.join(p.name for p in named)} are all for {info.name}; keep one of them")
    if named:
        return named[0]
    tables = [path for path in files if path.suffix.lower() in _TABLES]
    if len(files) == 1 and tables:
        return tables[0]
    raise SlideError(f"{folder}: no cells for {info.path.name}; export them as {info.name}{suffixes[0]} or one table")


def _in_pixels(table: Table, info: SlideInfo, pixel_um: float | None) -> Points:
    if table.unit == "px":
        return table.points
    pixels: Points = table.points / np.array(_pixel_um(info, pixel_um))
    return pixels


def _pixel_um(info: SlideInfo, given: float | None) -> tuple[float, float]:
    """Microns per pixel that microns were made with: as given, as the file records, else as the run takes it."""
    if given is not None:
        return given, given
    x, y = (finite_number(info.properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    if x is not None and y is not None and min(x, y) > 0:
        return x, y
    if info.mpp is None:
        raise SlideError(f"{info.path.name}: cells are in microns, but the slide's pixel size is not known")
    return info.mpp.x, info.mpp.y


def _origin(info: SlideInfo, path: Path, *, must: bool) -> tuple[float, float]:
    """Where QuPath's image starts: it crops slides to their scanned bounds."""
    if info.bounds is not None:
        return info.bounds.x, info.bounds.y
    if must:
        raise SlideError(f"{path}: bounds is 'add', but {info.path.name} records no scanned area; use auto or none")
    return 0.0, 0.0
