"""GeoJSON of every QuPath version, plain GeoJSON, LabelMe's JSON."""

from __future__ import annotations

import json

import pytest
from attrs import evolve
from shapely.geometry import Polygon, box
from slideloom import Box, RoiError, Size
from slideloom_roi import GeoJson
from slideloom_testing.contracts import RoiSourceContract
from slideloom_testing.tiles import info_of

RING = [[10, 10], [110, 10], [110, 110], [10, 110], [10, 10]]
HOLE = [[20, 20], [60, 20], [60, 60], [20, 60], [20, 20]]
SQUARE = {"type": "Polygon", "coordinates": [RING]}


def feature(geometry=SQUARE, **properties):
    return {"type": "Feature", "geometry": geometry, "properties": properties}


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


def shifted(ring, x):
    return [[p[0] + x, *p[1:]] for p in ring]


@pytest.fixture
def read(tmp_path):
    """Regions of a file with this content."""

    def read(content, *, scanned: Box | None = None, file="s.geojson", **options):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / file).write_text(text)
        info = evolve(info_of("s", size=Size(1000, 800), folder=tmp_path), bounds=scanned)
        return GeoJson(folder=tmp_path, **options).build().regions(info)

    return read


class TestGeoJson(RoiSourceContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path):
        (tmp_path / "s.geojson").write_text(json.dumps(collection(feature(name="a"), feature(name="b"))))
        self.settings = GeoJson(folder=tmp_path, nested="keep")
        self.slide_info = info_of("s", size=Size(1000, 800), folder=tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        collection(feature(objectType="annotation")),
        [feature(objectType="annotation", isLocked=False, measurements=[])],
        feature(),
        SQUARE,
        [SQUARE],
        {"type": "GeometryCollection", "geometries": [SQUARE, {"type": "Point", "coordinates": [1, 2]}]},
        {"type": "MultiPolygon", "coordinates": [[RING]]},
        {"type": "Feature", "id": "PathAnnotationObject", "geometry": SQUARE, "properties": {}},
        feature({"type": "Polygon", "coordinates": [RING[:-1]], "plane": {"c": -1, "z": 0, "t": 0}}),  # not closed
        feature({"type": "Polygon", "coordinates": [[[*p, 0.0] for p in RING]]}),  # with a third number
        collection(feature(measurements=[{"name": "Area", "value": "NaN"}], metadata={})),
        {"shapes": [{"points": RING[:-1]}]},
        {"shapes": [{"points": [[110, 110], [10, 10]], "shape_type": "rectangle"}], "imagePath": "s.png"},
        {"type": "Feature", "geometry": SQUARE},
        {"type": "Feature", "geometry": SQUARE, "properties": None},
    ],
)
def test_every_form_gives_the_same_square(read, content) -> None:
    (region,) = read(content).items

    assert region.name == "ROI_0"
    assert region.shape.equals(Polygon(RING))
    assert region.label is None


@pytest.mark.parametrize(
    ("classification", "label"),
    [
        ({"name": "Tumor", "color": [1, 2, 3]}, "Tumor"),
        ({"name": "Tumor", "colorRGB": -65536}, "Tumor"),
        ({"names": ["Tumor", "Positive"], "color": [1, 2, 3]}, "Tumor: Positive"),
        ({"name": "Positive", "parentClass": {"name": "Tumor"}}, "Tumor: Positive"),
        ({"name": "Tumor: Positive", "parentClass": {"name": "Tumor"}}, "Tumor: Positive"),
        ("Tumor", "Tumor"),
        ({}, None),
        ({"name": None}, None),
        (None, None),
        ("", None),
    ],
)
def test_the_class_is_the_label(read, classification, label) -> None:
    assert read(collection(feature(classification=classification))).items[0].label == label


def test_another_property_can_be_the_label(read) -> None:
    content = collection(feature(classification={"name": "Tumor"}, grade=3))

    assert read(content, label="grade").items[0].label == "3"


def test_labelme_shapes_have_labels_and_descriptions(read) -> None:
    content = {"shapes": [{"label": "tumor", "points": RING, "description": "seen"}, {"shape_type": "point"}]}

    found = read(content)

    assert [(r.label, r.description) for r in found.items] == [("tumor", "seen")]
    assert found.notes == ("left out, shapes of type point: shape 2",)


def test_holes_and_parts_are_kept(read) -> None:
    far = [shifted(RING, 300), shifted(HOLE, 300)]

    (region,) = read(feature({"type": "MultiPolygon", "coordinates": [[RING, HOLE], far]})).items

    assert region.shape.geom_type == "MultiPolygon"
    assert region.shape.area == 2 * (10_000 - 1_600)


def test_names_and_descriptions_are_kept_and_names_made_unique(read) -> None:
    content = collection(
        feature(name="a", metadata={"ANNOTATION_DESCRIPTION": "seen"}),
        feature({"type": "Polygon", "coordinates": [shifted(RING, 300)]}, name="a"),
        feature({"type": "Polygon", "coordinates": [shifted(RING, 500)]}),
    )

    found = read(content)

    assert [(r.name, r.description) for r in found.items] == [("a", "seen"), ("a (2)", None), ("ROI_2", None)]
    assert found.notes == ("renamed, the name was there before: a (feature 2) to a (2)",)


def test_cells_and_points_are_no_regions(read) -> None:
    content = collection(
        feature(objectType="annotation"),
        feature(objectType="cell"),
        {"type": "Feature", "id": "PathDetectionObject", "geometry": SQUARE, "properties": {}},
        feature({"type": "Point", "coordinates": [1, 2]}),
        feature(None),
    )

    found = read(content)

    assert len(found.items) == 1
    assert found.notes == (
        "left out, QuPath objects of type cell: feature 2",
        "left out, QuPath objects of type detection: feature 3",
        "left out, a Point has no area: feature 4",
        "left out, no geometry: feature 5",
    )


def test_child_objects_follow_their_parent(read) -> None:
    child = feature({"type": "Polygon", "coordinates": [shifted(RING, 300)]}, name="child")
    parent = {**feature(name="parent"), "childObjects": [child]}
    last = feature({"type": "Polygon", "coordinates": [shifted(RING, 600)]}, name="last")

    assert [region.name for region in read([parent, last]).items] == ["parent", "child", "last"]


def test_a_region_within_one_of_the_same_label_is_a_hole_only_on_request(read) -> None:
    """GeoJSON has holes of its own: whoever wanted one had drawn it."""
    content = collection(feature(name="a"), feature({"type": "Polygon", "coordinates": [HOLE]}, name="b"))

    assert [region.shape.area for region in read(content).items] == [10_000, 1_600]
    assert [region.shape.area for region in read(content, nested="keep").items] == [10_000, 1_600]
    assert [region.shape.area for region in read(content, nested="holes").items] == [8_400]
    labelme = {"shapes": [{"points": RING}, {"points": HOLE}]}
    assert [region.shape.area for region in read(labelme).items] == [8_400]


SCANNED = Box(200, 300, 500, 400)


@pytest.mark.parametrize(
    ("content", "rule", "left"),
    [
        (collection(feature(objectType="annotation")), "auto", 210),
        (collection(feature(classification={"name": "Tumor"})), "auto", 210),
        (collection(feature(objectType="annotation")), "none", 10),
        (collection(feature()), "auto", 10),  # not from QuPath
        (collection(feature()), "add", 210),
        ({"shapes": [{"points": RING}]}, "auto", 10),
        ({**collection(feature(objectType="annotation")), "slideloom": {"origin": [0, 0]}}, "auto", 10),
        ({**collection(feature(objectType="annotation")), "slideloom": {"origin": [5, 0]}}, "auto", 15),
    ],
)
def test_coordinates_of_a_viewer_that_crops_are_moved(read, content, rule, left) -> None:
    found = read(content, scanned=SCANNED, bounds=rule)

    assert found.items[0].shape.bounds[0] == left
    assert any(note.startswith("moved by") for note in found.notes) == (left != 10)


def test_a_slide_without_bounds_moves_nothing(read) -> None:
    found = read(collection(feature(objectType="annotation")))

    assert found.items[0].shape.equals(box(10, 10, 110, 110))
    assert found.notes == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a": ' + "9" * 5_000 + "}", "not valid JSON"),
        ("3", "neither an object nor a list"),
        ({"type": "Topology"}, "type 'Topology' is none of"),
        ({"type": "FeatureCollection"}, "needs a list of features"),
        ([1], "feature 1: must be an object"),
        (collection(feature(), feature({"type": "Circle"}, name="x")), "feature 2, 'x': 'Circle' is not a type"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3, "x"], [5, 6]]]}), "feature 1: coordinates must be"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3], [5, 6]]]}), "coordinates must be pairs"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3, None], [5, 6]]]}), "missing or infinite"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3, 10**400], [5, 6]]]}), "pairs of numbers"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3, 1e200], [5, 6]]]}), "not a position on a slide"),
        (feature({"type": "Polygon", "coordinates": 5}), "needs a list of rings"),
        (feature({"type": "Polygon", "coordinates": [5]}), "a ring must be a list of points"),
        (feature({"type": "MultiPolygon", "coordinates": None}), "needs a list of polygons"),
        (feature({"type": "GeometryCollection", "geometries": [3]}), "needs a list of geometries"),
        (feature({"type": "Polygon", "coordinates": [[[1, 2], [3, 4]]]}), "fewer than 3 points: feature 1"),
        ({"shapes": 3}, "'shapes' must be a list"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_file_and_feature(read, content, said) -> None:
    with pytest.raises(RoiError) as raised:
        read(content)

    assert said in str(raised.value)
    assert "s.geojson" in str(raised.value)


def test_nothing_in_a_file_is_no_region(read) -> None:
    assert read(collection()).items == ()


def test_the_file_may_be_named_as_qupath_does(read, tmp_path) -> None:
    assert read(collection(feature()), file="s.svs.geojson").items
    with pytest.raises(RoiError, match="several files"):
        read(collection(feature()), file="s.json")
