"""What is written is read back without loss; other readers of the CSV see the same shapes."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
import shapely
from hypothesis import given, settings, strategies as st
from shapely.geometry import MultiPolygon, Polygon, box
from slideloom import Region, Regions, RoiError, Size, guarded
from slideloom_roi import GeoJson, QuPathCsv, nest_rings, script_path, write_csv, write_geojson
from slideloom_testing.tiles import info_of

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
MAYBE = st.one_of(st.none(), TEXT)


@st.composite
def shapes(draw: st.DrawFn) -> Polygon | MultiPolygon:
    """Valid polygons with holes, some of several parts, on a slide of 2000 pixels; whole and odd coordinates."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def polygon(left: float) -> Polygon:
        angles = np.sort(random.uniform(0, 2 * np.pi, 12)) + np.linspace(0, 0.01, 12)
        unit = np.stack([np.cos(angles), np.sin(angles)], axis=1) * random.uniform(60, 90, (12, 1))
        outer = np.add(unit, (left + 100, random.uniform(150, 1800)))
        outer = np.round(outer) if random.random() < 0.3 else outer
        shape = shapely.make_valid(Polygon(outer))
        shape = max(shapely.get_parts(shape), key=lambda part: part.area)
        spot = shape.representative_point().buffer(0.3, quad_segs=2)
        return Polygon(shape.exterior, [spot.exterior]) if shape.contains(spot) else shape

    parts = [polygon(left) for left in range(0, 250 * int(random.integers(1, 4)), 250)]
    return parts[0] if len(parts) == 1 else MultiPolygon(parts)


@st.composite
def many_regions(draw: st.DrawFn) -> Regions:
    names = draw(st.lists(TEXT.filter(lambda text: text.strip() != ""), min_size=1, max_size=4, unique=True))
    return Regions(tuple(Region(name, draw(shapes()), draw(MAYBE), draw(MAYBE)) for name in names))


def same(one: Regions, other: Regions) -> bool:
    def values(regions: Regions) -> list[object]:
        return [(r.name, r.label, r.description, shapely.to_wkb(r.shape, output_dimension=2)) for r in regions.items]

    return values(one) == values(other)


@settings(max_examples=150, deadline=None)
@given(regions=many_regions())
def test_a_round_trip_loses_nothing(tmp_path_factory, regions) -> None:
    folder = tmp_path_factory.mktemp("roi")
    info = info_of("s", size=Size(2000, 2000), folder=folder)
    write_csv(regions, folder / "s.csv")
    write_geojson(folder / "s.geojson", regions)

    for source in (QuPathCsv(folder=folder), GeoJson(folder=folder)):
        found = source.build().regions(info)
        assert same(found, regions), source.name
        assert [note for note in found.notes if "reaches outside" not in note] == []


def test_nested_regions_stay_what_they_are(tmp_path) -> None:
    inner = box(10, 10, 20, 20)
    regions = Regions((Region("a", box(0, 0, 100, 100)), Region("b", inner), Region("c", inner)))
    info = info_of("s", size=Size(2000, 2000), folder=tmp_path)
    write_csv(regions, tmp_path / "s.csv")
    write_geojson(tmp_path / "s.geojson", regions)

    assert same(QuPathCsv(folder=tmp_path).build().regions(info), regions)
    assert same(GeoJson(folder=tmp_path).build().regions(info), regions)


def test_other_readers_of_the_csv_see_the_same_area(tmp_path) -> None:
    ring = Polygon([(0, 0), (90, 0), (90, 90), (0, 90)], [[(10, 10), (80, 10), (80, 80), (10, 80)]])
    island = MultiPolygon([ring, box(20, 20, 30, 30)])
    regions = Regions((Region("a", island, "t"), Region("a_part1", box(200, 0, 300, 50))))
    write_csv(regions, tmp_path / "s.csv")

    # The rule that other readers follow: rows by name, and rings within rings of one label are holes.
    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["ROI_Name"] for row in rows))
    outlines = [Polygon([(float(r["X_base"]), float(r["Y_base"])) for r in rows if r["ROI_Name"] == n]) for n in names]
    labels = [next(row["label"] for row in rows if row["ROI_Name"] == name) for name in names]
    seen = shapely.union_all([one.shape for one in nest_rings(outlines, labels)])

    assert names == ["a", "a_part0_hole1", "a_part1_", "a_part1"]
    assert seen.equals(shapely.union_all([region.shape for region in regions.items]))


def test_labels_that_a_spreadsheet_would_calculate_are_marked_and_read_back(tmp_path) -> None:
    regions = Regions((Region("=A1", box(0, 0, 9, 9), "+HLA", "@home"), Region("'-b", box(20, 0, 29, 9), "-1")))
    write_csv(regions, tmp_path / "s.csv")

    with (tmp_path / "s.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["ROI_Name"], r["label"], r["description"]) for r in rows[::4]] == [
        ("'=A1", "'+HLA", "'@home"),
        ("''-b", "-1", ""),
    ]
    info = info_of("s", size=Size(2000, 2000), folder=tmp_path)
    assert same(QuPathCsv(folder=tmp_path).build().regions(info), regions)


def test_regions_without_a_name_of_their_own_are_not_written(tmp_path) -> None:
    twice = Regions((Region("a", box(0, 0, 1, 1)), Region("a", box(0, 0, 2, 2))))

    with pytest.raises(RoiError, match="a name of its own"):
        write_csv(twice, tmp_path / "s.csv")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("version", ["0.1", "0.2"])
def test_the_qupath_scripts_are_in_the_package(version) -> None:
    text = script_path(version).read_text()

    assert "ROI_Name,X_base,Y_base,label" in text
    # The same rule as `slideloom.guarded`, which the reader undoes.
    patterns = re.findall(r"==~ /(.+)/(?: |$)", text, re.MULTILINE)
    number, formula = (re.compile(pattern) for pattern in patterns)
    for cell in ("=1", "-5", "+x", "'=1", "a=b", "'a", "@b\nc", "-1e5", "\tx", ""):
        is_marked = formula.fullmatch(cell) is not None and number.fullmatch(cell) is None
        assert is_marked == (guarded(cell) != cell), cell
    with pytest.raises(ValueError, match=r"0\.3"):
        script_path("0.3")
