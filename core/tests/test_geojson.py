"""Tiles and regions as QuPath reads them."""

from __future__ import annotations

import json

import numpy as np
import pytest
from shapely.geometry import MultiPolygon, Polygon, box, shape
from slideloom.base.errors import OutputError
from slideloom.base.geometry import Size
from slideloom.drawing.geojson import colour_of, write_regions_geojson, write_tiles_geojson
from slideloom.slides.regions import Region, Regions
from slideloom.slides.tiles import Tiles


def tiles_at(*corners: tuple[int, int]) -> Tiles:
    x, y = np.array(corners).T
    n = np.arange(len(corners))
    return Tiles(n, x, y, n + 10, n + 20, n * 0 - 1, footprint=Size(100, 50))


def test_tiles_are_squares_with_their_status_as_class(tmp_path) -> None:
    path = tmp_path / "tiles.geojson"

    write_tiles_geojson(path, tiles_at((0, 0), (-20, 300)), ["kept", "qc:otsu"])

    features = json.loads(path.read_text())["features"]
    assert [shape(feature["geometry"]).bounds for feature in features] == [(0, 0, 100, 50), (-20, 300, 80, 350)]
    assert [f["properties"]["classification"]["name"] for f in features] == ["kept", "qc:otsu"]
    assert features[1]["properties"]["objectType"] == "tile"
    assert features[1]["properties"]["measurements"] == {"index": 1, "grid_x": 11, "grid_y": 21}


def test_regions_keep_holes_parts_names_labels_and_text(tmp_path) -> None:
    ring = Polygon([(0, 0), (9, 0), (9, 9.25), (0, 9)], [[(2, 2), (4, 2), (4, 4)]])
    both = MultiPolygon([box(20, 20, 30, 30), ring])
    path = tmp_path / "deep" / "regions.geojson"

    write_regions_geojson(path, Regions((Region("é", ring, "tumor", "seen\nby A"), Region("b", both))))

    first, second = json.loads(path.read_text())["features"]
    assert shape(first["geometry"]).equals_exact(ring, 0)
    assert shape(second["geometry"]).equals_exact(both, 0)
    assert first["properties"]["name"] == "é"
    assert first["properties"]["classification"]["name"] == "tumor"
    assert first["properties"]["metadata"] == {"ANNOTATION_DESCRIPTION": "seen\nby A"}
    assert "classification" not in second["properties"]


def test_the_origin_of_a_cropping_viewer_is_subtracted_and_noted(tmp_path) -> None:
    regions, tiles = tmp_path / "regions.geojson", tmp_path / "tiles.geojson"

    write_regions_geojson(regions, Regions((Region("a", box(100, 200, 110, 220)),)), origin=(90, 150))
    write_tiles_geojson(tiles, tiles_at((100, 200)), ["kept"], origin=(90, 150))

    written = json.loads(regions.read_text())
    assert shape(written["features"][0]["geometry"]).bounds == (10, 50, 20, 70)
    assert written["slideloom"]["origin"] == [90, 150]
    assert shape(json.loads(tiles.read_text())["features"][0]["geometry"]).bounds == (10, 50, 110, 100)


def test_nothing_is_an_empty_collection(tmp_path) -> None:
    write_regions_geojson(tmp_path / "none.geojson", Regions())

    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []


def test_statuses_have_colours_that_stay() -> None:
    assert colour_of("kept") != colour_of("roi")
    assert colour_of("qc:otsu") == colour_of("qc:otsu")
    assert all(0 <= value <= 255 for value in colour_of("any other reason"))


def test_a_folder_that_cannot_be_made_is_named(tmp_path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="file"):
        write_regions_geojson(tmp_path / "file" / "a.geojson", Regions())
