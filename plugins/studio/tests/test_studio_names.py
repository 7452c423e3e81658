"""Slides of one name in several folders: told apart by their folders, as `slideloom extract` does."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles

SQUARE = ((200, 200), (900, 200), (900, 900), (200, 900))
SIZE = ("--tile-px", "100", "--tile-um", "100", "--filter", "none")
NAMES = ["lab1/demo", "lab2/demo"]


@pytest.fixture
def labs(demo_slide: DemoFiles, tmp_path: Path) -> Path:
    """A folder with two slides of one name in folders."""
    for name in ("lab1", "lab2"):
        (tmp_path / "labs" / name).mkdir(parents=True)
        shutil.copy(demo_slide.path, tmp_path / "labs" / name / "demo.svs")
    return tmp_path / "labs"


@pytest.fixture
def page(open_studio: Any, labs: Path, tmp_path: Path) -> Any:
    words = ["--recursive", "--roi", tmp_path / "rois", "--out", tmp_path / "out"]
    return open_studio(labs, *words, *SIZE)


def test_each_has_regions_of_its_own(page: Any, draw: Any, tmp_path: Path) -> None:
    assert [row["name"] for row in page.get("api/slides").json()] == NAMES

    assert page.save([draw(*SQUARE, label="Tumour")], slide="s2").status == 200

    assert [row["regions"] for row in page.get("api/slides").json()] == [0, 1]
    assert page.regions("s1")["geojson"]["features"] == []
    assert [path.relative_to(tmp_path / "rois").as_posix() for path in (tmp_path / "rois").rglob("*.*")] == [
        "lab2/demo.geojson"
    ]
    # Of 20 x 15 tiles of 100 pixels, 7 x 7 have their centre within 700 x 700 pixels.
    for slide, expected in (("s1", 300), ("s2", 49)):
        page.post(f"api/slides/{slide}/decisions")
        page.studio.deciding.wait(page.studio.shelf.entry(slide))
        assert page.get(f"api/slides/{slide}/decisions").json()["kept"] == expected


def test_a_run_its_results_and_remarks_tell_them_apart(page: Any, open_studio: Any, draw: Any, tmp_path: Path) -> None:
    page.save([draw(*SQUARE)], slide="s2")
    page.post("api/run", {"slides": "all"})
    page.studio.extraction.wait()
    assert page.get("api/run").json()["state"] == "done"

    results = open_studio(tmp_path / "out")
    rows = {row["name"]: row for row in results.get("api/slides").json()}
    results.put(f"api/slides/{rows['lab2/demo']['id']}/review", {"status": "excluded", "note": "the second"})

    assert {name: row["kept"] for name, row in rows.items()} == {"lab1/demo": 300, "lab2/demo": 49}
    for name, row in rows.items():
        table = results.get(f"api/slides/{row['id']}/decisions").json()
        assert (table["kept"], results.get(f"api/slides/{row['id']}").json()["name"]) == (row["kept"], name)
    with (tmp_path / "out/review.csv").open(newline="", encoding="utf-8") as file:
        assert [(line["slide"], line["note"]) for line in csv.DictReader(file)] == [("lab2/demo", "the second")]
    statuses = {row["name"]: row["status"] for row in results.get("api/slides").json()}
    assert statuses == {"lab1/demo": "untouched", "lab2/demo": "excluded"}


def test_the_copied_pipeline_finds_them_again(page: Any, draw: Any, tmp_path: Path) -> None:
    page.save([draw(*SQUARE)], slide="s1")
    text = page.get("api/pipeline/text?as=toml").json()["text"]
    (tmp_path / "pipeline.toml").write_text(text, encoding="utf-8")

    assert main(["run", str(tmp_path / "pipeline.toml")]) == 0

    found = {path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("demo.json")}
    reports = {name: json.loads((tmp_path / "out" / name).read_text(encoding="utf-8")) for name in found}
    written = {report["slide"]: report["written"] for report in reports.values() if "written" in report}
    assert written == {"lab1/demo": 49, "lab2/demo": 300}
