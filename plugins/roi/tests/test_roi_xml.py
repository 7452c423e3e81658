"""The XML of ASAP, ImageScope and HALO: shapes, holes, labels, and what is refused."""

from __future__ import annotations

import gzip
import math

import numpy as np
import pytest
from shapely.geometry import Polygon, box
from slideloom import RoiError, Size
from slideloom_roi import RoiFolder, Xml
from slideloom_testing import info_of
from slideloom_testing.contracts import RoiSourceContract

SQUARE = [(100, 100), (400, 100), (400, 400), (100, 400)]
INNER = [(200, 200), (300, 200), (300, 300), (200, 300)]


def asap(*annotations: str) -> str:
    listed = "".join(annotations)
    return (
        f'<?xml version="1.0"?><ASAP_Annotations><Annotations>{listed}</Annotations><AnnotationGroups>'
        '<Group Name="Tumor" PartOfGroup="None" Color="#64FE2E"><Attributes/></Group></AnnotationGroups>'
        "</ASAP_Annotations>"
    )


def outline(points=SQUARE, *, group="Tumor", kind="Polygon", order=None, name="Annotation 0") -> str:
    numbers = order or range(len(points))
    listed = "".join(f'<Coordinate Order="{i}" X="{x}" Y="{y}"/>' for i, (x, y) in zip(numbers, points, strict=True))
    return (
        f'<Annotation Name="{name}" Type="{kind}" PartOfGroup="{group}" Color="#F4FA58">'
        f"<Coordinates>{listed}</Coordinates></Annotation>"
    )


def layers(*regions: str, name="Tumor", description="") -> str:
    return (
        f'<Annotations MicronsPerPixel="0.5"><Annotation Id="1" Name="{name}" ReadOnly="0" Type="4"><Attributes>'
        f'<Attribute Name="Description" Id="0" Value="{description}"/></Attributes><Regions>'
        f'<RegionAttributeHeaders><AttributeHeader Id="9999" Name="Region"/></RegionAttributeHeaders>{"".join(regions)}'
        "</Regions></Annotation></Annotations>"
    )


def region(points=SQUARE, *, kind="0", text="", negative="0", vertex="Vertex") -> str:
    listed = "".join(f'<{vertex} X="{x}" Y="{y}" Z="0"/>' for x, y in points)
    return f'<Region Id="1" Type="{kind}" Text="{text}" NegativeROA="{negative}"><Vertices>{listed}</Vertices></Region>'


@pytest.fixture
def read(tmp_path):
    """Regions of a file with this content."""

    def read(content: str | bytes, *, file="s.xml", source=Xml, **options):
        (tmp_path / file).write_bytes(content.encode() if isinstance(content, str) else content)
        return source(folder=tmp_path, **options).build().regions(info_of("s", size=Size(1000, 800), folder=tmp_path))

    return read


class TestXml(RoiSourceContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path):
        (tmp_path / "s.xml").write_text(layers(region(), region(INNER, text="b")))
        self.settings = Xml(folder=tmp_path)
        self.slide_info = info_of("s", size=Size(1000, 800), folder=tmp_path)


@pytest.mark.parametrize("kind", ["Polygon", "Spline", "Rectangle"])
def test_outlines_of_asap_have_the_group_as_label(read, kind) -> None:
    (found,) = read(asap(outline(kind=kind))).items

    assert found.shape.equals(Polygon(SQUARE))
    assert (found.name, found.label) == ("Annotation 0", "Tumor")
    assert read(asap(outline(group="None"))).items[0].label is None


def test_points_of_asap_come_in_the_order_that_they_say(read) -> None:
    shuffled = [SQUARE[i] for i in (2, 0, 3, 1)]

    assert read(asap(outline(shuffled, order=(2, 0, 3, 1)))).items[0].shape.equals(Polygon(SQUARE))


def test_dots_of_asap_are_left_out_and_named(read) -> None:
    found = read(asap(outline(), outline(SQUARE[:1], kind="Dot", name="d")))

    assert len(found.items) == 1
    assert found.notes == ("left out, a Dot has no area: annotation 2, 'd'",)


def test_asap_has_no_holes_so_a_region_within_one_of_its_group_is_one(read) -> None:
    content = asap(outline(), outline(INNER, name="hole"), outline(INNER, group="Stroma", name="other"))

    assert [(r.label, r.shape.area) for r in read(content).items] == [("Tumor", 80_000), ("Stroma", 10_000)]
    assert [r.shape.area for r in read(content, nested="keep").items] == [90_000, 10_000, 10_000]


@pytest.mark.parametrize(("vertex", "kind", "file"), [("Vertex", "0", "s.xml"), ("V", "Polygon", "s.annotations")])
def test_negative_regions_of_imagescope_and_halo_are_holes_and_others_are_not(read, vertex, kind, file) -> None:
    shared = {"kind": kind, "vertex": vertex}
    negative = region(INNER, negative="1", **shared)
    content = layers(region(**shared), negative, region([(110, 110), (150, 110), (150, 150)], **shared))

    found = read(content, file=file)

    assert [(r.label, r.shape.area) for r in found.items] == [("Tumor", 80_000), ("Tumor", 800)]
    assert found.items[0].shape.equals(Polygon(SQUARE, [INNER]))


def test_a_hole_that_sticks_out_is_cut_as_far_as_it_reaches(read) -> None:
    found = read(layers(region(), region([(300, 0), (900, 0), (900, 800), (300, 800)], negative="1")))

    assert found.items[0].shape.equals(box(100, 100, 300, 400))


def test_a_negative_region_in_nothing_is_named(read) -> None:
    found = read(layers(region(), region([(600, 600), (700, 600), (700, 700)], negative="1")))

    assert found.items[0].shape.area == 90_000
    assert found.notes == ("left out, a negative region that is in no other region of its layer: layer 1, region 1",)


@pytest.mark.parametrize(("kind", "vertex"), [("1", "Vertex"), ("Rectangle", "V")])
def test_rectangles_have_two_corners_or_four(read, kind, vertex) -> None:
    for points in (SQUARE, [SQUARE[0], SQUARE[2]], [SQUARE[3], SQUARE[1]]):
        assert read(layers(region(points, kind=kind, vertex=vertex))).items[0].shape.equals(box(100, 100, 400, 400))


@pytest.mark.parametrize("kind", ["2", "Ellipse"])
def test_an_ellipse_fills_the_box_of_its_two_corners(read, kind) -> None:
    (found,) = read(layers(region([(100, 200), (700, 400)], kind=kind))).items

    # Half axes of 300 and 100 pixels; the polygon's sides lie at most a quarter of a pixel within.
    assert found.shape.area == pytest.approx(math.pi * 300 * 100, rel=0.01)
    assert found.shape.bounds == pytest.approx((100, 200, 700, 400), abs=0.5)
    x, y = np.array(found.shape.exterior.coords).T
    assert ((x - 400) / 300) ** 2 + ((y - 300) / 100) ** 2 == pytest.approx(1)


def test_arrows_and_rulers_are_left_out_and_named(read) -> None:
    found = read(layers(region(), region(SQUARE[:2], kind="3"), region(SQUARE[:2], kind="Ruler")))

    assert len(found.items) == 1
    assert found.notes == (
        "left out, a region of type 3 has no area: layer 1, region 1",
        "left out, a region of type ruler has no area: layer 1, region 1",
    )


@pytest.mark.parametrize(
    ("name", "description", "text", "label", "said"),
    [
        ("Tumor", "", "seen", "Tumor", "seen"),
        ("", "Stroma", "", "Stroma", None),
        ("", "", "Mitosis", "Mitosis", None),
        ("", "", "", None, None),
    ],
)
def test_the_label_is_the_layers_name_or_what_stands_for_it(read, name, description, text, label, said) -> None:
    (found,) = read(layers(region(text=text), name=name, description=description)).items

    assert (found.label, found.description) == (label, said)


def test_decimal_commas_and_a_declared_encoding_are_read(read) -> None:
    points = [("100,0", "100,0"), ("400,5", "100,0"), ("400,5", "400,0")]
    content = '<?xml version="1.0" encoding="ISO-8859-15"?>' + layers(region(points), name="Gewebe \u20ac")

    (found,) = read(content.encode("iso-8859-15")).items

    assert found.label == "Gewebe \u20ac"
    assert found.shape.bounds == (100, 100, 400.5, 400)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("<Annotations>", "not valid XML"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><Annotations/>', "no document type"),
        ("<Metadata/>", "is not an annotation file of ASAP, ImageScope or HALO: its outermost element is 'Metadata'"),
        (layers(region([(1, 2), ("x", 3), (4, 5)])), "layer 1, region 1: X 'x' is not a number"),
        (layers(region([(1, 2), ("nan", 3), (4, 5)])), "layer 1, region 1: X 'nan' is not a number"),
        (asap(outline([(1, 2), (2, ""), (4, 5)])), "annotation 1, 'Annotation 0': Y '' is not a number"),
        (asap(outline([(1, 2), (2, 1e12), (4, 5)])), "is not a position on a slide"),
        (layers(region(SQUARE[:2])), "fewer than 3 points"),
        ("", "the file is empty"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_file_and_region(read, content, said) -> None:
    with pytest.raises(RoiError) as raised:
        read(content)

    assert said in str(raised.value)
    assert "s.xml" in str(raised.value)


def test_entities_are_never_expanded(read) -> None:
    lines = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    bomb = f'<!DOCTYPE a [<!ENTITY e0 "ha">{lines}]>' + layers(region(text="&e11;"))

    for content in (bomb, bomb.encode("utf-16"), gzip.compress(bomb.encode())):
        with pytest.raises(RoiError, match="no document type"):
            read(content)
    with pytest.raises(RoiError, match="undefined entity"):
        read(layers(region(text="&e11;")))


def test_in_a_folder_of_any_format_the_xml_of_other_programs_is_left_alone(read) -> None:
    found = read("<ScannerMetadata/>", source=RoiFolder)

    assert found.items == ()
    assert "s.xml was ignored: it is the XML of another program" in found.notes[0]
    assert len(read(layers(region()), source=RoiFolder).items) == 1
    assert len(read(asap(outline()).encode("utf-16"), source=RoiFolder).items) == 1
