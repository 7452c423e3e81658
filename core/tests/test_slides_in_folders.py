"""Slides whose names have folders: from finding them to what a run makes of them."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st
from slideloom import NamedSlide, SlideReport, named_slides, path_of_name
from slideloom.base.addresses import Address
from slideloom.base.errors import ConfigError, OutputError, SlideError
from slideloom.base.storing import names_in
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.planning.opening import open_slide
from slideloom.running.run import run_pipeline
from slideloom.running.same_slides import FileStates, copies_among, same_slides
from slideloom.running.shards import Shard
from slideloom.slides.names import clashing, name_below, with_shared_names

WriteSlide = Callable[..., Path]


def pipeline(**tables: object) -> Pipeline:
    table = {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "filter": [], "sink": [{"use": "raw"}], **tables}
    return pipeline_from_table(table, where="test")


def touched(home: Path, *names: str) -> None:
    for name in names:
        path = home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def names_found(*include: Path, recursive: bool = True) -> list[str]:
    return [slide.name for slide in named_slides([str(path) for path in include], recursive=recursive)]


@pytest.fixture
def labs(raw: object, analytic: WriteSlide, tmp_path: Path) -> list[NamedSlide]:
    """Slides of one name and different pixels in two folders."""
    found = []
    for lab, width in (("lab1", 2200), ("lab2", 1400)):
        path = tmp_path / lab / "a.json"
        path.parent.mkdir()
        analytic(width=width).rename(path)
        found.append(NamedSlide(path, f"{lab}/a", shares_name=True))
    return found


def test_a_slide_below_a_folder_is_named_by_the_folders_between(tmp_path: Path) -> None:
    touched(tmp_path, "c.svs", "lab1/a.svs", "lab1/case7/a.ome.tif", "lab2/a.svs")

    assert names_found(tmp_path) == ["c", "lab1/a", "lab1/case7/a", "lab2/a"]
    assert names_found(tmp_path / "lab1", tmp_path / "lab2") == ["a", "case7/a", "a"]
    assert names_found(tmp_path / "lab1", tmp_path) == ["a", "case7/a", "c", "lab2/a"]


def test_without_recursive_a_slide_is_named_by_its_file(tmp_path: Path) -> None:
    touched(tmp_path, "lab1/a.svs", "lab2/a.svs")

    assert names_found(tmp_path / "lab1", tmp_path / "lab2", recursive=False) == ["a", "a"]
    assert names_found(tmp_path / "**" / "*.svs") == ["a", "a"]


def test_slides_know_whether_another_has_their_name_even_if_it_is_left_out(tmp_path: Path) -> None:
    touched(tmp_path, "lab1/a.svs", "lab2/A.svs", "lab2/b.svs")

    found = named_slides([str(tmp_path)], ["lab2/A.svs"], recursive=True)

    assert [(slide.name, slide.shares_name) for slide in found] == [("lab1/a", True), ("lab2/b", False)]
    assert found[0].names == ("lab1/a", "lab1/a.svs")
    assert found[1].names == ("lab2/b", "lab2/b.svs", "b", "b.svs")


def test_a_link_to_a_slide_that_is_found_is_not_a_second_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    touched(tmp_path, "lab2/a.svs")
    (tmp_path / "lab1").mkdir()
    (tmp_path / "lab1" / "b.svs").symlink_to(tmp_path / "lab2" / "a.svs")

    assert names_found(tmp_path) == ["lab2/a"]
    assert f"{tmp_path / 'lab1' / 'b.svs'}: is the same file as {tmp_path / 'lab2' / 'a.svs'}" in caplog.text
    (alone,) = named_slides([str(tmp_path)], ["lab2/*"], recursive=True)
    assert alone.name == "lab1/b"
    monkeypatch.chdir(tmp_path)
    assert names_found(Path()) == ["lab2/a"]


@pytest.mark.parametrize("entries", [["lab"], ["lab/*.svs"], ["lab/a.svs", "lab/b.svs"], ["lab", "same"]])
def test_a_link_beside_its_slide_is_not_a_second_one(
    entries: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touched(tmp_path, "lab/b.svs")
    (tmp_path / "lab" / "a.svs").symlink_to("b.svs")
    (tmp_path / "same").symlink_to("lab")

    found = named_slides(entries, base=tmp_path)

    assert [slide.place for slide in found] == [tmp_path / "lab" / "b.svs"]
    assert f"is the same file as {tmp_path / 'lab' / 'b.svs'}, so it is left out" in caplog.text


@pytest.mark.parametrize("entries", [["lab"], ["lab/*.svs"], ["lab/b.svs", "lab/a.svs"], ["lab", "link"]])
def test_a_second_name_of_a_slide_on_its_disk_is_not_a_second_slide(
    entries: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touched(tmp_path, "lab/a.svs", "lab/c.svs")
    (tmp_path / "lab" / "b.svs").hardlink_to(tmp_path / "lab" / "a.svs")
    (tmp_path / "link").symlink_to("lab")

    found = [slide.place.name for slide in named_slides(entries, base=tmp_path)]

    kept, left_out = ("b", "a") if entries == ["lab/b.svs", "lab/a.svs"] else ("a", "b")
    assert [name for name in found if name != "c.svs"] == [f"{kept}.svs"]
    assert f"{left_out}.svs: is the same file as {tmp_path / 'lab' / kept}.svs, so it is left out" in caplog.text


def test_copies_of_a_slide_are_told_whatever_they_are_called(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touched(tmp_path, "lab1/a.svs", "lab2/a.svs", "lab3/other.svs", "lab3/empty.svs", "lab3/vacant.svs")
    for slide, content in (("lab1/a", b"12"), ("lab2/a", b"34"), ("lab3/other", b"12")):
        (tmp_path / f"{slide}.svs").write_bytes(content)

    found = names_found(tmp_path)

    assert found == ["lab1/a", "lab2/a", "lab3/empty", "lab3/other", "lab3/vacant"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("a slide seems to be a copy of another, and is taken all the same: "
                           f"{tmp_path / 'lab3' / 'other.svs'} of {tmp_path / 'lab1' / 'a.svs'}; ")  # fmt: skip


def test_slides_of_one_size_that_differ_in_their_middle_are_no_copies(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    touched(tmp_path, "a.svs", "b.svs")
    content = bytes(4_000_000)
    (tmp_path / "a.svs").write_bytes(content)
    (tmp_path / "b.svs").write_bytes(content[:2_000_000] + b"tissue" + content[2_000_006:])

    assert names_found(tmp_path) == ["a", "b"]
    assert caplog.text == ""


def test_a_link_that_leads_back_to_itself_stops_no_other_slide(tmp_path: Path) -> None:
    touched(tmp_path, "a.svs")
    (tmp_path / "loop.svs").symlink_to("loop.svs")

    assert names_found(tmp_path) == ["a", "loop"]


def test_a_link_that_leads_nowhere_is_told_as_one(tmp_path: Path) -> None:
    (link := tmp_path / "a.svs").symlink_to("gone.svs")

    with pytest.raises(SlideError, match=r"a\.svs: is a link to gone\.svs, which is not there; check the path$"):
        open_slide(link)


def test_pipes_of_one_name_are_not_waited_for_when_copies_are_looked_for(tmp_path: Path) -> None:
    for name in ("a.svs", "a.tif"):
        os.mkfifo(tmp_path / name)

    assert names_found(tmp_path) == ["a", "a"]


@pytest.mark.parametrize("is_base", [True, False])
def test_a_folder_that_is_called_as_a_pattern_is_meant_as_it_is_written(tmp_path: Path, is_base: bool) -> None:
    touched(tmp_path, "run[1]/a.svs", "run[1]/held-out.svs", "run1/b.svs")
    entry, base = ("*.svs", tmp_path / "run[1]") if is_base else ("run[1]/*.svs", tmp_path)

    assert [slide.name for slide in named_slides([entry], base=base)] == ["a", "held-out"]
    assert [slide.name for slide in named_slides([entry], [entry.replace("*", "held*")], base=base)] == ["a"]
    assert [slide.name for slide in named_slides(["run[1]*/*.svs"], base=tmp_path)] == ["b"]


@pytest.mark.parametrize("whole", [True, False])
def test_a_slide_is_excluded_by_its_name_or_path_even_if_it_is_called_as_a_pattern(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: bool
) -> None:
    touched(tmp_path, "lab/a[1].svs", "lab/a1.svs", "lab/b.svs")
    monkeypatch.chdir(tmp_path)
    entry = tmp_path / "lab" if whole else Path("lab")

    for excluded in ("a[1].svs", "lab/a[1].svs", "./lab/../lab/a[1].svs", str(tmp_path / "lab" / "a[1].svs")):
        assert [slide.name for slide in named_slides([entry], [excluded])] == ["a1", "b"]
    for pattern in ("a*", "lab/a*", str(tmp_path / "lab" / "a*"), "lab/../lab/a*"):
        assert [slide.name for slide in named_slides([entry], [pattern])] == ["b"]


def test_a_pattern_that_excludes_nothing_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touched(tmp_path, "a.svs", "b.svs")

    assert [slide.name for slide in named_slides([tmp_path], ["a.svs", "*.ndpi"])] == ["b"]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said == "exclude: '*.ndpi' matches no slide, so it leaves none out; check how it is written"


def test_many_copies_are_told_in_one_line(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touched(tmp_path, *(f"lab/{number}.svs" for number in range(10)))
    for path in (tmp_path / "lab").iterdir():
        path.write_bytes(b"the same")

    assert len(names_found(tmp_path)) == 10
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("9 slides seem to be copies of others, and are taken all the same: ")
    assert f"{tmp_path / 'lab' / '6.svs'} of {tmp_path / 'lab' / '0.svs'} and 3 more; " in said


def test_a_slide_at_an_address_is_named_by_the_folders_below_the_one_given() -> None:
    folder = Address("s3://bucket/dir/")

    assert name_below(Address("s3://bucket/dir/lab1/a.svs"), folder) == "lab1/a"
    assert name_below(Address("s3://bucket/dir/a.svs"), folder) == "a"
    assert name_below(Address("s3://bucket/elsewhere/lab1/a.svs"), folder) == "a"


@given(st.text(max_size=20) | st.text("./\\a:\0 ", max_size=12))
def test_no_name_leads_out_of_its_folder(name: str) -> None:
    home = Path("home").absolute()
    try:
        path = path_of_name(home, name, ending=".json")
    except OutputError:
        return
    assert path.relative_to(home).as_posix() == f"{name}.json"
    assert ".." not in path.parts
    assert path.resolve().is_relative_to(home.resolve())


@given(
    st.lists(st.from_regex(r"[A-Za-z0-9_. é-]{1,6}", fullmatch=True).filter(lambda part: part.strip(".")), min_size=1)
)
def test_a_name_of_ordinary_parts_is_the_path_below_a_folder(parts: list[str]) -> None:
    folder = Path("slides")
    name = name_below(folder.joinpath(*parts).with_name(f"{parts[-1]}.svs"), folder)

    assert name == "/".join(parts)


@given(st.lists(st.from_regex(r"[ab](/[abA.]{1,3}){0,2}", fullmatch=True), unique=True, max_size=8))
def test_no_two_accepted_slides_share_a_file_on_any_disk(names: list[str]) -> None:
    slides = [NamedSlide(Path(f"{number}.svs"), name) for number, name in enumerate(names)]
    refused = clashing(slides, folders=True)
    kept = [slide.name for slide in slides if slide not in refused and "/" in slide.name]

    alike = ["/".join(part.lower().rstrip(".") for part in name.split("/")) for name in kept]
    assert len(set(alike)) == len(kept)
    assert not any(folder.startswith(f"{name}/") for folder in kept for name in names)
    assert len(clashing(with_shared_names(slides, slides), folders=False)) <= len(refused)


def test_files_of_names_are_found_by_their_names(tmp_path: Path) -> None:
    names = ["a", "lab1/a", "lab1/a/b", "lab1.json/c"]
    for name in names:
        path = path_of_name(tmp_path, name, ending=".json")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert sorted(names_in(tmp_path, ".json")) == sorted(names)
    assert all(
        path_of_name(tmp_path, name, ending=".json") == path for name, path in names_in(tmp_path, ".json").items()
    )


def test_slides_of_one_name_in_two_folders_are_two_slides(labs: list[NamedSlide], tmp_path: Path) -> None:
    out = tmp_path / "out"
    chosen = pipeline(run={"overview": True})

    report = run_pipeline(chosen, labs, out)

    assert [(slide.slide, slide.status) for slide in report.slides] == [("lab1/a", "done"), ("lab2/a", "done")]
    assert report.slides[0].written != report.slides[1].written
    state = out / "slideloom" / "60px_75um"
    for slide in report.slides:
        assert slide.outputs == (f"raw/{slide.slide}.raw",)
        assert SlideReport.load(state / "slides" / f"{slide.slide}.json").slide == slide.slide
        assert (state / "overviews" / f"{slide.slide}.png").is_file()
        assert slide.tile_table == f"slideloom/60px_75um/tiles/{slide.slide}.csv"
    again = run_pipeline(chosen, labs, out)
    assert [slide.status for slide in again.slides] == ["skipped", "skipped"]
    assert [path.name for path in out.rglob("*.partial")] == []


def test_output_of_slides_in_folders_is_that_of_the_slides_alone(labs: list[NamedSlide], tmp_path: Path) -> None:
    run_pipeline(pipeline(run={"jobs": 2}), labs, tmp_path / "out")
    for slide in labs:
        run_pipeline(pipeline(), [slide.place], tmp_path / slide.name)
        alone = (tmp_path / slide.name / "raw" / "a.raw").read_bytes()
        assert (tmp_path / "out" / "raw" / f"{slide.name}.raw").read_bytes() == alone


def test_a_slide_is_not_stored_again_under_another_name(labs: list[NamedSlide], tmp_path: Path) -> None:
    run_pipeline(pipeline(), labs, tmp_path / "out")
    run_pipeline(pipeline(), [labs[0].place], tmp_path / "flat")

    (second,) = run_pipeline(pipeline(), [labs[0].place], tmp_path / "out").slides
    (nested,) = run_pipeline(pipeline(), labs[:1], tmp_path / "flat").slides

    assert second.status == nested.status == "failed"
    assert "already, under the name lab1/a, and would be there twice" in second.error
    assert "already, under the name a, and would be there twice" in nested.error
    assert not (tmp_path / "flat" / "slideloom" / "60px_75um" / "slides" / "lab1").exists()
    assert run_pipeline(pipeline(), [labs[0].place], tmp_path / "flat").slides[0].status == "skipped"


def test_slides_in_folders_are_divided_among_shards_by_their_names(labs: list[NamedSlide], tmp_path: Path) -> None:
    for number in (1, 2):
        assert len(run_pipeline(pipeline(run={"shard": f"{number}/2"}), labs, tmp_path / "out").slides) == 1

    told = json.loads((tmp_path / "out" / "extraction_report.json").read_text())
    assert [slide["slide"] for slide in told["slides"]] == ["lab1/a", "lab2/a"]
    assert Shard(1, 2).is_last(OutputFolder(tmp_path / "out", "60px_75um"), ["lab1/a", "lab2/a"])


def test_an_mpp_file_names_slides_with_their_folders(labs: list[NamedSlide], tmp_path: Path) -> None:
    listed = tmp_path / "mpp.csv"
    listed.write_text("slide,mpp\nlab1/a,0.5\nlab2/a.json,0.25\n")
    chosen = pipeline(slides={"mpp_file": str(listed)})

    report = run_pipeline(chosen, labs, tmp_path / "out")

    assert [slide.mpp for slide in report.slides] == [(0.5, 0.5), (0.25, 0.25)]


def test_an_mpp_file_with_a_name_that_several_slides_have_is_refused(labs: list[NamedSlide], tmp_path: Path) -> None:
    listed = tmp_path / "mpp.csv"
    listed.write_text("slide,mpp\nlab1/a,0.5\na,0.25\n")

    with pytest.raises(ConfigError, match=r"a may be any of lab1/a, lab2/a; write the slide with its folders"):
        run_pipeline(pipeline(slides={"mpp_file": str(listed)}), labs, tmp_path / "out")


def test_names_that_some_disks_take_for_one_are_refused_once(labs: list[NamedSlide], tmp_path: Path) -> None:
    alike = [labs[0], NamedSlide(labs[1].place, "LAB1/A")]

    report = run_pipeline(pipeline(), alike, tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done", "failed"]
    assert "on some disks, its name LAB1/A is the same as lab1/a" in report.slides[1].error


def test_names_without_folders_that_some_disks_take_for_one_are_told(
    labs: list[NamedSlide], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    alike = [NamedSlide(labs[0].place, "a"), NamedSlide(labs[1].place, "A")]

    report = run_pipeline(pipeline(), alike, tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done", "done"]
    assert f"{labs[1].place}: on some disks, its name A is the same as a, that of {labs[0].place}" in caplog.text


@pytest.mark.parametrize("name", ["../a", "lab1/../../a", "lab1//a", "/a", "lab1\\../a"])
def test_a_name_that_leads_elsewhere_fails_its_slide_alone(labs: list[NamedSlide], tmp_path: Path, name: str) -> None:
    report = run_pipeline(pipeline(), [NamedSlide(labs[0].place, name), labs[1]], tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["failed", "done"]
    assert "cannot be used as a file name" in report.slides[0].error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lab1", "lab2", "out", "site", "slides"]


def test_slides_are_compared_with_one_question_to_the_disk_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Links, and what they lead to, are asked for more often."""
    for number in range(6):
        (tmp_path / f"{number}.svs").write_bytes(b"%d" % number * (number + 1))
    (tmp_path / "link.svs").symlink_to(tmp_path / "0.svs")
    slides = [NamedSlide.of(path) for path in sorted(tmp_path.iterdir())]
    asked: Counter[str] = Counter()
    real = os.stat

    def counting(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
        asked[Path(path).name] += 1
        return real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(os, "stat", counting)
    states = FileStates()
    same = same_slides(slides, states)
    copies = copies_among([slide for slide, other in same.items() if slide is other], states)

    assert {slide.name: other.name for slide, other in same.items() if slide is not other} == {"link": "0"}
    assert copies == {}
    assert {asked[f"{number}.svs"] for number in range(1, 6)} == {1}
