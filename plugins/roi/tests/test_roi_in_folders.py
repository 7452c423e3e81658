"""Regions of slides whose names have folders."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from slideloom import OutputError, Regions, SlideInfo
from slideloom_roi import QuPathCsv
from slideloom_testing import info_of


def square(side: int) -> str:
    corners = [(0, 0), (side, 0), (side, side), (0, side)]
    return "ROI_Name,X_base,Y_base\n" + "".join(f"r,{x},{y}\n" for x, y in corners)


def in_folders(name: str, *, shares_name: bool = False) -> SlideInfo:
    path = Path("slides") / f"{name}.svs"
    return attrs.evolve(info_of("a"), name=name, path=path, shares_name=shares_name)


def regions_of(info: SlideInfo, folder: Path) -> Regions | None:
    return QuPathCsv(folder=folder).build().regions(info)


def write(folder: Path, **sides: int) -> None:
    """Write a square for each slide; `__` stands for the slash of its name."""
    for name, side in sides.items():
        path = folder / f"{name.replace('__', '/')}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(square(side))


def areas(found: Regions | None) -> list[float]:
    return [] if found is None else [region.shape.area for region in found.items]


def test_slides_of_one_name_have_the_regions_in_their_own_folders(tmp_path: Path) -> None:
    write(tmp_path, lab1__a=10, lab2__a=20, a=30)

    found = [areas(regions_of(in_folders(f"{lab}/a", shares_name=True), tmp_path)) for lab in ("lab1", "lab2")]

    assert found == [[100], [400]]


def test_a_file_without_folders_is_never_taken_where_several_slides_have_its_name(tmp_path: Path) -> None:
    write(tmp_path, a=30, lab2__a=20)

    found = regions_of(in_folders("lab1/a", shares_name=True), tmp_path)

    assert found is not None
    assert found.items == ()
    (note,) = found.notes
    assert note == (
        f"{tmp_path / 'a.csv'} was not read: several slides have this name; if it is meant for lab1/a, move it to the "
        "folder lab1 there"
    )


def test_a_file_without_folders_is_taken_where_one_slide_alone_has_its_name(tmp_path: Path) -> None:
    write(tmp_path, a=30, lab2__a=20)

    assert areas(regions_of(in_folders("lab1/case7/a"), tmp_path)) == [900]
    assert areas(regions_of(in_folders("lab2/a"), tmp_path)) == [400]


def test_files_of_slides_in_other_folders_are_not_looked_at(tmp_path: Path) -> None:
    write(tmp_path, lab2__a=20)

    assert regions_of(in_folders("lab1/a"), tmp_path) is None
    assert regions_of(in_folders("a"), tmp_path) is None


def test_folders_in_a_name_do_not_lead_out_of_the_folder_of_regions(tmp_path: Path) -> None:
    write(tmp_path / "outside", a=10)
    (tmp_path / "roi").mkdir()

    with pytest.raises(OutputError, match="cannot be used as a file name"):
        regions_of(in_folders("../outside/a"), tmp_path / "roi")


def test_accents_of_a_folder_may_be_stored_in_two_ways(tmp_path: Path) -> None:
    write(tmp_path / "cafe\u0301", a=10)

    assert areas(regions_of(in_folders("caf\u00e9/a"), tmp_path)) == [100]
