"""Cells from files: columns, units, separators, geometries, and what is said when they do not fit."""

from __future__ import annotations

import csv
import gzip
import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from slideloom import Box, ConfigError, Placed, Scene, SlideError
from slideloom.base.geometry import Size
from slideloom_cells import CsvCells, QuPathCells, placed_around
from slideloom_testing import PixelsSlide, PlacementContract, scene_of

FOOTPRINT = 101
PX = Size(10, 10)


def slide_of(name: str = "a", *, mpp: float = 0.5, bounds: Box | None = None, **properties: str) -> PixelsSlide:
    slide = PixelsSlide(np.full((800, 1000, 3), 200, np.uint8), mpp=mpp)
    slide.info = attrs.evolve(
        slide.info,
        name=name,
        path=Path(f"{name}.svs"),
        bounds=bounds,
        properties={**slide.info.properties, **properties},
    )
    return slide


def scene(footprint: int = FOOTPRINT) -> Scene:
    return scene_of(tile_px=footprint, footprint=Size(footprint, footprint), mpp=0.5)


def centres(places: Placed) -> list[tuple[int, int]]:
    return list(zip(places.tiles.loc_x.tolist(), places.tiles.loc_y.tolist(), strict=True))


def place(folder: Path, slide: PixelsSlide | None = None, **options: Any) -> Placed:
    found = QuPathCells(folder=folder, **options).build().place(slide or slide_of(), scene())
    assert isinstance(found, Placed)
    return found


def placed(folder: Path, slide: PixelsSlide | None = None, **options: Any) -> list[tuple[int, int]]:
    return centres(place(folder, slide, **options))


def features(*given: Any) -> str:
    return json.dumps({"type": "FeatureCollection", "features": given})


def feature(kind: str | None, geometry: dict[str, Any], **more: Any) -> dict[str, Any]:
    properties = {"objectType": kind} if kind else {}
    properties.update(more.pop("properties", {}))
    return {"type": "Feature", "geometry": geometry, "properties": properties, **more}


def square(x: float, y: float, side: float) -> dict[str, Any]:
    ring = [[x, y], [x + side, y], [x + side, y + side], [x, y + side], [x, y]]
    return {"type": "Polygon", "coordinates": [ring]}


class TestQuPathTable(PlacementContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        path = tmp_path / "cells.csv"
        path.write_text("Centroid X px,Centroid Y px\n300,400\n1500.4,900.6\n300,400\n0,0\n1799,1199\n")
        self.settings = QuPathCells(folder=path)


class TestCsv(PlacementContract):
    @pytest.fixture(autouse=True)
    def _files(self, tmp_path: Path) -> None:
        path = tmp_path / "cells.csv"
        path.write_text("x,y\n300,400\n1500.4,900.6\n")
        self.settings = CsvCells(folder=path)


@pytest.mark.parametrize("unit", ["µm", "\u03bcm", "um", "Âµm", "\ufffdm", "?m", "Î¼m"])
@pytest.mark.parametrize(("extension", "separator"), [(".csv", ","), (".tsv", "\t"), (".txt", "\t"), (".csv", ";")])
def test_microns_are_known_however_they_are_spelt(tmp_path: Path, unit: str, extension: str, separator: str) -> None:
    rows = [["Image", "Object type", f"Centroid X {unit}", f"Centroid Y {unit}"], ["a.svs", "Cell", "100.0", "50.5"]]
    (tmp_path / f"a{extension}").write_text("\n".join(separator.join(row) for row in rows), encoding="utf-8")

    # 100 um at 0.5 um per pixel
    assert placed(tmp_path) == [(200, 101)]


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8-sig", "utf-16"])
def test_tables_in_other_encodings_are_read(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "a.tsv").write_bytes("Centroid X µm\tCentroid Y µm\n10\t20\n".encode(encoding))

    assert placed(tmp_path) == [(20, 40)]


def test_pixels_stay_pixels_and_decimal_commas_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Centroid X px;Centroid Y px\n10,4;20,6\n")

    assert placed(tmp_path) == [(10, 21)]
    assert place(tmp_path).notes == (
        "a.csv: decimal commas were read as points, the first in line 2, column Centroid X px",
    )


@pytest.mark.parametrize("decimal", [".", ","])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("first", ["", "sep={}\n"])
def test_every_separator_goes_with_every_decimal(tmp_path: Path, separator: str, decimal: str, first: str) -> None:
    out = io.StringIO(newline="")
    rows = [
        ["Image", "Centroid X µm", "Centroid Y µm"],
        ["a.svs", *(f"{v}".replace(".", decimal) for v in (100.5, 50.5))],
    ]
    csv.writer(out, delimiter=separator, lineterminator="\n").writerows(rows)
    (tmp_path / "a.tsv").write_text(first.format(separator) + out.getvalue(), encoding="utf-8")

    assert placed(tmp_path) == [(201, 101)]


def test_a_unit_that_no_column_names_is_asked_for_not_guessed(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Image,Centroid X,Centroid Y\na.svs,200,300\n")

    with pytest.raises(SlideError) as caught:
        placed(tmp_path)

    said = str(caught.value)
    assert said.startswith(f"{tmp_path / 'a.csv'}, line 1, column Centroid X: names no unit")
    assert 'unit = "px" (level-0 pixels) or unit = "um" (microns)' in said
    assert placed(tmp_path, unit="px") == [(200, 300)]
    assert placed(tmp_path, unit="um") == [(400, 600)]


def test_the_columns_own_unit_goes_before_the_one_that_is_set(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Centroid X µm,Centroid Y µm\n100,150\n", encoding="utf-8")

    assert placed(tmp_path, unit="px") == [(200, 300)]


@pytest.mark.parametrize("unit", ["mm", "nm", "cm", "m", "inch"])
def test_another_unit_is_refused_and_not_taken_for_microns(tmp_path: Path, unit: str) -> None:
    (tmp_path / "a.csv").write_text(f"Centroid X {unit},Centroid Y {unit}\n0.1,0.15\n")

    with pytest.raises(
        SlideError, match=rf"column Centroid X {unit}: the unit '{unit}' is not known; export in px or um"
    ):
        placed(tmp_path, unit="um")


@pytest.mark.parametrize(
    "titles",
    [
        ("Centroid X: µm", "Centroid Y: µm"), ("Centroid.X.µm", "Centroid.Y.µm"), ("Centroid_X_um", "Centroid_Y_um"),
        ("centroid x (micrometers)", "centroid y (micrometers)"), ("Centroid X px\tCentroid X µm", "Centroid Y µm"),
        ("Centroid X\tCentroid X µm", "Centroid Y\tCentroid Y µm"),
    ],
)  # fmt: skip
def test_the_pair_of_columns_that_has_a_unit_is_taken(tmp_path: Path, titles: tuple[str, str]) -> None:
    header = "\t".join(titles)
    row = "\t".join("100" if "x" in title.lower().split("centroid")[1] else "150" for title in header.split("\t"))
    (tmp_path / "a.tsv").write_text(f"{header}\n{row}\n", encoding="utf-8")

    assert placed(tmp_path) == [(200, 300)]


def test_a_table_that_may_be_of_another_slide_is_refused(tmp_path: Path) -> None:
    (tmp_path / "b.csv").write_text("Centroid X px,Centroid Y px\n1,2\n")

    with pytest.raises(
        SlideError, match=r"b\.csv: has no column Image and is not named as a\.svs.*another slide; name it"
    ):
        placed(tmp_path)
    (said,) = place(tmp_path / "b.csv").notes  # named by the user himself
    assert said.startswith("all cells in b.csv were taken for a.svs")
    assert place(tmp_path, slide_of("b")).notes == ()


@pytest.mark.parametrize("name", ["a.csv.gz", "a.CSV", "a.svs.Csv.GZ", "A\u0308.csv"])
def test_packed_tables_and_capital_letters_are_read(tmp_path: Path, name: str) -> None:
    content = b"Centroid X px,Centroid Y px\n1,2\n"
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith("gz") else content)

    assert placed(tmp_path, slide_of("\u00c4" if name.startswith("A") else "a")) == [(1, 2)]


def test_a_table_without_rows_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Centroid X px,Centroid Y px\n")

    found = place(tmp_path)

    assert (len(found.tiles), found.notes) == (0, ("a.csv: has no rows",))


def test_microns_count_by_the_calibration_of_the_file_not_of_the_run(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Centroid X µm,Centroid Y µm\n100,100\n")
    slide = slide_of(mpp=0.5, **{"openslide.mpp-x": "0.25", "openslide.mpp-y": "0.2"})

    assert placed(tmp_path, slide) == [(400, 500)]
    assert placed(tmp_path, slide, pixel_um=1.0) == [(100, 100)]


def test_one_table_of_all_slides_gives_each_its_own(tmp_path: Path) -> None:
    rows = ["Image,Centroid X px,Centroid Y px", "a.svs,1,2", "b.svs,3,4", "a.svs - Series 1,5,6", "ab.svs,7,8"]
    (tmp_path / "measurements.csv").write_text("\n".join(rows))

    assert placed(tmp_path) == [(1, 2), (5, 6)]
    assert placed(tmp_path, slide_of("b")) == [(3, 4)]
    with pytest.raises(SlideError, match="none of its 4 rows is a cell or detection of c"):
        placed(tmp_path, slide_of("c"))


def test_only_cells_and_detections_of_the_wanted_classes_are_taken(tmp_path: Path) -> None:
    rows = [
        "Object type,Classification,Centroid X px,Centroid Y px", "Cell,Tumor,1,1", "Annotation,Tumor,2,2",
        "Detection,Stroma,3,3", "Tile,Tumor,4,4", "PathCellObject,Tumor,5,5",
    ]  # fmt: skip
    (tmp_path / "a.csv").write_text("\n".join(rows))

    assert placed(tmp_path) == [(1, 1), (3, 3), (5, 5)]
    assert placed(tmp_path, classes=("Tumor",)) == [(1, 1), (5, 5)]


def test_bounds_are_added_as_qupath_crops(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("Centroid X px,Centroid Y px\n10,20\n")
    cropped = slide_of(bounds=Box(100, 200, 500, 500))

    assert placed(tmp_path, cropped) == [(110, 220)]
    assert placed(tmp_path, cropped, bounds="none") == [(10, 20)]
    assert placed(tmp_path) == [(10, 20)]
    with pytest.raises(SlideError, match="no scanned area"):
        placed(tmp_path, bounds="add")


def test_geojson_counts_nuclei_cells_detections_and_points(tmp_path: Path) -> None:
    given = features(
        feature("cell", square(100, 100, 50), nucleusGeometry=square(110, 110, 10)),
        feature("cell", square(200, 200, 50)),
        feature("detection", square(300, 300, 20)),
        feature("annotation", {"type": "MultiPoint", "coordinates": [[400, 410], [420, 430]]}),
        feature("annotation", square(0, 0, 900)),
        feature("tile", square(0, 0, 90)),
        feature("tmaCore", square(0, 0, 90)),
    )
    (tmp_path / "a.geojson").write_text(given)

    assert placed(tmp_path) == [(115, 115), (225, 225), (310, 310), (400, 410), (420, 430)]


def test_geojson_of_other_shapes_and_ages_is_read(tmp_path: Path) -> None:
    ring = square(0, 0, 100)["coordinates"][0]
    hole = [[10, 10], [10, 90], [90, 90], [90, 10], [10, 10]]
    given = [
        {"type": "Feature", "id": "PathDetectionObject", "geometry": square(10, 10, 10), "properties": {}},
        {"type": "Feature", "id": "PathAnnotationObject", "geometry": square(0, 0, 500), "properties": {}},
        feature("cell", {"type": "Polygon", "coordinates": [ring, hole]}),
        feature("cell", {"type": "MultiPolygon", "coordinates": [square(x, 0, 10)["coordinates"] for x in (0, 20)]}),
        {**feature("annotation", square(0, 0, 900)), "childObjects": [feature("cell", square(600, 600, 10))]},
    ]  # fmt: skip
    for name, content in (("list", json.dumps(given)), ("mark", "\ufeff" + json.dumps(given))):
        (tmp_path / f"{name}.geojson").write_text(content, encoding="utf-8")
        assert placed(tmp_path / f"{name}.geojson") == [(15, 15), (50, 50), (15, 5), (605, 605)]
    (tmp_path / "one.geojson").write_text(json.dumps(feature("cell", square(10, 10, 10))))
    assert placed(tmp_path / "one.geojson") == [(15, 15)]


def test_cells_without_an_outline_are_left_out_and_counted(tmp_path: Path) -> None:
    line = [[100, 100], [120, 100], [100, 100]]
    given = [
        feature("cell", {"type": "Polygon", "coordinates": []}),
        feature("cell", square(10, 10, 10)),
        feature("cell", {"type": "Polygon", "coordinates": [[[5, 5]]]}),
        feature("cell", {"type": "MultiPolygon", "coordinates": []}),
        feature("detection", {"type": "Polygon", "coordinates": [line]}),
    ]
    (tmp_path / "a.geojson.gz").write_bytes(gzip.compress(features(*given).encode()))

    found = place(tmp_path)

    assert centres(found) == [(15, 15), (110, 100)]
    assert found.notes == ("a.geojson.gz: cells left out because they have no outline: 3, the first is object 1",)


@pytest.mark.parametrize("kind", ["Polygon", "MultiPolygon"])
def test_cells_farther_off_than_numbers_can_tell_are_off_the_slide_or_left_out(tmp_path: Path, kind: str) -> None:
    ring = [[1e308, 0], [1e308, 1e308], [0, 1e308], [1e308, 0]]
    far = {"type": kind, "coordinates": [ring] if kind == "Polygon" else [[ring]]}
    (tmp_path / "a.geojson").write_text(features(feature("cell", far), feature("cell", square(10, 10, 10))))

    found = place(tmp_path)

    assert centres(found) == [(15, 15)]
    assert len(found.notes) == 1


def test_geojson_that_is_named_itself_is_told_to_be_taken_for_the_slide(tmp_path: Path) -> None:
    (tmp_path / "cells.geojson").write_text(features(feature("cell", square(10, 10, 10))))

    assert "all cells in cells.geojson were taken for a.svs" in place(tmp_path / "cells.geojson").notes[0]


def test_geojson_classes_are_chosen_by_any_of_their_names(tmp_path: Path) -> None:
    kinds: list[Any] = [{"name": "Tumor"}, {"names": ["Tumor", "Positive"]}, {"name": "Stroma"}, None]
    given = [feature("cell", square(10 * i, 0, 2), properties={"classification": kind}) for i, kind in enumerate(kinds)]
    (tmp_path / "a.geojson").write_text(features(*given))

    assert placed(tmp_path, classes=("Tumor",)) == [(1, 1), (11, 1)]
    assert placed(tmp_path, classes=("Tumor: Positive",)) == [(11, 1)]


@pytest.mark.parametrize(
    "content", ["", "[", '{"type": "FeatureCollection", "features": [{"type"', "hello", '{"features": [1]}', "[[]]"]
)
def test_damaged_geojson_names_the_file_and_the_remedy(tmp_path: Path, content: str) -> None:
    (tmp_path / "a.geojson").write_text(content)

    with pytest.raises(SlideError, match=r"a\.geojson.*(export the cells again|holds no cells)"):
        placed(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x,y\n1,2\n", "names no centroids"),
        ("Centroid X px,Centroid Y px\n1,2\n3,oops\n", "line 3"),
        ("Centroid X px,Centroid Y px\n1,nan\n", "line 2, column Centroid Y px: 'nan' is not a number"),
        ("Centroid X px,Centroid Y px\n,1\n", "line 2, column Centroid X px: '' is not a number"),
        ("Centroid X px,Centroid Y µm\n1,2\n", "line 1: has x in px and y in um; export the measurements again"),
        ("", "is empty"),
    ],
)
def test_damaged_tables_say_where(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "a.csv").write_text(content, encoding="utf-8")

    with pytest.raises(SlideError, match=message):
        placed(tmp_path)


def test_cells_beside_the_slide_are_counted_and_are_an_error_where_all_are() -> None:
    info = slide_of().info

    found = placed_around(np.array([[5.0, 5.0], [-3.0, 5.0], [999.4, 799.4], [999.6, 5.0], [np.nan, 1e300]]), info, PX)

    assert centres(found) == [(5, 5), (999, 799)]
    assert found.metrics == {"cells": 5, "off_slide": 3, "over_edge": 0}
    (said,) = found.notes
    assert said.startswith("3 of 5 cells lie off the slide (1000 x 800 pixels) and get no tile, the first at -3, 5;")
    with pytest.raises(SlideError, match="none of 2 cells is on the slide"):
        placed_around(np.array([[5000.0, 5.0], [6000.0, 5.0]]), info, PX)


@pytest.mark.parametrize("side", [10, 11])
def test_the_tile_is_centred_on_the_cell(side: int) -> None:
    found = placed_around(np.array([[100.0, 200.0]]), slide_of().info, Size(side, side))

    # The rule of existing data sets: top left is the centroid less int(side / 2).
    assert (found.tiles.x[0], found.tiles.y[0]) == (100 - side // 2, 200 - side // 2)
    assert centres(found) == [(100, 200)]
    assert found.notes == ()


def test_edge_drop_leaves_out_tiles_over_the_side_and_counts_them() -> None:
    points = np.array([[5.0, 5.0], [4.0, 5.0], [995.0, 795.0], [996.0, 795.0]])

    assert len(placed_around(points, slide_of().info, PX, edge="pad").tiles) == 4
    dropped = placed_around(points, slide_of().info, PX, edge="drop")
    assert centres(dropped) == [(5, 5), (995, 795)]
    assert dropped.tiles.index.tolist() == dropped.tiles.grid_x.tolist() == [0, 1]
    assert dropped.metrics == {"cells": 4, "off_slide": 0, "over_edge": 2}
    assert dropped.notes == ("2 of 4 cells get no tile, because it would extend beyond the slide (edge = 'drop')",)


def test_plain_csv_has_columns_units_and_slides_of_choice(tmp_path: Path) -> None:
    path = tmp_path / "all.csv"
    path.write_text("slide,px_x,px_y\na,10,20\nb,30,40\n")

    def cells(**options: Any) -> list[tuple[int, int]]:
        settings = CsvCells(folder=tmp_path, x="px_x", y="px_y", **options)
        return centres(settings.build().place(slide_of(), scene()))  # type: ignore[arg-type]

    assert cells() == [(10, 20)]
    assert cells(unit="um") == [(20, 40)]


def test_a_column_named_after_another_unit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x_um,y_um\n10,20\n")

    def cells(**options: Any) -> list[tuple[int, int]]:
        return centres(CsvCells(folder=tmp_path, x="x_um", y="y_um", **options).build().place(slide_of(), scene()))  # type: ignore[arg-type]

    with pytest.raises(SlideError, match='line 1, column x_um: is named as um, but taken as px; set unit = "um"'):
        cells()
    assert cells(unit="um") == [(20, 40)]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("x,Y_px\n10,20\n")

    with pytest.raises(SlideError, match=r"a\.csv: has no column 'y', but x, Y_px; name it by `x` and `y`"):
        CsvCells(folder=tmp_path).build().place(slide_of(), scene())


def test_missing_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such folder or file of cells"):
        QuPathCells(folder=tmp_path / "nowhere").build()
    with pytest.raises(SlideError, match="no cells for a"):
        placed(tmp_path)
    (tmp_path / "a.csv").write_text("Centroid X px,Centroid Y px\n1,2\n")
    (tmp_path / "a.tsv").write_text("Centroid X px\tCentroid Y px\n1\t2\n")
    with pytest.raises(SlideError, match="keep one of them"):
        placed(tmp_path)


BIG = """
import sys
from pathlib import Path
from slideloom_cells.geojson import geojson_centroids

def peak():  # not ru_maxrss, which starts at the size of the process that started this one
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

before = peak()
points, _ = geojson_centroids(Path(sys.argv[1]))
print(len(points), peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read as Linux counts it")
def test_a_large_geojson_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "a.geojson"
    measurements = {f"Nucleus: Measure {i}": 1.25 * i for i in range(40)}
    one = json.dumps(feature("cell", square(5, 5, 10), properties={"measurements": measurements}))
    count = 40_000
    with path.open("w") as file:
        file.write('{"type": "FeatureCollection", "features": [')
        for i in range(count):
            file.write((",\n" if i else "") + one)
        file.write("]}")

    ran = subprocess.run([sys.executable, "-c", BIG, str(path)], capture_output=True, text=True, check=True)

    found, grown_kb = map(int, ran.stdout.split())
    assert found == count
    # About 60 MB of text; as Python objects it would be several hundred.
    assert path.stat().st_size > 50_000_000
    assert grown_kb < 60_000
