"""Microns per pixel: the order of sources, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from slideloom.base.errors import ConfigError, MissingResolution
from slideloom.base.geometry import Size
from slideloom.pipeline.pipeline import Slides
from slideloom.planning.opening import open_slide
from slideloom.slides.info import Resolution, SlideInfo, levels_from_sizes
from slideloom.slides.resolution import find_resolution, finite_number, odd_mpp, read_mpp_file

BARE = SlideInfo(path=Path("a.svs"), name="a", reader="t", levels=levels_from_sizes([Size(10, 10)]))
RECORDED = Resolution(0.25, 0.26, "properties")
TAGS = Resolution(0.5, 0.5, "TIFF resolution")


def test_sources_are_asked_in_the_documented_order() -> None:
    full = attrs.evolve(BARE, mpp=RECORDED, tiff_mpp=TAGS, objective_power=40.0)
    own = {"a": Resolution(1.0, 1.0, "override in x.csv")}

    assert find_resolution(full, mpp=2.0, mpp_by_slide=own) == own["a"]
    assert find_resolution(full, mpp=2.0).x == 2.0
    assert find_resolution(full) == RECORDED
    assert find_resolution(attrs.evolve(full, mpp=None)) == TAGS
    assert find_resolution(attrs.evolve(full, mpp=None, tiff_mpp=None), allow_objective_power=True).x == 0.25


def test_a_slide_is_found_by_its_name_or_its_file_name() -> None:
    assert find_resolution(BARE, mpp_by_slide={"a.svs": RECORDED}) == RECORDED
    assert find_resolution(BARE, mpp_by_slide={"a.svs": attrs.evolve(RECORDED, source="x"), "a": RECORDED}) == RECORDED


def test_a_slide_that_is_listed_by_two_names_with_two_values_is_refused() -> None:
    said = r"a\.svs: mpp_file lists it by several names .* \(a = 0\.25 x 0\.26, a\.svs = 0\.5 x 0\.5\); keep the right"
    with pytest.raises(ConfigError, match=said):
        find_resolution(BARE, mpp_by_slide={"a.svs": TAGS, "a": RECORDED})


def test_objective_power_is_not_taken_unasked_and_the_remedies_are_named() -> None:
    with pytest.raises(
        MissingResolution, match=r"a\.svs.*give mpp for all.* mpp_file, .*allow_objective_power to take 0\.25"
    ):
        find_resolution(attrs.evolve(BARE, objective_power=40.0))


def test_72_and_300_dots_per_inch_are_no_scanner_resolution() -> None:
    for screen in (352.8, 84.7):  # 72 and 300
        with pytest.raises(MissingResolution, match=rf"{screen} um, which no scanner has"):
            find_resolution(attrs.evolve(BARE, tiff_mpp=Resolution(screen, screen, "TIFF resolution")))


@pytest.mark.parametrize("mpp", [0.0, -1.0, 1e9, float("nan"), float("inf")])
def test_an_override_that_no_slide_can_have_is_refused(mpp: float) -> None:
    with pytest.raises(ConfigError, match=r"mpp must be from 0\.01 to 300\.0 um per pixel, not "):
        find_resolution(attrs.evolve(BARE, mpp=RECORDED), mpp=mpp)


def test_a_thumbnail_of_a_whole_slide_may_be_given_its_own_mpp(tmp_path: Path) -> None:
    thumbnail = attrs.evolve(BARE, levels=levels_from_sizes([Size(468, 525)]))
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\na,40\n")

    assert find_resolution(thumbnail, mpp=40.0).x == 40.0
    assert find_resolution(thumbnail, mpp_by_slide=read_mpp_file(table)).x == 40.0
    assert find_resolution(attrs.evolve(BARE, levels=levels_from_sizes([Size(256, 85)])), mpp=75_000 / 256).y > 290


@pytest.mark.parametrize("by_file", [False, True])
def test_nanometres_given_as_microns_are_refused_by_the_size_of_the_slide(tmp_path: Path, by_file: bool) -> None:
    scan = attrs.evolve(BARE, levels=levels_from_sizes([Size(26_640, 35_604)]))
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\na,250\n")

    # 35,604 x 250 um
    with pytest.raises(ConfigError, match=r"a\.svs: mpp 250 \(override .*\) would make it 8\.9 m long"):
        find_resolution(scan, **({"mpp_by_slide": read_mpp_file(table)} if by_file else {"mpp": 250.0}))


def test_an_mpp_file_gives_one_or_two_values_per_slide(tmp_path: Path) -> None:
    path = tmp_path / "mpp.csv"
    path.write_text("slide,mpp_x,mpp_y\na,0.25,0.26\nb,0.5,\n", encoding="utf-8-sig")

    found = read_mpp_file(path)

    assert (found["a"].x, found["a"].y, found["b"].x, found["b"].y) == (0.25, 0.26, 0.5, 0.5)
    assert "mpp.csv" in found["a"].source


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slide,mpp\na,half\n", "line 2, column mpp: 'half' is not a number; write it like 1234.5"),
        ("slide,mpp\na,0.5\na,0.6\n", "line 3: slide a is listed twice; keep one"),
        ("slide,mpp\n\na,0.5\n\nb,\n", "line 5: slide or mpp is empty; fill it in"),
        ("slide,mpp\na,500\n", "line 2, column mpp: mpp of a is 500, outside .*; write"),
        ("name,value\na,0.5\n", "needs the columns slide,mpp; has name, value"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "mpp.csv"
    path.write_text(text)

    with pytest.raises(ConfigError, match=said):
        read_mpp_file(path)


def test_an_mpp_file_is_parsed_again_only_when_it_has_changed(tmp_path: Path) -> None:
    path = tmp_path / "mpp.csv"
    path.write_text("slide,mpp\na,0.5\n")
    first = read_mpp_file(path)

    assert read_mpp_file(path) is first
    path.write_text("slide,mpp\na,0.25\n")
    assert read_mpp_file(path)["a"].x == 0.25
    path.unlink()
    with pytest.raises(ConfigError, match=r"mpp\.csv: cannot be read as a table: No such file .*; check the file"):
        read_mpp_file(path)


def test_a_wrong_mpp_file_is_told_before_the_slide_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "mpp.csv"
    path.write_text("slide,mpp\na,half\n")

    with pytest.raises(ConfigError, match="line 2"):
        open_slide(tmp_path / "missing.svs", slides=Slides(mpp_file=path))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("0.25", 0.25),
        (" 2e1 ", 20.0),
        ("-3", -3.0),
        ("", None),
        ("20x", None),
        ("nan", None),
        ("inf", None),
        ("1_000", None),
    ],
)
def test_only_a_finite_number_is_one(text: str, number: float | None) -> None:
    assert finite_number(text) == number
    assert finite_number(None) is None


@pytest.mark.parametrize("text", ["0.0", "-1", "nan", "2500", "unknown", "0,0", ""])
def test_a_recorded_resolution_that_cannot_be_is_shown_as_it_was_found(text: str) -> None:
    odd = odd_mpp({"aperio.MPP": text})

    with pytest.raises(MissingResolution, match=rf"it says aperio\.MPP = {text or 'nothing'}, which no scanner has"):
        find_resolution(attrs.evolve(BARE, odd_mpp=odd))


@pytest.mark.parametrize("text", ["0.25", "0,25", " 0.25 ", None])
def test_a_resolution_that_can_be_is_not_odd(text: str | None) -> None:
    assert odd_mpp({"aperio.MPP": text}) == ""
