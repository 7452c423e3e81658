"""Checks outlines that were drawn, and mends them as the installed reader of region files does."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import shapely
import shapely.geometry
from attrs import evolve, field, frozen
from slideloom.base.errors import RoiError
from slideloom.base.parsing import parse_json
from slideloom.base.storing import path_of_name, storing_in
from slideloom.drawing.geojson import regions_geojson
from slideloom.plugins.shorthand import folder_of_regions
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Regions

from slideloom_studio.calls import Refused
from slideloom_studio.geojson_file import Feature, GeoJsonFile

_FARTHEST = 1e9  # no slide is larger
_AREAS = ("Polygon", "MultiPolygon")


@frozen
class Checked:
    """Features that can be saved, and what was done to them.

    Attributes:
        features: to save.
        dropped: a sentence for each that is left out, or lost a hole.
        mended: a sentence for each whose outline was changed.
    """

    features: list[Feature] = field(factory=list)
    dropped: list[str] = field(factory=list)
    mended: list[str] = field(factory=list)


def checked(given: Sequence[Any], info: SlideInfo) -> Checked:
    """The features of a page, closed, with area and valid; what is not, is mended or left out with a word.

    Raises:
        Refused: a feature is none, or an outline cannot be mended.
    """
    result = Checked()
    for number, feature in enumerate(given, 1):
        geometry = feature.get("geometry") if isinstance(feature, dict) else None
        if not isinstance(geometry, dict) or not isinstance(feature.get("properties", {}), dict | None):
            raise Refused(422, f"feature {number} is no GeoJSON feature; reload the page")
        called = _called(feature, number)
        if geometry.get("type") not in _AREAS:  # a line or a point, kept as it was
            result.features.append(feature)
            continue
        made = _made(geometry, called, result)
        valid = None if made is None else _mended(made, called, result, info)
        if valid is not None:
            result.features.append({"properties": {}, **feature, "geometry": valid})
    return result


def _called(feature: Feature, number: int) -> str:
    properties = feature.get("properties") or {}
    name = properties.get("name")
    return f"'{name}'" if isinstance(name, str) and name else f"region {number}"


def _made(geometry: Mapping[str, Any], called: str, result: Checked) -> dict[str, Any] | None:
    """The geometry with closed rings of at least three points, or None."""
    is_one = geometry["type"] == "Polygon"
    parts = [geometry.get("coordinates")] if is_one else geometry.get("coordinates")
    if not isinstance(parts, list) or not all(isinstance(rings, list) and rings for rings in parts):
        raise Refused(422, f"{called} has no outline; draw it again")
    kept = []
    for rings in parts:
        closed = [_closed(ring, called) for ring in rings]
        if closed[0] is None:
            continue
        holes = [ring for ring in closed[1:] if ring is not None]
        if len(holes) < len(rings) - 1:
            result.dropped.append(f"{called}: a hole was left out, it has fewer than 3 points")
        kept.append([closed[0], *holes])
    if not kept:
        result.dropped.append(f"{called} was left out, it has fewer than 3 points")
        return None
    coordinates = kept[0] if is_one else kept
    return {**geometry, "coordinates": coordinates}


def _closed(ring: Any, called: str) -> list[Any] | None:
    """The ring with its first point at its end; None with fewer than three points."""
    if not isinstance(ring, list) or not all(_is_point(point) for point in ring):
        raise Refused(422, f"{called}: a point must be two numbers on a slide; draw it again")
    points = ring[:-1] if len(ring) > 1 and ring[0][:2] == ring[-1][:2] else ring
    if len({(point[0], point[1]) for point in points}) < 3:
        return None
    return [*points, points[0]]


def _is_point(point: Any) -> bool:
    return (
        isinstance(point, list)
        and len(point) >= 2
        and all(
            isinstance(value, int | float)
            and not isinstance(value, bool)
            and math.isfinite(value)
            and abs(value) <= _FARTHEST
            for value in point[:2]
        )
    )


def _mended(geometry: dict[str, Any], called: str, result: Checked, info: SlideInfo) -> dict[str, Any] | None:
    """The geometry if it is valid, or as the reader mends it; None if it encloses no area."""
    shape = shapely.geometry.shape(geometry)
    if not (shape.is_valid or shapely.make_valid(shape).area > 0):
        result.dropped.append(f"{called} was left out, it encloses no area")
        return None
    if shape.is_valid:
        return geometry
    alone = GeoJsonFile([]).content([{"type": "Feature", "properties": {}, "geometry": geometry}])
    try:
        regions = regions_in(alone, info)
    except RoiError as error:
        raise Refused(422, f"{called} cannot be saved: {error}") from error
    (feature,) = parse_json(regions_geojson(regions))["features"]
    result.mended.append(f"{called} crossed or touched itself and was mended")
    mended: dict[str, Any] = feature["geometry"]
    return mended


def regions_in(content: bytes, info: SlideInfo) -> Regions:
    """The regions that a region file with this content gives, by the installed reader.

    Raises:
        RoiError: it cannot be read.
        OutputError: the disk of temporary files has no room for it.
    """
    with tempfile.TemporaryDirectory(prefix="slideloom-studio-") as folder:
        path = path_of_name(Path(folder), info.name, ending=".geojson")
        with storing_in(Path(folder)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            found: Regions | None = folder_of_regions(Path(folder)).build().regions(info)
        except RoiError as error:
            raise RoiError(str(error).replace(f"{path}: ", "")) from error
    if found is None:
        raise RoiError(f"{info.name}.geojson: no installed plugin reads it: pip install slideloom-roi")
    return evolve(found, source="")
