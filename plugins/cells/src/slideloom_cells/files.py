"""Placements that read cells from files."""

from __future__ import annotations

from pathlib import Path
from unicodedata import normalize

import numpy as np
from attrs import evolve
from slideloom import (
    ConfigError,
    Placed,
    Placement,
    Scene,
    Slide,
    SlideError,
    SlideInfo,
    finite_number,
    own_name,
    path_of_name,
    slide_name,
)

from slideloom_cells.geojson import geojson_centroids
from slideloom_cells.placing import Points, placed_around
from slideloom_cells.settings import CsvCells, QuPathCells
from slideloom_cells.tables import CellTable, csv_points, qupath_points

_TABLES = (".csv", ".tsv", ".txt")
_GEOJSON = (".geojson", ".json")
_PACKED = ".gz"


class QuPathPlacement(Placement):
    """A tile around each cell in QuPath's exports.

    Raises:
        ConfigError: there is no such folder or file.
    """

    def __init__(self, settings: QuPathCells) -> None:
        _check_there(settings.folder, settings.name)
        self._settings = settings

    def place(self, slide: Slide, scene: Scene) -> Placed:
        """See `Placement.place`."""
        info, settings = slide.info, self._settings
        path, is_own = _file_of(settings.folder, info, (*_GEOJSON, *_TABLES))
        if _suffix_of(path) in _GEOJSON:
            points, notes = geojson_centroids(path, classes=settings.classes)
            if not is_own:
                notes = (*notes, _taken_whole(path, info))
        else:
            table = qupath_points(
                path, slide=_called(info), whole=info.shares_name, classes=settings.classes, unit=settings.unit
            )
            notes = _checked_owner(table, path, settings.folder, info, column="Image", is_own=is_own)
            points = _in_pixels(table, info, settings.pixel_um)
        if settings.bounds != "none":
            points = points + _origin(info, path, must=settings.bounds == "add")
        return _with_notes(placed_around(points, info, scene.geometry.footprint, edge=settings.edge), notes)


class CsvPlacement(Placement):
    """A tile around each point in a CSV.

    Raises:
        ConfigError: there is no such folder or file.
    """

    def __init__(self, settings: CsvCells) -> None:
        _check_there(settings.folder, settings.name)
        self._settings = settings

    def place(self, slide: Slide, scene: Scene) -> Placed:
        """See `Placement.place`."""
        info, settings = slide.info, self._settings
        path, is_own = _file_of(settings.folder, info, _TABLES)
        table = csv_points(
            path, slide=_called(info), whole=info.shares_name, x=settings.x, y=settings.y, unit=settings.unit
        )
        notes = _checked_owner(table, path, settings.folder, info, column="slide", is_own=is_own)
        points = _in_pixels(table, info, None)
        if settings.bounds == "add":
            points = points + _origin(info, path, must=True)
        return _with_notes(placed_around(points, info, scene.geometry.footprint, edge=settings.edge), notes)


def _check_there(path: Path, step: str) -> None:
    if not path.exists():
        raise ConfigError(f"{path}: no such folder or file of cells; set `folder` of {step!r}")


def _with_notes(placed: Placed, notes: tuple[str, ...]) -> Placed:
    return evolve(placed, notes=(*notes, *placed.notes))


def _file_of(folder: Path, info: SlideInfo, suffixes: tuple[str, ...]) -> tuple[Path, bool]:
    """The slide's file in a folder, and True if it has the slide's name; else the single table for all slides.

    Raises:
        SlideError: there is none, or the choice is ambiguous.
    """
    if folder.is_file():
        return folder, _is_named(folder, _names_in(info, ""))
    files = _listed(folder, suffixes)
    for within in dict.fromkeys(name.rpartition("/")[0] for name in info.names):
        home = path_of_name(folder, within) if within else folder
        there = files if home == folder else _listed(home, suffixes) if home.is_dir() else []
        named = [path for path in there if _is_named(path, _names_in(info, within))]
        if len(named) > 1:
            raise SlideError(f"{home}: {', '.join(p.name for p in named)} are all for {info.name}; keep one of them")
        if named:
            return named[0], True
    tables = [path for path in files if _suffix_of(path) in _TABLES]
    if len(files) == 1 and tables:
        return tables[0], False
    raise SlideError(f"{folder}: no cells for {info.path.name}; export them as {info.name}{suffixes[0]} or one table")


def _called(info: SlideInfo) -> str:
    """The slide's name in tables: without folders, if no other slide has the same."""
    return info.name if info.shares_name else own_name(info.name)


def _listed(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if _suffix_of(path) in suffixes)
    except OSError as error:
        raise SlideError(f"{folder}: cannot be read ({error.strerror or error}); check the folder") from error


def _names_in(info: SlideInfo, within: str) -> set[str]:
    """What a slide's file may be called, without ending, in a folder below that of all cells."""
    names = (name.rpartition("/") for name in info.names)
    return {normalize("NFC", own) for folder, _, own in names if folder == within}


def _unpacked(path: Path) -> Path:
    """The path without a `.gz` at its end."""
    return path.with_suffix("") if path.suffix.lower() == _PACKED else path


def _suffix_of(path: Path) -> str:
    return "" if path.name.startswith(".") else _unpacked(path).suffix.lower()


def _is_named(path: Path, names: set[str]) -> bool:
    """True if a file has the name of the slide or of its file; letters with accents may be stored in two ways."""
    own = _unpacked(path)
    return normalize("NFC", slide_name(own)) in names or normalize("NFC", own.stem) in names


def _checked_owner(
    table: CellTable, path: Path, folder: Path, info: SlideInfo, *, column: str, is_own: bool
) -> tuple[str, ...]:
    """The table's notes, plus one if nothing says that its cells belong to this slide.

    Raises:
        SlideError: it was found in a folder, where it could as well belong to another slide.
    """
    if table.names_slides or is_own:
        return table.notes
    if path != folder:
        raise SlideError(
            f"{path}: has no column {column} and is not named as {info.path.name}, so its cells may be those of "
            f"another slide; name it {info.name}{path.suffix}, or export it with the column {column}"
        )
    return (*table.notes, _taken_whole(path, info))


def _taken_whole(path: Path, info: SlideInfo) -> str:
    return f"all cells in {path.name} were taken for {info.path.name}: nothing in the file names their slide"


def _in_pixels(table: CellTable, info: SlideInfo, pixel_um: float | None) -> Points:
    if table.unit == "px":
        return table.points
    pixels: Points = table.points / np.array(_pixel_um(info, pixel_um))
    return pixels


def _pixel_um(info: SlideInfo, given: float | None) -> tuple[float, float]:
    """Microns per pixel used to compute microns: as given, else as recorded in the file, else that of the run."""
    if given is not None:
        return given, given
    x, y = (finite_number(info.properties.get(f"openslide.mpp-{axis}")) for axis in "xy")
    if x is not None and y is not None and min(x, y) > 0:
        return x, y
    if info.mpp is None:
        raise SlideError(f"{info.path.name}: cells are in microns, but the slide's pixel size is not known")
    return info.mpp.x, info.mpp.y


def _origin(info: SlideInfo, path: Path, *, must: bool) -> tuple[float, float]:
    """Origin of QuPath's image, which is cropped to the scanned bounds."""
    if info.bounds is not None:
        return info.bounds.x, info.bounds.y
    if must:
        raise SlideError(f"{path}: bounds is 'add', but {info.path.name} records no scanned area; use auto or none")
    return 0.0, 0.0
