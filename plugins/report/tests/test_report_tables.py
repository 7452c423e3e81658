"""The tables in the layout of existing data sets."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
from slideloom import OutputError, SlideReport
from slideloom_report import Cohort, write_tables

# The columns and their order are those of Slideflow 3.0.2.
HEADER = (
    "slide,num_tiles,tile_px,tile_um,rois,stride,qc,gs_fraction,gs_threshold,ws_fraction,ws_threshold,normalizer,"
    "img_format,date,backend,slideflow_version"
)
TABLE = {
    "tiles": {"size_px": 299, "size_um": 302, "stride_div": 2},
    "qc": [{"use": "otsu"}, {"use": "gaussian-v2"}],
    "filter": [{"use": "grayspace", "threshold": 0.05, "fraction": 0.6}],
    "normalizer": {"use": "macenko"},
    "sink": [{"use": "tfrecord", "format": "jpg"}],
}


def cohort(out: Path, *slides: SlideReport) -> Cohort:
    versions = {"slideloom-core": "0.1.0"}
    started = "2025-03-12T14:05:00+00:00"
    return Cohort(out, "299px_302um", "run", slides, table=TABLE, versions=versions, started=started)


def slide(name: str, **values: Any) -> SlideReport:
    outputs = (f"tfrecords/299px_302um/{name}.tfrecords",)
    given = {"written": 5, "tile_px": 299, "tile_um": 302.0, "reader": "tiff", "outputs": outputs, **values}
    return SlideReport(slide=name, path=f"/slides/{name}.svs", status="done", **given)


def test_rows_have_the_columns_of_existing_reports(tmp_path: Path) -> None:
    write_tables(cohort(tmp_path, slide("a")), stamp="20250312-140500")

    lines = (tmp_path / "tfrecords/299px_302um/extraction_report.csv").read_text().splitlines()

    assert lines[0] == HEADER
    assert lines[1] == (
        'a,5,299,302,ignore,2,"otsu, gaussian-v2",0.6,0.05,,,macenko,jpg,2025-03-12T14:05:00+00:00,tiff,slideloom 0.1.0'
    )


def test_new_rows_come_first_and_replace_those_of_the_same_slide(tmp_path: Path) -> None:
    write_tables(cohort(tmp_path, slide("a", written=1), slide("b", written=2)), stamp="1")
    write_tables(cohort(tmp_path, slide("c", written=3), slide("a", written=4)), stamp="2")

    with (tmp_path / "tfrecords/299px_302um/extraction_report.csv").open(newline="") as file:
        rows = [(row["slide"], row["num_tiles"]) for row in csv.DictReader(file)]

    assert rows == [("c", "3"), ("a", "4"), ("b", "2")]


def test_a_slide_that_a_spreadsheet_would_calculate_is_marked_once_and_still_replaced(tmp_path: Path) -> None:
    path = tmp_path / "tfrecords/299px_302um/extraction_report.csv"
    write_tables(cohort(tmp_path, slide("=1+1", written=1), slide("-b", written=2)), stamp="1")
    write_tables(cohort(tmp_path, slide("=1+1", written=3)), stamp="2")

    assert [line.split(",")[:2] for line in path.read_text().splitlines()[1:]] == [["'=1+1", "3"], ["'-b", "2"]]


def test_a_table_that_a_spreadsheet_saved_again_keeps_its_rows(tmp_path: Path) -> None:
    path = tmp_path / "tfrecords/299px_302um/extraction_report.csv"
    write_tables(cohort(tmp_path, slide("a", written=1)), stamp="1")
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    with path.open("w", newline="", encoding="utf-16") as file:
        csv.writer(file, delimiter=";").writerows(rows)
    write_tables(cohort(tmp_path, slide("b", written=2)), stamp="2")

    assert [line.split(",")[:2] for line in path.read_text().splitlines()[1:]] == [["b", "2"], ["a", "1"]]


def test_another_table_under_its_name_is_not_written_over(tmp_path: Path) -> None:
    path = tmp_path / "tfrecords/299px_302um/extraction_report.csv"
    path.parent.mkdir(parents=True)
    path.write_text("name,value\na,1\n")

    with pytest.raises(OutputError, match=r"\.csv: is not an earlier table of this kind; move it away"):
        write_tables(cohort(tmp_path, slide("a")), stamp="1")
    assert path.read_text() == "name,value\na,1\n"


def test_only_slides_above_five_percent_are_warned_of(tmp_path: Path) -> None:
    slides = (slide("a", blur_burden=0.05), slide("b", blur_burden=0.125), slide("c", blur_burden=None))
    write_tables(cohort(tmp_path, *slides), stamp="20250312-140500")

    warned = tmp_path / "tfrecords/299px_302um/warn_report-20250312-140500.txt"

    assert warned.read_text() == "/slides/b.svs,0.125\n"


def test_no_warning_means_no_file(tmp_path: Path) -> None:
    write_tables(cohort(tmp_path, slide("a", blur_burden=0.01)), stamp="20250312-140500")

    assert not list(tmp_path.rglob("warn_report*"))


def test_slides_without_tiles_are_listed_where_the_others_are(tmp_path: Path) -> None:
    write_tables(cohort(tmp_path, slide("a"), slide("b", outputs=(), written=0)), stamp="1")

    assert [path.parent.name for path in tmp_path.rglob("extraction_report.csv")] == ["299px_302um"]


def test_rows_and_columns_of_another_program_stay(tmp_path: Path) -> None:
    table = tmp_path / "tfrecords/299px_302um/extraction_report.csv"
    table.parent.mkdir(parents=True)
    table.write_text("slide,num_tiles,theirs\nother,7,kept\n")

    write_tables(cohort(tmp_path, slide("a")), stamp="1")

    with table.open(newline="") as file:
        rows = [(row["slide"], row["num_tiles"], row["theirs"]) for row in csv.DictReader(file)]
    assert rows == [("a", "5", ""), ("other", "7", "kept")]
