"""Which file is a slide's, and what is said of one that only looks so."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from slideloom import Regions, RoiError, Size, load_regions
from slideloom_roi import GeoJson, QuPathCsv, RoiFolder
from slideloom_testing import info_of

RING = [[0, 0], [50, 0], [50, 50], [0, 50], [0, 0]]
GEOJSON = json.dumps({"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [RING]}, "properties": {}})
TCGA = "TCGA-AA-0001-01Z-00-DX1.9fce0297-cc19-4c04"


def regions(folder: Path, slide: str = "s", source=RoiFolder) -> Regions | None:
    return source(folder=folder).build().regions(info_of(slide, size=Size(1000, 800), folder=folder / "slides"))


@pytest.mark.parametrize("name", ["s.geojson", "s.GEOJSON", "s.GeoJson.GZ", "s.svs.json.gz", "s.geojson.gz"])
def test_capital_letters_and_gzip_do_not_matter(tmp_path: Path, name: str) -> None:
    content = GEOJSON.encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.lower().endswith(".gz") else content)

    assert regions(tmp_path).items[0].shape.area == 2500


def test_a_packed_file_is_known_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "s.geojson").write_bytes(gzip.compress(GEOJSON.encode()))

    assert regions(tmp_path).items[0].shape.area == 2500


def test_letters_with_accents_are_the_same_however_they_are_stored(tmp_path: Path) -> None:
    (tmp_path / "Fla\u0308che.geojson").write_text(GEOJSON)

    assert regions(tmp_path, "Fl\u00e4che").items


@pytest.mark.parametrize(
    ("slide", "name", "why", "remedy"),
    [
        ("s", "s.svs - Series 0.geojson", "its name goes on where the slide's ends", "rename it to s.geojson"),
        ("s", "s_annotations.geojson.gz", "its name goes on where the slide's ends", "rename it to s.geojson.gz"),
        ("s", "S.geojson", "its name differs in capital letters", "rename it to s.geojson"),
        (TCGA, "TCGA-AA-0001-01Z-00-DX1.csv", "its name ends where the slide's goes on", f"rename it to {TCGA}.csv"),
        ("s", "s.zip", "it is packed", "unpack it"),
        ("s", "s.tsv", "it does not end in .csv or .geojson or .json or", "export it in such a format"),
        ("s", "s - Series 1.txt", "its name goes on where the slide's ends and it does not end in", "export it"),
    ],
)
def test_a_near_miss_is_named_with_its_reason_and_remedy(
    tmp_path: Path, slide: str, name: str, why: str, remedy: str
) -> None:
    (tmp_path / name).write_text(GEOJSON)

    found = regions(tmp_path, slide)

    assert found.items == ()
    (said,) = found.notes
    assert said.startswith(f"{tmp_path / name} was not read: {why}")
    assert f"if it is meant for {slide}.svs, {remedy}" in said


def test_the_format_of_another_source_is_a_near_miss(tmp_path: Path) -> None:
    (tmp_path / "s.geojson").write_text(GEOJSON)

    (said,) = regions(tmp_path, source=QuPathCsv).notes

    assert "it does not end in .csv; if it is meant for s.svs, export it in such a format, or use the source" in said


@pytest.mark.parametrize("name", ["t.geojson", "s1.geojson", "s.png", "._s_1.geojson", "readme.txt"])
def test_files_of_other_slides_are_no_near_miss(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(GEOJSON)

    assert regions(tmp_path) is None


def test_a_file_that_has_a_slide_of_its_own_is_no_near_miss(tmp_path: Path) -> None:
    (tmp_path / "s_2.geojson").write_text(GEOJSON)
    assert regions(tmp_path).notes

    (tmp_path / "slides").mkdir()
    (tmp_path / "slides" / "s_2.svs").touch()
    assert regions(tmp_path) is None


def test_a_near_miss_is_no_file_for_whoever_needs_one(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    info = info_of("s", size=Size(1000, 800), folder=tmp_path / "slides")
    (tmp_path / "S.geojson").write_text(GEOJSON)
    assert load_regions(tmp_path, info) is None
    assert "its name differs in capital letters" in caplog.text

    (tmp_path / "s.geojson").write_text('{"type": "FeatureCollection", "features": []}')
    assert load_regions(tmp_path, info).notes == ("the file holds no region",)


def test_many_near_misses_are_counted(tmp_path: Path) -> None:
    for number in range(5):
        (tmp_path / f"s - Series {number}.geojson").write_text(GEOJSON)

    assert len(regions(tmp_path).notes) == 4
    assert regions(tmp_path).notes[-1] == "2 more files have such names"


def test_a_file_that_fits_is_read_without_a_word_of_others(tmp_path: Path) -> None:
    for name in ("s.geojson", "s - Series 1.geojson", "S.geojson", "S.csv"):
        (tmp_path / name).write_text(GEOJSON)

    assert regions(tmp_path).notes == ()
    assert len(regions(tmp_path).items) == 1


def test_two_files_that_fit_are_refused(tmp_path: Path) -> None:
    for name in ("s.geojson", "s.geojson.gz"):
        (tmp_path / name).write_text(GEOJSON)

    with pytest.raises(RoiError, match=r"several files for slide s: s\.geojson, s\.geojson\.gz; keep one of them$"):
        regions(tmp_path, source=GeoJson)


@pytest.mark.parametrize("cut", [3, 30, -5])
def test_a_damaged_packed_file_is_refused_by_name(tmp_path: Path, cut: int) -> None:
    (tmp_path / "s.geojson.gz").write_bytes(gzip.compress(GEOJSON.encode())[:cut])

    with pytest.raises(RoiError, match=r"s\.geojson\.gz: its compression is damaged"):
        regions(tmp_path)


def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("slideloom_roi.contents._MOST_BYTES", 1 << 20)
    (tmp_path / "s.geojson.gz").write_bytes(gzip.compress(b" " * (3 << 20)))

    with pytest.raises(RoiError, match="unpacks to more than 1 MB"):
        regions(tmp_path)
