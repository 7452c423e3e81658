"""One report on several output folders: each slide once, the same settings, one table, manifest and list of errors."""

from __future__ import annotations

import csv
import json
import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pymupdf
import pytest
from attrs import evolve
from slideloom import ConfigError, OutputError, SlideReport, pipeline_from_table, run_pipeline
from slideloom_report import merged_report
from slideloom_report.plugin import slideloom_commands

LABEL = "64px_64um"


@pytest.fixture(scope="module")
def folders(made: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Output folders "a" with slides one and two, "b" with two and three, and "other" with one at another threshold."""
    home = tmp_path_factory.mktemp("sources")
    for name in ("one", "two", "three"):
        shutil.copy(made.slide, home / f"{name}.svs")
    base = {
        "slideloom": 1,
        "tiles": {"size_px": 64, "size_um": 64},
        "qc": [{"use": "otsu"}],
        "run": {"threads": 1, "jobs": 1},
    }
    pipeline = pipeline_from_table(base, where="test")
    gone = home / "gone.svs"
    run_pipeline(pipeline, [home / "one.svs", home / "two.svs", gone], home / "a")
    run_pipeline(pipeline, [home / "two.svs", home / "three.svs"], home / "b")
    other = pipeline_from_table({**base, "tiles": {**base["tiles"], "stride_div": 2}}, where="test")  # type: ignore[dict-item]
    run_pipeline(other, [home / "one.svs"], home / "other")
    return home


def words_of(pdf: Path) -> str:
    return " ".join("".join(page.get_text() for page in pymupdf.open(pdf)).split())


def test_a_slide_in_two_folders_is_counted_once_and_that_is_said(folders: Path, tmp_path: Path) -> None:
    pdf, page, *_ = merged_report([folders / "a", folders / "b"], tmp_path / "all", samples=0)

    with (tmp_path / "all" / "extraction_report.csv").open(newline="") as file:
        rows = {row["slide"]: int(row["num_tiles"]) for row in csv.DictReader(file)}
    assert set(rows) == {"one", "two", "three"}
    each = SlideReport.load(folders / "a" / "slideloom" / LABEL / "slides" / "two.json").written
    assert each > 0
    assert rows == dict.fromkeys(rows, each)  # copies of one slide
    said = "1 slide is in more than one of them and counted once, as in the first that finished it: two."
    assert said in words_of(pdf)
    assert said in page.read_text()
    assert f"{3 * each:,}" in words_of(pdf)


def test_one_manifest_and_one_list_of_errors_tell_of_all(folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "all"
    merged_report([folders / "a", folders / "b"], out, samples=0)

    manifest = json.loads((out / "manifest.json").read_text())
    assert [(out / name).resolve() for name in sorted(manifest)] == [
        folders / "a" / "tfrecords" / LABEL / "one.tfrecords",
        folders / "a" / "tfrecords" / LABEL / "two.tfrecords",
        folders / "b" / "tfrecords" / LABEL / "three.tfrecords",
    ]
    assert all((out / name).is_file() and entry["total"] > 0 for name, entry in manifest.items())
    with (out / "errors.csv").open(newline="") as file:
        assert [row["slide"] for row in csv.DictReader(file)] == ["gone"]


def test_a_slide_that_failed_in_the_first_folder_counts_as_finished_in_the_second(
    folders: Path, tmp_path: Path
) -> None:
    first = tmp_path / "first"
    shutil.copytree(folders / "b", first)
    path = first / "slideloom" / LABEL / "slides" / "two.json"
    failed = evolve(SlideReport.load(path), status="failed", error="two: damaged", outputs=(), sizes={})
    path.write_text(json.dumps(failed.as_table()))

    merged_report([first, folders / "a"], tmp_path / "all", samples=0)

    manifest = json.loads((tmp_path / "all" / "manifest.json").read_text())
    assert folders / "a" / "tfrecords" / LABEL / "two.tfrecords" in {
        (tmp_path / "all" / name).resolve() for name in manifest
    }
    assert "two" not in (tmp_path / "all" / "errors.csv").read_text()


def test_runs_with_different_settings_are_refused_with_what_differs_unless_told(folders: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"(?s)different settings:.*tiles\.stride_div: .* -> 2.*mixed=True"):
        merged_report([folders / "a", folders / "other"], tmp_path / "all")

    pdf, *_ = merged_report([folders / "b", folders / "other"], tmp_path / "all", mixed=True, samples=0)

    assert f"The runs had different settings; those of {folders / 'b'} are shown." in words_of(pdf)


def test_slides_of_one_name_that_are_different_are_refused_unless_told(folders: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(folders / "b", changed)
    path = changed / "slideloom" / LABEL / "slides" / "two.json"
    path.write_text(json.dumps(evolve(SlideReport.load(path), digest="0" * 64).as_table()))

    with pytest.raises(ConfigError, match=r"^two: is another slide, or was made differently, in "):
        merged_report([folders / "a", changed], tmp_path / "all")

    assert merged_report([folders / "a", changed], tmp_path / "all", mixed=True, samples=0)


def test_no_report_is_written_into_an_output_folder(folders: Path) -> None:
    before = sorted((folders / "a").rglob("*"))

    with pytest.raises(OutputError, match=r"a: is the output folder of a run"):
        merged_report([folders / "a", folders / "b"], folders / "a")

    assert sorted((folders / "a").rglob("*")) == before


def test_a_parent_folder_stands_for_the_output_folders_in_it(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parent = tmp_path / "parent"
    shutil.copytree(folders / "a", parent / "a")
    shutil.copytree(folders / "b", parent / "b")
    (report,) = slideloom_commands()
    parser = ArgumentParser()
    report.configure(parser)

    with pytest.raises(ConfigError, match="2 output folders are reported on as one: name a folder for it with --out"):
        report.run(parser.parse_args([str(parent)]))
    assert report.run(parser.parse_args([str(parent), "--out", str(tmp_path / "all"), "--samples", "0"])) == 0

    assert capsys.readouterr().out.splitlines()[0].endswith(".pdf")
    assert len(json.loads((tmp_path / "all" / "manifest.json").read_text())) == 3
