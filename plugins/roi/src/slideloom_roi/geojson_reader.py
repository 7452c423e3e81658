"""GeoJSON as QuPath has written it since 0.2, plain GeoJSON, and LabelMe's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import shapely
from slideloom import parse_json

from slideloom_roi.drafts import Draft, Mistake, Notes, Parsed, points_of, polygon_of

# QuPath objects that are not regions, and the ids that 0.2 wrote instead of `objectType`.
_NO_REGIONS = {"detection", "cell", "tile", "tmacore", "root"}
_OLD_IDS = {
    "PathAnnotationObject": "annotation",
    "PathDetectionObject": "detection",
    "PathCellObject": "cell",
    "PathTileObject": "tile",
    "TMACoreObject": "tmacore",
    "PathRootObject": "root",
}
_GEOMETRIES = {
    "Polygon", "MultiPolygon", "GeometryCollection", "Point", "MultiPoint", "LineString", "MultiLineString",
}  # fmt: skip
_MAX_DEPTH = 50


def parse_geojson(text: str, *, label_property: str = "classification") -> Parsed:
    """The regions in the text of a JSON file.

    Accepts a FeatureCollection, a list of features, one feature, a bare geometry, and LabelMe's `{"shapes": ...}`. Of
    QuPath's objects, annotations are regions; detections, cells, tiles and cores are not.

    Args:
        text: the whole file.
        label_property: the property that holds labels.

    Raises:
        Mistake: it cannot be parsed.
    """
    try:
        content = parse_json(text, deepest=None)
    except ValueError as error:
        raise Mistake(f"not valid JSON ({error}); export the regions again") from error
    if isinstance(content, dict) and "shapes" in content:
        return _labelme(content["shapes"])
    notes = Notes()
    drafts: list[Draft] = []
    is_from_qupath = False
    # Popped from the end, so that children follow their parent and the order is that of the file.
    waiting = list(reversed(_features(content)))
    while waiting:
        place, feature = waiting.pop()
        properties = feature.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        kind = _kind(feature, properties)
        is_from_qupath |= bool(kind) or "classification" in properties
        if kind in _NO_REGIONS:
            notes.add(f"left out, QuPath objects of type {kind}", place)
        else:
            draft = _draft(feature, properties, place, label_property, notes)
            if draft is not None:
                drafts.append(draft)
        children = feature.get("childObjects", properties.get("childObjects"))
        if isinstance(children, list):
            waiting.extend(reversed(_listed(children, f"{place}, child ")))
    about = content.get("slideloom") if isinstance(content, dict) else None
    origin = _origin(about)
    return Parsed(
        drafts,
        notes.sentences(),
        is_final=isinstance(about, dict) and about.get("nested") == "keep",
        has_holes=True,
        is_cropped=is_from_qupath,
        origin=origin,
    )


def _origin(about: object) -> tuple[float, float] | None:
    """What `write_geojson` noted in the file, if anything."""
    if not isinstance(about, dict) or "origin" not in about:
        return None
    points = points_of([about["origin"]], place="slideloom.origin")
    if len(points) != 1:
        raise Mistake("slideloom.origin: must be two numbers")
    return float(points[0, 0]), float(points[0, 1])


def _features(content: object) -> list[tuple[str, Mapping[str, Any]]]:
    if isinstance(content, list):
        return _listed(content, "feature ")
    if not isinstance(content, dict):
        raise Mistake("not GeoJSON: neither an object nor a list; export the regions again")
    kind = content.get("type")
    if kind == "FeatureCollection" or (kind is None and "features" in content):
        features = content.get("features")
        if not isinstance(features, list):
            raise Mistake("a FeatureCollection needs a list of features")
        return _listed(features, "feature ")
    if kind == "Feature" or "geometry" in content:
        return [("feature 1", content)]
    if isinstance(kind, str) and kind in _GEOMETRIES:
        return [("feature 1", {"type": "Feature", "geometry": content})]
    raise Mistake(f"not GeoJSON: type {str(kind)[:40]!r} is none of FeatureCollection, Feature or a geometry")


def _listed(items: Sequence[object], before: str) -> list[tuple[str, Mapping[str, Any]]]:
    found: list[tuple[str, Mapping[str, Any]]] = []
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise Mistake(f"{before}{number}: must be an object, not {str(item)[:40]!r}")
        kind = item.get("type")
        is_bare = "geometry" not in item and isinstance(kind, str) and kind in _GEOMETRIES
        found.append((f"{before}{number}", {"geometry": item} if is_bare else item))
    return found


def _kind(feature: Mapping[str, Any], properties: Mapping[str, Any]) -> str:
    """QuPath's type of an object in lower case, or ""."""
    kind = properties.get("objectType", properties.get("object_type"))
    if isinstance(kind, str):
        return kind.lower().removeprefix("path").removesuffix("object")
    identity = feature.get("id")
    return _OLD_IDS.get(identity, "") if isinstance(identity, str) else ""


def _draft(
    feature: Mapping[str, Any], properties: Mapping[str, Any], place: str, label_property: str, notes: Notes
) -> Draft | None:
    name = properties.get("name")
    name = str(name) if isinstance(name, str | int | float) and str(name).strip() else None
    called = f"{place}, {name!r}" if name is not None else place
    geometry = feature.get("geometry")
    if not isinstance(geometry, dict):
        notes.add("left out, no geometry", called)
        return None
    polygons, others = _polygons(geometry, called, 0)
    for other in others:
        notes.add(f"left out, a {other} has no area", called)
    if not polygons and others:
        return None
    return Draft(name, place, _joined(polygons), _label(properties, label_property), _description(properties))


def _joined(polygons: Sequence[Any]) -> Any | None:
    found = [polygon for polygon in polygons if polygon is not None]
    if len(found) <= 1:
        return found[0] if found else None
    return shapely.multipolygons(found)


def _polygons(geometry: Mapping[str, Any], place: str, depth: int) -> tuple[list[Any], list[str]]:
    """The polygons of a geometry (None for one with too few points), and the types of its other parts."""
    kind = geometry.get("type")
    if kind == "GeometryCollection":
        members = geometry.get("geometries")
        if depth > _MAX_DEPTH or not isinstance(members, list) or not all(isinstance(m, dict) for m in members):
            raise Mistake(f"{place}: a GeometryCollection needs a list of geometries")
        polygons, others = [], []
        for member in members:
            found, rest = _polygons(member, place, depth + 1)
            polygons += found
            others += rest
        return polygons, others
    coordinates = geometry.get("coordinates")
    if kind == "Polygon":
        return [_polygon(coordinates, place)], []
    if kind == "MultiPolygon":
        if not isinstance(coordinates, list):
            raise Mistake(f"{place}: a MultiPolygon needs a list of polygons")
        return [_polygon(part, place) for part in coordinates], []
    if isinstance(kind, str) and kind in _GEOMETRIES:
        return [], [kind]
    raise Mistake(f"{place}: {str(kind)[:40]!r} is not a type of geometry")


def _polygon(rings: object, place: str) -> Any | None:
    if not isinstance(rings, list):
        raise Mistake(f"{place}: a polygon needs a list of rings")
    if not all(isinstance(ring, list) for ring in rings):
        raise Mistake(f"{place}: a ring must be a list of points")
    return polygon_of([points_of(ring, place=place) for ring in rings])


def _label(properties: Mapping[str, Any], label_property: str) -> str | None:
    """The class: `{"name": ...}`, `{"names": [...]}` joined as QuPath shows them, with `parentClass`, or plain text."""
    value = properties.get(label_property)
    if isinstance(value, dict):
        names = value.get("names")
        if isinstance(names, list):
            return ": ".join(str(name) for name in names) or None
        name = value.get("name")
        parent = value.get("parentClass")
        above = _label({"class": parent}, "class") if isinstance(parent, dict) and not _is_deep(parent) else None
        if name is None or above is None:
            return str(name) if name not in (None, "") else above
        return str(name) if str(name).startswith(f"{above}: ") else f"{above}: {name}"
    return str(value) if isinstance(value, str | int | float) and str(value) else None


def _is_deep(parent: Mapping[str, Any]) -> bool:
    """True if classes are derived from each other more deeply than is plausible."""
    depth, above = 0, parent.get("parentClass")
    while isinstance(above, dict) and depth <= _MAX_DEPTH:
        depth, above = depth + 1, above.get("parentClass")
    return depth > _MAX_DEPTH


def _description(properties: Mapping[str, Any]) -> str | None:
    metadata = properties.get("metadata")
    places = (metadata if isinstance(metadata, dict) else {}, properties)
    for table, key in zip((*places, *places), ("ANNOTATION_DESCRIPTION", "description", "Description"), strict=False):
        if isinstance(table.get(key), str) and table[key]:
            return str(table[key])
    return None


def _labelme(shapes: object) -> Parsed:
    if not isinstance(shapes, list):
        raise Mistake("'shapes' must be a list")
    notes = Notes()
    drafts = []
    for place, shape in _listed(shapes, "shape "):
        kind = shape.get("shape_type") or "polygon"
        given = shape.get("points")
        points = points_of(given if isinstance(given, list) else [], place=place)
        if kind == "rectangle" and len(points) == 2:
            (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
            outline = shapely.box(left, top, right, bottom)
        elif kind == "polygon":
            outline = polygon_of([points])
        else:
            notes.add(f"left out, shapes of type {str(kind)[:40]}", place)
            continue
        text = shape.get("description")
        description = text if isinstance(text, str) and text else None
        drafts.append(Draft(None, place, outline, _label(shape, "label"), description))
    return Parsed(drafts, notes.sentences())
