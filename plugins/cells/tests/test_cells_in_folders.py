"""Cells of slides whose names have folders."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from slideloom import SlideError, SlideInfo
from slideloom_cells.files import _file_of
from slideloom_cells.tables import csv_points
from slideloom_testing import info_of

ENDINGS = (".csv",)


def in_folders(name: str, *, shares_name: bool = False) -> SlideInfo:
    return attrs.evolve(info_of("a"), name=name, path=Path("slides") / f"{name}.svs", shares_name=shares_name)


def test_a_slide_in_folders_has_the_file_in_its_own_folders(tmp_path: Path) -> None:
    for name in ("lab1/a.csv", "lab2/a.csv", "a.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert _file_of(tmp_path, in_folders("lab2/a", shares_name=True), ENDINGS) == (tmp_path / "lab2" / "a.csv", True)
    assert _file_of(tmp_path, in_folders("lab3/a"), ENDINGS) == (tmp_path / "a.csv", True)


def test_a_file_without_folders_is_not_taken_where_several_slides_have_its_name(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).touch()

    with pytest.raises(SlideError, match=r"no cells for a\.svs; export them as lab1/a\.csv"):
        _file_of(tmp_path, in_folders("lab1/a", shares_name=True), ENDINGS)


@pytest.mark.parametrize(
    ("slide", "whole", "expected"),
    [("lab1/a", True, [1, 2]), ("a", True, [4]), ("a", False, [1, 2, 3, 4])],
)
def test_rows_of_a_common_table_name_slides_with_their_folders_where_several_are_alike(
    tmp_path: Path, slide: str, whole: bool, expected: list[int]
) -> None:
    table = tmp_path / "cells.csv"
    table.write_text("slide,x,y\nlab1/a,1,0\nlab1\\a.svs,2,0\nlab2/a,3,0\na.svs,4,0\nb,5,0\n")

    found = csv_points(table, slide=slide, x="x", y="y", unit="px", whole=whole)

    assert found.points[:, 0].tolist() == expected
