"""Remarks on slides: kept in a table that a project filters by."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import pytest
from slideloom import ConfigError, Project
from slideloom_studio.calls import Refused
from slideloom_studio.review import Review
from slideloom_testing.disks import full_disk
from slideloom_testing.fixtures import DemoFiles


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_a_remark_is_in_the_list_of_slides_and_in_the_table(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    page = open_studio(demo_slide.path)

    answer = page.put("api/slides/s1/review", {"status": "excluded", "note": 'pen, "red"\nand folds'})

    assert (answer.json()["status"], answer.json()["note"]) == ("excluded", 'pen, "red"\nand folds')
    assert page.get("api/slides").json()[0]["status"] == "excluded"
    assert rows(tmp_path / "out/review.csv") == [
        {"patient": "demo", "slide": "demo", "review": "excluded", "note": 'pen, "red"\nand folds'}
    ]
    again = open_studio(demo_slide.path).get("api/slides").json()[0]
    assert (again["status"], again["note"]) == ("excluded", 'pen, "red"\nand folds')


def test_a_project_takes_the_table_as_annotations_and_filters_by_it(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        shutil.copy(demo_slide.path, tmp_path / f"{name}.svs")
    page = open_studio(tmp_path / "a.svs", tmp_path / "b.svs")
    page.put("api/slides/s1/review", {"status": "reviewed", "note": "fine"})
    page.put("api/slides/s2/review", {"status": "excluded", "note": "folds"})

    project = Project.create(
        tmp_path / "project", slides=str(tmp_path / "*.svs"), annotations=tmp_path / "out/review.csv"
    )

    assert list(project.dataset(100, 100, filters={"review": "reviewed"}).slide_paths()) == ["a"]
    assert list(project.dataset(100, 100, filters={"review": "excluded"}).slide_paths()) == ["b"]


def test_other_columns_and_slides_of_the_table_stay(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_text("slide,patient,grade,note\nother,P1,2,=SUM(1)\nmine,P2,3,old\n", encoding="utf-8")

    Review(path).note("mine", "reviewed", "-new")

    assert rows(path) == [
        {"patient": "P1", "slide": "other", "review": "", "note": "'=SUM(1)", "grade": "2"},
        {"patient": "P2", "slide": "mine", "review": "reviewed", "note": "'-new", "grade": "3"},
    ]
    assert Review(path).of("mine").note == "-new"
    assert Review(path).of("nobody").status == "untouched"


def test_remarks_of_two_studios_are_both_kept(tmp_path: Path) -> None:
    one, other = Review(tmp_path / "review.csv"), Review(tmp_path / "review.csv")

    one.note("a", "reviewed", "")
    other.note("b", "excluded", "")
    one.note("a", "reviewed", "again")

    assert [(row["slide"], row["review"]) for row in rows(tmp_path / "review.csv")] == [
        ("a", "reviewed"),
        ("b", "excluded"),
    ]


@pytest.mark.parametrize(
    ("status", "note"), [("done", ""), (None, ""), (["reviewed"], ""), ("reviewed", 7), ("reviewed", "x" * 10_001)]
)
def test_what_is_no_remark_is_refused(tmp_path: Path, status: Any, note: Any) -> None:
    with pytest.raises(Refused):
        Review(tmp_path / "review.csv").note("a", status, note)
    assert not (tmp_path / "review.csv").exists()


def test_a_full_disk_leaves_the_table_as_it_was(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    page = open_studio(demo_slide.path)
    page.put("api/slides/s1/review", {"status": "reviewed", "note": "first"})

    with full_disk(after_bytes=10):
        answer = page.put("api/slides/s1/review", {"status": "excluded", "note": "second"})

    assert answer.status == 507
    assert rows(tmp_path / "out/review.csv")[0]["note"] == "first"


def test_a_table_of_something_else_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "review.csv"
    path.write_text("a,b\n1,2\n")

    with pytest.raises(ConfigError, match="no column 'slide'"):
        Review(path).note("a", "reviewed", "")
    assert path.read_text() == "a,b\n1,2\n"
