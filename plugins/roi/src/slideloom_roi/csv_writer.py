"""Writes regions as CSV that QuPath-CSV readers can read, and ours without loss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import shapely
from slideloom import Regions, RoiError, csv_text, storing_in, write_whole

COLUMNS = ("ROI_Name", "X_base", "Y_base", "label", "description", "region", "part", "ring")


def write_csv(regions: Regions, path: Path) -> None:
    """Write regions with names, labels, descriptions, parts and holes.

    A file has one row per vertex. For a region's outline, `ROI_Name` is the region's name. Further parts and holes are
    rings with their own names and the same label, so that readers which treat nested rings as holes see the same shape.
    The columns region, part and ring say which ring belongs where; `qupath-csv` reads them back exactly.

    Args:
        regions: the regions.
        path: the file; it is replaced completely or not at all.

    Raises:
        RoiError: two regions have the same name, a name is empty, or a text cannot be stored.
        OutputError: the file cannot be written.
    """
    names = [region.name for region in regions.items]
    taken = set(names)
    if len(taken) < len(names) or "" in taken:
        raise RoiError(f"{path}: every region needs a name of its own to be written; rename them")
    rows: list[tuple[object, ...]] = []
    for region in regions.items:
        for part, number, ring in _rings(region.shape):
            name = region.name
            if part or number:
                name = _ring_name(f"{name}_part{part}_hole{number}" if number else f"{name}_part{part}", taken)
            tail = (region.label or "", region.description or "", region.name, part, number)
            rows.extend((name, _number(x), _number(y), *tail) for x, y in _vertices(ring))
    try:
        content = csv_text(COLUMNS, rows, quoting="text").encode("utf-8")
    except UnicodeEncodeError as error:
        raise RoiError(f"{path}: a name or label holds a character that cannot be stored ({error.reason})") from error
    with storing_in(path.parent):
        write_whole(path, content)


def _rings(shape: Any) -> Iterator[tuple[int, int, Any]]:
    for part, polygon in enumerate(shapely.get_parts(shape)):
        for number, ring in enumerate(shapely.get_rings(polygon)):
            yield part, number, ring


def _vertices(ring: Any) -> list[list[float]]:
    """The ring's points without the repeated first point, as in the format."""
    points: list[list[float]] = shapely.get_coordinates(ring)[:-1].tolist()
    return points


def _number(value: float) -> float:
    """A whole number as int, to be written without ".0"."""
    return int(value) if value.is_integer() else value


def _ring_name(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name
