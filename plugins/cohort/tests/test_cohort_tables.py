"""Tables of a cohort: every spelling of a CSV that people make is read alike, and labels come back as written."""

from __future__ import annotations

from pathlib import Path

from slideloom import csv_text
from slideloom_cohort.annotations import read_annotations
from slideloom_cohort.stored import read_tile_table


def written(folder: Path, content: str, *, encoding: str = "utf-8") -> Path:
    path = folder / "table.csv"
    path.write_bytes(content.encode(encoding))
    return path


def test_annotations_may_have_tabs_decimal_commas_and_two_bytes_a_letter(tmp_path: Path) -> None:
    labels = written(tmp_path, "patient\tslide\tage\np\ta\t1,5\n", encoding="utf-16")

    assert read_annotations(labels).slides({"age": 1.5}) == ["a"]


def test_labels_survive_the_tile_table(tmp_path: Path) -> None:
    names = ["loc_x", "loc_y", "status", "roi_name", "roi_desc", "label"]
    path = written(tmp_path, csv_text(names, [[1, 2, "written", "=a", "-b\rc", "'@d"], [-3, 4, "roi", "", "", "-1"]]))

    frame = read_tile_table(path)

    assert frame[["roi_name", "roi_desc", "label"]].to_numpy().tolist() == [["=a", "-b\rc", "'@d"], [None, None, "-1"]]
    assert frame["loc_x"].tolist() == [1, -3]
