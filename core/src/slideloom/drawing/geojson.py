"""Tiles and regions as GeoJSON, in the form that QuPath reads and writes."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from shapely.geometry import MultiPolygon, Polygon

from slideloom.base.storing import storing_in, write_whole
from slideloom.slides.regions import Region, Regions
from slideloom.slides.tiles import Tiles

KEPT_COLOUR = (40, 160, 60)
_STATUS_COLOURS = {
    "kept": KEPT_COLOUR,
    "written": KEPT_COLOUR,
    "roi": (150, 150, 150),
    "unreadable": (0, 0, 0),
    "normalizer": (150, 60, 200),
    "max-tiles": (90, 120, 200),
}
# For reasons such as "qc:otsu": distinct from each other and from green, and visible on pink.
_PALETTE = (
    (230, 120, 20), (20, 110, 200), (220, 190, 30), (0, 170, 180), (200, 30, 60), (120, 80, 40), (250, 100, 180),
    (90, 90, 160),
)  # fmt: skip


def colour_of(status: str) -> tuple[int, int, int]:
    """The (R, G, B) colour of a tile's status or a region's label: the same in every file."""
    return _STATUS_COLOURS.get(status) or _PALETTE[zlib.crc32(status.encode()) % len(_PALETTE)]


def write_tiles_geojson(
    path: Path, tiles: Tiles, status: Sequence[str], *, origin: tuple[float, float] = (0, 0)
) -> None:
    """Write the squares of tiles as QuPath tile objects, classified and coloured by status.

    Args:
        path: the file; it is replaced whole or not at all.
        tiles: N tiles.
        status: N texts, such as "kept", "roi", "qc:otsu".
        origin: top left of the viewer's image in level-0 pixels. QuPath crops slides with scanned bounds, so there
            it is `info.bounds.x, info.bounds.y`.

    Raises:
        OutputError: the file cannot be written.
    """
    width, height = tiles.footprint.width, tiles.footprint.height
    heads = {text: _properties("tile", None, text, None) for text in set(status)}
    columns = zip(tiles.index, tiles.x, tiles.y, tiles.grid_x, tiles.grid_y, status, strict=True)
    features = []
    for index, left, top, grid_x, grid_y, text in columns:
        x, y = _number(left - origin[0]), _number(top - origin[1])
        ring = [[x, y], [x + width, y], [x + width, y + height], [x, y + height], [x, y]]
        measured = {"index": int(index), "grid_x": int(grid_x), "grid_y": int(grid_y)}
        features.append(_feature([ring], "Polygon", {**heads[text], "measurements": measured}))
    with storing_in(path.parent):
        write_whole(path, _content(features, origin))


def write_regions_geojson(path: Path, regions: Regions, *, origin: tuple[float, float] = (0, 0)) -> None:
    """Write regions as QuPath annotations, with names, labels, descriptions and holes.

    Args:
        path: the file; it is replaced whole or not at all.
        regions: the regions, in level-0 pixels.
        origin: as for `write_tiles_geojson`. It is noted in the file, so that reading gives level-0 pixels again.

    Raises:
        OutputError: the file cannot be written.
    """
    with storing_in(path.parent):
        write_whole(path, regions_geojson(regions, origin=origin))


def regions_geojson(regions: Regions, *, origin: tuple[float, float] = (0, 0)) -> bytes:
    """The content of the file that `write_regions_geojson` writes."""
    return _content([_region_feature(region, origin) for region in regions.items], origin)


def _region_feature(region: Region, origin: tuple[float, float]) -> dict[str, Any]:
    properties = _properties("annotation", region.name, region.label, region.description)
    if isinstance(region.shape, MultiPolygon):
        return _feature([_rings(part, origin) for part in region.shape.geoms], "MultiPolygon", properties)
    return _feature(_rings(region.shape, origin), "Polygon", properties)


def _feature(coordinates: list[Any], kind: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "Feature", "geometry": {"type": kind, "coordinates": coordinates}, "properties": properties}


def _properties(kind: str, name: str | None, label: str | None, description: str | None) -> dict[str, Any]:
    properties: dict[str, Any] = {"objectType": kind}
    if name is not None:
        properties["name"] = name
    if label is not None:
        properties["classification"] = {"name": label, "color": list(colour_of(label))}
    if description is not None:
        properties["metadata"] = {"ANNOTATION_DESCRIPTION": description}  # where QuPath keeps it
    return properties


def _rings(polygon: Polygon, origin: tuple[float, float]) -> list[list[list[float]]]:
    rings = (polygon.exterior, *polygon.interiors)
    return [[[_number(x - origin[0]), _number(y - origin[1])] for x, y, *_ in ring.coords] for ring in rings]


def _number(value: float) -> float:
    """A whole number as int, to be written without ".0"."""
    value = float(value)
    return int(value) if value.is_integer() else value


def _content(features: Sequence[Mapping[str, Any]], origin: tuple[float, float]) -> bytes:
    """One feature per line, so that text editors and diffs can handle the file."""
    # Our own member, which GeoJSON allows: shapes are final (nested shapes are not holes), and their origin.
    about = {"origin": [_number(value) for value in origin], "nested": "keep"}
    lines = ",\n".join(json.dumps(feature, ensure_ascii=True, separators=(",", ":")) for feature in features)
    head = f'{{"type":"FeatureCollection","slideloom":{json.dumps(about)},"features":['
    return f"{head}\n{lines}\n]}}\n".encode()
