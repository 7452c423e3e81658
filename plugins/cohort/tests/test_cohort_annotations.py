"""Annotations: what a CSV says, and which mistakes are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from slideloom.base.errors import ConfigError
from slideloom_cohort.annotations import Annotations, read_annotations

TABLE = "patient,slide,site,grade\np1,a,North,1\np1,b,North,2\np2,c,South,\n"


def written(folder: Path, text: str) -> Path:
    path = folder / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture
def annotations(tmp_path: Path) -> Annotations:
    return read_annotations(written(tmp_path, TABLE))


def test_a_row_is_a_slide_with_its_patient_and_columns(annotations: Annotations) -> None:
    assert annotations.patients() == {"a": "p1", "b": "p1", "c": "p2"}
    assert annotations.column("site") == {"a": "North", "b": "North", "c": "South"}


def test_spaces_blank_lines_and_a_byte_order_mark_do_not_matter(tmp_path: Path) -> None:
    found = read_annotations(written(tmp_path, "\ufeffslide, patient\n a , p1 \n\n,\nb,p2\n"))

    assert found.patients() == {"a": "p1", "b": "p2"}


@pytest.mark.parametrize(
    ("filters", "blank", "slides"),
    [
        ({"site": "North"}, (), ["a", "b"]),
        ({"site": ["North", "South"]}, (), ["a", "b", "c"]),
        ({"grade": 2}, (), ["b"]),
        ({"grade": 2.0}, (), ["b"]),
        ({}, "grade", ["a", "b"]),
        ({"site": "South"}, ["grade"], []),
        (None, (), ["a", "b", "c"]),
    ],
)
def test_filters_choose_slides(annotations: Annotations, filters: object, blank: object, slides: list[str]) -> None:
    assert annotations.slides(filters, blank) == slides  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("filters", "message"),
    [
        ({"sight": "North"}, r"labels.csv: no column 'sight' \(did you mean 'site'\?\)"),
        ({"site": "Nort"}, r"no row has site = 'Nort' \(did you mean 'North'\?\)"),
    ],
)
def test_a_filter_that_matches_nothing_is_an_error(annotations: Annotations, filters: object, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        annotations.slides(filters)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("patient,file\np,a\n", r"line 1: no column 'slide'"),
        ("patient,slide,x,x\n", "line 1: column 'x' occurs more than once"),
        ("patient,slide\np,a\nq,a\n", "line 3: slide 'a' is already in line 2"),
        ("patient,slide\np,\n", "line 2: slide is blank"),
        ("patient,slide\n,a\n", "line 2: patient is blank"),
        ("patient,slide\np,a,b\n", "line 2: 3 cells, the header has 2"),
        ('patient,slide,note\np,a,"two\nlines"\np,a,x\n', "line 4: slide 'a' is already in line 3"),
    ],
)
def test_mistakes_are_named_by_file_and_line(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)

    with pytest.raises(ConfigError, match=message) as caught:
        read_annotations(path)

    assert str(path) in str(caught.value)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read_annotations(written(tmp_path, "patient,slide\np,\np,a\np,a\n"))

    assert len(str(caught.value).splitlines()) == 2


def test_a_file_that_is_missing_or_binary_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        read_annotations(tmp_path / "none.csv")
    path = tmp_path / "labels.csv"
    path.write_bytes(b"\xff\xfep\x00a")  # UTF-16, cut within a letter
    with pytest.raises(ConfigError, match=r"cannot be read as text .*; save it as UTF-8"):
        read_annotations(path)
