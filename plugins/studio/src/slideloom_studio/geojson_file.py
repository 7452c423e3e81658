"""A slide's GeoJSON file as the page edits it: every feature and member stays, only outlines and origin are touched."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import field, frozen
from slideloom.base.parsing import parse_json
from slideloom.drawing.geojson import regions_geojson
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Regions

Feature = dict[str, Any]
Shift = tuple[float, float]

# QuPath's objects that are no regions: they stay in the file, and the page does not get them.
_HIDDEN = {"detection", "cell", "tile", "tmacore", "root"}
_OLD_IDS = {
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tmacore",
    "PathRootObject": "root",
}
_GEOMETRIES = {
    "Polygon", "MultiPolygon", "GeometryCollection", "Point", "MultiPoint", "LineString", "MultiLineString",
}  # fmt: skip


@frozen
class GeoJsonFile:
    """What a file holds.

    Attributes:
        shown: features for the page, in level-0 pixels.
        hidden: objects that are no regions, as the file holds them.
        members: of the collection, besides its features.
        origin: what the file's coordinates count from, in level-0 pixels.
    """

    shown: Sequence[Feature]
    hidden: Sequence[Feature] = ()
    members: Mapping[str, Any] = field(factory=dict)
    origin: Shift = (0, 0)

    @classmethod
    def parse(cls, content: bytes, info: SlideInfo) -> GeoJsonFile | None:
        """The content of a file; None where it is no GeoJSON in UTF-8, which then is read by the ROI source only."""
        try:
            value = parse_json(content.decode("utf-8-sig"), deepest=None)
        except ValueError:
            return None
        members, features = _collection(value)
        if features is None or not all(_is_feature(feature) for feature in features):
            return None
        whole = [each for feature in features for each in _flat(feature)]
        origin = _origin(members, whole, info)
        shown = [moved(feature, origin) for feature in whole if not _is_hidden(feature)]
        return cls(shown, [feature for feature in whole if _is_hidden(feature)], members, origin)

    @classmethod
    def new(cls, info: SlideInfo, regions: Regions | None = None) -> GeoJsonFile:
        """A file of these regions, with coordinates as QuPath counts them: from the scanned area."""
        origin = origin_of(info)
        features = parse_json(regions_geojson(regions))["features"] if regions is not None else []
        return cls(features, origin=origin)

    def content(self, features: Sequence[Feature]) -> bytes:
        """The file with other features instead of those shown: one per line, with the origin noted."""
        x, y = self.origin
        lines = [json.dumps(moved(feature, (-x, -y)), separators=(",", ":")) for feature in features]
        lines += [json.dumps(feature, separators=(",", ":")) for feature in self.hidden]
        about = self.members.get("slideloom")
        noted = {"nested": "keep", **(about if isinstance(about, dict) else {}), "origin": [x, y]}
        members = {**self.members, "type": "FeatureCollection", "slideloom": noted}
        head = json.dumps({key: value for key, value in members.items() if key != "features"})
        features_text = ",\n".join(lines)
        return f'{head[:-1]}, "features": [\n{features_text}\n]}}\n'.encode()


def origin_of(info: SlideInfo) -> Shift:
    """Top left of QuPath's image of a slide, in level-0 pixels."""
    bounds = info.bounds
    return (0, 0) if bounds is None else (_number(bounds.x), _number(bounds.y))


def moved(feature: Feature, by: Shift) -> Feature:
    """The feature with its geometries moved by (x, y)."""
    if not any(by):
        return feature
    geometries = {
        name: _moved(feature[name], by)
        for name in ("geometry", "nucleusGeometry")
        if isinstance(feature.get(name), dict)
    }
    return {**feature, **geometries}


def _moved(geometry: Mapping[str, Any], by: Shift) -> dict[str, Any]:
    if isinstance(geometry.get("geometries"), list):
        return {**geometry, "geometries": [_moved(each, by) for each in geometry["geometries"]]}
    return {**geometry, "coordinates": _points(geometry.get("coordinates"), by)}


def _points(value: Any, by: Shift) -> Any:
    if not isinstance(value, list):
        return value
    if len(value) >= 2 and all(isinstance(each, int | float) for each in value):
        return [_number(value[0] + by[0]), _number(value[1] + by[1]), *value[2:]]
    return [_points(each, by) for each in value]


def _number(value: float) -> float:
    """A whole number as int, to be written without ".0"."""
    return int(value) if float(value).is_integer() else value


def _collection(value: Any) -> tuple[dict[str, Any], list[Any] | None]:
    """The members of a collection and its features, for each of the forms that such files have."""
    if isinstance(value, list):
        return {}, value
    if not isinstance(value, dict) or "shapes" in value:
        return {}, None
    if isinstance(value.get("features"), list):
        return {key: each for key, each in value.items() if key != "features"}, value["features"]
    if value.get("type") == "Feature" or "geometry" in value:
        return {}, [value]
    return ({}, [value]) if value.get("type") in _GEOMETRIES else ({}, None)


def _is_feature(value: Any) -> bool:
    return isinstance(value, dict) and ("geometry" in value or value.get("type") in (*_GEOMETRIES, "Feature"))


def _flat(feature: Feature) -> list[Feature]:
    """A feature and those that QuPath keeps within it, each of its own, in the order in which they are read."""
    if "geometry" not in feature and feature.get("type") in _GEOMETRIES:
        return [{"type": "Feature", "geometry": feature, "properties": {}}]
    properties = feature.get("properties")
    inner = feature.get("childObjects", properties.get("childObjects") if isinstance(properties, dict) else None)
    if not isinstance(inner, list) or not all(_is_feature(each) for each in inner):
        return [feature]
    alone = {key: value for key, value in feature.items() if key != "childObjects"}
    if isinstance(properties, dict):
        alone["properties"] = {key: value for key, value in properties.items() if key != "childObjects"}
    return [alone, *(each for child in inner for each in _flat(child))]


def _kind(feature: Feature) -> str:
    """QuPath's type of an object in small letters, or ""."""
    properties = feature.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    kind = properties.get("objectType", properties.get("object_type"))
    if isinstance(kind, str):
        return kind.lower().removeprefix("path").removesuffix("object")
    return _OLD_IDS.get(str(feature.get("id")), "")


def _is_hidden(feature: Feature) -> bool:
    return _kind(feature) in _HIDDEN


def _is_from_qupath(feature: Feature) -> bool:
    properties = feature.get("properties")
    is_annotation = feature.get("id") == "PathAnnotationObject"
    return bool(_kind(feature)) or is_annotation or (isinstance(properties, dict) and "classification" in properties)


def _origin(members: Mapping[str, Any], features: Sequence[Feature], info: SlideInfo) -> Shift:
    """What coordinates count from: as the file says, as QuPath does if it wrote the file, or from the whole slide."""
    about = members.get("slideloom")
    noted = about.get("origin") if isinstance(about, dict) else None
    if isinstance(noted, list) and len(noted) == 2 and all(isinstance(each, int | float) for each in noted):
        return noted[0], noted[1]
    return origin_of(info) if any(_is_from_qupath(feature) for feature in features) else (0, 0)
