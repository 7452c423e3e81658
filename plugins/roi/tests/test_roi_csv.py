"""CSV files in all the forms that programs and people have written them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from attrs import evolve
from shapely.geometry import Polygon
from slideloom import Box, ConfigError, RoiError, Size
from slideloom_roi import QuPathCsv
from slideloom_testing.contracts import RoiSourceContract
from slideloom_testing.tiles import info_of

SQUARE = [(10, 10), (110, 10), (110, 110), (10, 110)]


def rows(name: str, points=SQUARE, tail: str = "") -> str:
    return "".join(f"{name},{x},{y}{tail}\n" for x, y in points)


@pytest.fixture
def read(tmp_path):
    """Regions of a file with this content."""

    def read(content: str | bytes, *, scanned: Box | None = None, **options):
        (tmp_path / "s.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
        info = evolve(info_of("s", size=Size(1000, 800), folder=tmp_path), bounds=scanned)
        return QuPathCsv(folder=tmp_path, **options).build().regions(info)

    return read


class TestQuPathCsv(RoiSourceContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path):
        (tmp_path / "s.csv").write_text("ROI_Name,X_base,Y_base\n" + rows("ROI_0"))
        self.settings = QuPathCsv(folder=tmp_path)
        self.slide_info = info_of("s", size=Size(1000, 800), folder=tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "ROI_Name,X_base,Y_base\n" + rows("a"),
        "ROI_name,X_base,Y_base\r\n" + rows("a").replace("\n", "\r\n"),
        "roi_name,label,x_base,y_base\n" + "".join(f"a,,{x},{y}\n" for x, y in SQUARE),
        "Y_BASE,X_base,other,Roi_Name\n" + "".join(f"{y},{x},?,a\n" for x, y in SQUARE),
        "sep=;\nROI_Name;X_base;Y_base\n" + rows("a").replace(",", ";"),
        "ROI_Name\tX_base\tY_base\n" + rows("a").replace(",", "\t"),
        '"ROI_Name","X_base","Y_base"\n' + "".join(f'"a","{x}","{y}.0"\n' for x, y in SQUARE),
        "ROI_Name;X_base;Y_base\n" + "".join(f"a;{x},0;{y},00\n" for x, y in SQUARE),
        "\n\nROI_Name,X_base,Y_base\n\n" + rows("a") + "\n,,\n",
        "ROI_Name,X_base,Y_base\n" + rows("a", [*SQUARE, SQUARE[0]]),  # closed
        "ROI_Name,X_base,Y_base\n" + rows("a", [p for p in SQUARE for _ in range(2)]),  # each point twice
        "ROI_Name , X_base, Y_base \n" + rows(" a ", tail=" "),
    ],
)
def test_every_form_of_the_table_gives_the_same_square(read, text) -> None:
    (region,) = read(text).items

    assert region.name == "a"
    assert region.label is None
    assert region.shape.equals(Polygon(SQUARE))


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "utf-16-le", "latin-1"])
def test_every_encoding_gives_the_same_name(read, encoding) -> None:
    text = "ROI_Name,X_base,Y_base\n" + rows("Fläche")

    found = read(text.encode(encoding))

    assert found.items[0].name == "Fläche"
    assert bool(found.notes) == (encoding == "latin-1")


def test_rows_of_a_region_need_not_be_adjacent(read) -> None:
    other = [(x + 300, y) for x, y in SQUARE]
    mixed = "".join(rows("a", [p]) + rows("b", [q]) for p, q in zip(SQUARE, other, strict=True))

    found = read("ROI_Name,X_base,Y_base\n" + mixed)

    assert [(region.name, region.shape.bounds) for region in found.items] == [
        ("a", (10, 10, 110, 110)),
        ("b", (310, 10, 410, 110)),
    ]


def test_two_regions_of_one_name_are_told_apart(read) -> None:
    text = "ROI_Name,X_base,Y_base\n" + rows("a") + rows("b", [(0, 0), (5, 0), (5, 5)])
    text += rows("a", [(300, 10), (400, 10), (400, 110), (300, 110)])

    found = read(text)

    assert [region.name for region in found.items] == ["a", "b", "a (2)"]
    assert [region.shape.area for region in found.items] == [10_000, 12.5, 10_000]
    assert any("several separate outlines" in note for note in found.notes)


def test_labels_are_read_from_the_chosen_column(read) -> None:
    text = "ROI_Name,X_base,Y_base,label,grade\n" + rows("a", tail=",tumor,3")

    assert read(text).items[0].label == "tumor"
    assert read(text, label="Grade").items[0].label == "3"
    with pytest.raises(RoiError, match="no column 'stage'"):
        read(text, label="stage")


def test_the_apostrophe_before_what_a_spreadsheet_would_calculate_is_taken_off(read) -> None:
    text = "ROI_Name,X_base,Y_base,label\n" + rows("'=a", tail=",'+HLA") + rows("'b'", [(5, 5), (9, 5), (9, 9)])

    found = read(text, nested="keep")

    assert [(region.name, region.label) for region in found.items] == [("=a", "+HLA"), ("'b'", None)]


def test_one_name_with_two_labels_is_two_regions(read) -> None:
    text = "ROI_Name,X_base,Y_base,label\n" + rows("a", tail=",tumor")
    text += rows("a", [(300, 10), (400, 10), (400, 110)], tail=",stroma")

    found = read(text)

    assert [(r.name, r.label) for r in found.items] == [("a", "tumor"), ("a (2)", "stroma")]


def test_a_region_within_one_of_the_same_label_is_its_hole(read) -> None:
    text = "ROI_Name,X_base,Y_base\n" + rows("a") + rows("b", [(20, 20), (60, 20), (60, 60), (20, 60)])

    found = read(text)

    assert [region.shape.area for region in found.items] == [10_000 - 1_600]
    assert any("taken as holes" in note and "b (line 6) in a (line 2)" in note for note in found.notes)
    assert [region.shape.area for region in read(text, nested="keep").items] == [10_000, 1_600]


def test_an_outline_that_crosses_itself_is_repaired_and_named(read) -> None:
    found = read("ROI_Name,X_base,Y_base\n" + rows("bow", [(0, 0), (100, 100), (100, 0), (0, 100)]))

    (region,) = found.items
    assert region.shape.is_valid
    assert region.shape.area == pytest.approx(5_000)
    assert found.notes == ("crossed or touched itself and was repaired: bow (line 2)",)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([(0, 0), (5, 5)], "fewer than 3 points"),
        ([(0, 0), (5, 5), (9, 9)], "encloses no area"),
        ([(5, 5)] * 6, "encloses no area"),
        ([(5000, 10), (5100, 10), (5100, 90)], "outside the slide of 1000 x 800"),
        ([(1500, 700), (1500, 2000), (700, 2000)], "outside the slide of 1000 x 800"),  # the box around it is not
        ([(0, 0), (3, 0), (3, 3)], "smaller than 50"),
    ],
)
def test_what_cannot_be_used_is_left_out_and_named(read, points, reason) -> None:
    found = read("ROI_Name,X_base,Y_base\n" + rows("good") + rows("bad", points), min_area_px=50)

    assert [region.name for region in found.items] == ["good"]
    assert any(reason in note and "bad (line 6)" in note for note in found.notes)
    with pytest.raises(RoiError, match=f"none of its 1 regions can be used.*{reason}"):
        read("ROI_Name,X_base,Y_base\n" + rows("bad", points), min_area_px=50)


def test_a_region_over_the_edge_is_kept_and_named(read) -> None:
    found = read("ROI_Name,X_base,Y_base\n" + rows("a", [(900, 10), (1100, 10), (1100, 90)]))

    assert found.items[0].shape.bounds == (900, 10, 1100, 90)
    assert found.notes == ("reaches outside the slide: a (line 2)",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty"),
        ("name,x,y\n1,2,3\n", "must name the columns ROI_Name, X_base and Y_base; it has name, x, y"),
        ("ROI_Name,X_base,Y_base\na,1,2\na,x,4\n", "line 3, column x_base: 'x' is not a number"),
        ("ROI_Name,X_base,Y_base\na,1,2\na,,4\n", "line 3, column x_base: '' is not a number"),
        ("ROI_Name,X_base,Y_base\na,1,2\na,nan,4\n", "line 3, column x_base: 'nan' is not a number"),
        ("ROI_Name,X_base,Y_base\na,1,2\na,1,-inf\n", "line 3, column y_base: '-inf' is not a number"),
        ("ROI_Name,X_base,Y_base\na,1,1e300\n", "line 2, column y_base: '1e300' is not a position"),
        ("ROI_Name,X_base,Y_base\na,1_0,2\n", "line 2, column x_base: '1_0' is not a number"),
        ('ROI_Name,X_base,Y_base\na,"1,000,000",2\n', "column x_base: '1,000,000' is not a number"),
        ("ROI_Name,X_base,Y_base\na,1,5,2,5\n", "line 2: 5 cells, the header has 3; if numbers have decimal commas"),
        ("ROI_Name,X_base,Y_base\n\na,1\n", "line 3, column y_base: '' is not a number"),
        ("ROI_Name,X_base,Y_base\n,1,2\n", "line 2: the region has no name"),
        ("ROI_Name,X_base,Y_base,X_BASE\na,1,2,3\n", "column 'x_base' is there twice"),
    ],
)
def test_what_cannot_be_understood_is_refused_by_file_and_line(read, text, said) -> None:
    with pytest.raises(RoiError) as raised:
        read(text)

    assert said in str(raised.value)
    assert "s.csv" in str(raised.value)


def test_a_file_without_rows_has_no_region(read) -> None:
    found = read("ROI_Name,X_base,Y_base\n")

    assert found.items == ()
    assert found.notes == ("the file holds no region",)


def test_bounds_are_added_only_on_request_and_said(read) -> None:
    text, scanned = "ROI_Name,X_base,Y_base\n" + rows("a"), Box(200, 300, 500, 400)

    assert read(text, scanned=scanned).items[0].shape.bounds == (10, 10, 110, 110)
    found = read(text, scanned=scanned, bounds="add")
    assert found.items[0].shape.bounds == (210, 310, 310, 410)
    assert found.notes == ("moved by (200, 300) pixels: bounds = 'add'",)


def test_simplifying_keeps_shapes_valid_and_near(read) -> None:
    angles = np.linspace(0, 2 * np.pi, 400)[:-1]
    circle = [(500 + 200 * np.cos(a), 400 + 200 * np.sin(a)) for a in angles]
    text = "ROI_Name,X_base,Y_base\n" + rows("a", circle)

    plain, simple = read(text).items[0].shape, read(text, simplify_px=2).items[0].shape

    assert shapely.get_num_coordinates(simple) < 60
    assert simple.is_valid
    assert simple.hausdorff_distance(plain) <= 2


def test_the_file_of_a_slide_is_found_by_either_name(tmp_path) -> None:
    info = info_of("s", size=Size(1000, 800), folder=tmp_path)
    source = QuPathCsv(folder=tmp_path, suffix="_rois.csv").build()
    (tmp_path / "s.svs_rois.csv").write_text("ROI_Name,X_base,Y_base\n" + rows("a"))

    assert len(source.regions(info).items) == 1
    (tmp_path / "s_rois.csv").write_text("ROI_Name,X_base,Y_base\n" + rows("a"))
    with pytest.raises(RoiError, match=r"several files for slide s: s_rois.csv, s.svs_rois.csv"):
        source.regions(info)


def test_a_missing_folder_is_a_wrong_setting(tmp_path) -> None:
    with pytest.raises(ConfigError, match="no such folder"):
        QuPathCsv(folder=tmp_path / "none").build()


def test_twenty_thousand_regions_are_read(read) -> None:
    x, y = np.meshgrid(np.arange(200) * 4, np.arange(100) * 4)
    angles = np.linspace(0, 2 * np.pi, 21)[:-1]
    lines = ["ROI_Name,X_base,Y_base"]
    for i, (left, top) in enumerate(zip(x.ravel().tolist(), y.ravel().tolist(), strict=True)):
        lines += [f"ROI_{i},{left + 2 + 1.5 * np.cos(a):.3f},{top + 2 + 1.5 * np.sin(a):.3f}" for a in angles.tolist()]

    found = read("\n".join(lines))

    assert len(found.items) == 20_000
    assert found.notes == ()
    assert found.items[-1].name == "ROI_19999"
