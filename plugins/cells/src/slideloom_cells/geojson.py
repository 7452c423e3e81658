"""Centroids of the cells in a GeoJSON file of any size, read feature by feature."""

from __future__ import annotations

import zlib
from array import array
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from gzip import GzipFile
from math import nan
from pathlib import Path
from typing import IO, Any, cast

import ijson  # type: ignore[import-untyped]  # it has no types
import numpy as np
import shapely
from numpy.typing import NDArray
from slideloom import SlideError

# QuPath's names of objects since 0.3, and the ids that 0.2 wrote instead.
_CELLS = frozenset({"cell", "detection"})
_OLD_IDS = {"PathCellObject": "cell", "PathDetectionObject": "detection", "PathAnnotationObject": "annotation"}
_AT_ONCE = 20_000
_FAR = 1e12
# What reading something else than GeoJSON of cells can end in.
_DAMAGES = (
    OSError, EOFError, zlib.error, ijson.JSONError, ValueError, TypeError, KeyError, AttributeError, IndexError,
    OverflowError, shapely.errors.ShapelyError,
)  # fmt: skip


def geojson_centroids(path: Path, *, classes: Sequence[str] = ()) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """(N, 2) x and y of cells, in pixels of the image that was open in QuPath; and what was left out.

    Cells (by their nucleus, if the file has it), detections and points are used; in files that do not say what an
    object is, polygons too. An outline is represented by the centroid of its area; one without a point is left out.

    Args:
        path: a FeatureCollection, a list of features, or one feature; may be compressed with gzip.
        classes: the only classes to use; by default all.

    Raises:
        SlideError: it cannot be read, or has no cells.
    """
    collected = _Centroids()
    others = 0
    wanted = frozenset(classes)
    try:
        for number, feature in enumerate(_features(path), 1):
            geometry = _cell_geometry(feature) if not wanted or wanted & _classes(feature) else None
            if geometry is None:
                others += 1
            else:
                collected.add(geometry, number)
        points = collected.points()
    except _DAMAGES as error:
        text = str(error).splitlines()[0] if str(error).strip() else type(error).__name__
        raise SlideError(f"{path}: cannot be read as GeoJSON: {text}; export the cells again") from error
    if not len(points):
        of_class = f" of class {', '.join(classes)}" if classes else ""
        raise SlideError(f"{path}: holds no cells, detections or points{of_class}, but {others} other objects")
    empty = collected.empty
    if not empty:
        return points, ()
    return points, (
        f"{path.name}: cells left out because they have no outline: {len(empty)}, the first is object {empty[0]}",
    )


def _features(path: Path) -> Iterator[Mapping[str, Any]]:
    """All features with their children, with at most one feature of the file in memory."""
    for prefix in _prefixes(path):
        found = False
        with _opened(path) as file:
            for feature in ijson.items(file, prefix, use_float=True):
                found = True
                yield from _with_children(feature)
        if found:
            return


def _prefixes(path: Path) -> tuple[str, ...]:
    """Where the features are: in a list, in a collection, or the file itself is one."""
    with _opened(path) as file:
        start = file.read(4096).lstrip()
    if start.startswith(b"["):
        return ("item",)
    if start.startswith(b"{"):
        return ("features.item", "")
    raise ValueError("it starts neither with { nor with [")


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    """The file after its byte order mark, decompressed if it is gzip."""
    with path.open("rb") as raw:
        is_packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        file = cast("IO[bytes]", GzipFile(fileobj=raw)) if is_packed else raw
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        yield file


def _with_children(feature: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    waiting = [feature]
    while waiting:
        one = waiting.pop()
        yield one
        properties = one.get("properties") or {}
        waiting.extend(reversed(one.get("childObjects") or properties.get("childObjects") or []))


def _classes(feature: Mapping[str, Any]) -> set[str]:
    """The name of an object's class as QuPath shows it, and its parts."""
    given = (feature.get("properties") or {}).get("classification")
    if isinstance(given, str):
        return {given}
    if not isinstance(given, Mapping):
        return set()
    names = [str(name) for name in given.get("names") or ()]
    return {*names, ": ".join(names), str(given.get("name", ""))} - {""}


def _cell_geometry(feature: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The outline or point that represents the cell, or None for an object that is not a cell."""
    properties = feature.get("properties") or {}
    geometry: Mapping[str, Any] | None = feature.get("geometry")
    kind = properties.get("objectType") or properties.get("object_type") or _OLD_IDS.get(str(feature.get("id")), "")
    if geometry is None:
        return None
    is_point = geometry.get("type") in ("Point", "MultiPoint")
    if kind in _CELLS or (kind == "annotation" and is_point):
        return feature.get("nucleusGeometry") or properties.get("nucleusGeometry") or geometry
    # Other programs do not say what an object is; "PathAnnotationObject" and the like are QuPath's.
    return geometry if not kind and geometry.get("type") in ("Point", "MultiPoint", "Polygon", "MultiPolygon") else None


class _Centroids:
    """Centroids of many small outlines; rings without holes are collected and processed together.

    Attributes:
        empty: numbers of the objects that have no point.
    """

    def __init__(self) -> None:
        self.empty: list[int] = []
        self._done: Any = array("d")
        self._numbers: Any = array("q")
        self._rings: list[Any] = []
        self._slots: list[int] = []

    def add(self, geometry: Mapping[str, Any], number: int) -> None:
        kind, coordinates = geometry["type"], geometry.get("coordinates")
        if kind == "Point":
            self._put(number, float(coordinates[0]), float(coordinates[1]))  # type: ignore[index]  # a Point has them
        elif kind == "MultiPoint":
            for point in coordinates or ():
                self._put(number, float(point[0]), float(point[1]))
        elif kind == "Polygon" and len(coordinates or ()) == 1 and len(coordinates[0]) >= 4:  # type: ignore[index]
            self._slots.append(len(self._numbers))
            self._rings.append(coordinates[0])  # type: ignore[index]
            self._put(number, nan, nan)
            if len(self._rings) >= _AT_ONCE:
                self._flush()
        else:
            self._put(number, *_centre(geometry))

    def points(self) -> NDArray[np.float64]:
        """(N, 2) of all objects that have a point."""
        self._flush()
        points = np.array(self._done, np.float64).reshape(-1, 2)
        is_there = np.isfinite(points).all(axis=1)
        self.empty = np.array(self._numbers)[~is_there].tolist()
        return points[is_there]

    def _put(self, number: int, x: float, y: float) -> None:
        self._numbers.append(number)
        self._done.extend((x, y))

    def _flush(self) -> None:
        if not self._rings:
            return
        corners = np.array([point[:2] for ring in self._rings for point in ring], np.float64)
        corners[~np.isfinite(corners).all(axis=1)] = nan  # no place at all, and the ring has none
        corners = corners.clip(-_FAR, _FAR)  # farther off than any slide, but areas do not overflow
        owners = np.repeat(np.arange(len(self._rings)), [len(ring) for ring in self._rings])
        is_whole = np.isfinite(np.bincount(owners, corners.sum(axis=1)))
        used = is_whole[owners]
        shapes = shapely.polygons(shapely.linearrings(corners[used], indices=owners[used]))
        centres = np.full((len(self._rings), 2), nan)
        centres[is_whole] = shapely.get_coordinates(shapely.centroid(shapes))
        for slot, (x, y) in zip(self._slots, centres.tolist(), strict=True):
            self._done[2 * slot], self._done[2 * slot + 1] = x, y
        self._rings.clear()
        self._slots.clear()


def _centre(geometry: Mapping[str, Any]) -> tuple[float, float]:
    """The centroid of a geometry; nan if it has no points or too few for its kind."""
    try:
        with np.errstate(over="ignore", invalid="ignore"):
            centre = shapely.centroid(shapely.geometry.shape(geometry))
    except (ValueError, IndexError, shapely.errors.GEOSException):
        return nan, nan
    return (nan, nan) if centre.is_empty else (centre.x, centre.y)
