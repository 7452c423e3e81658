"""Results: what a run stored is shown as it stands, and nothing is computed until somebody asks."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slideloom import OutputFolder, SlideReport
from slideloom_cli.main import main
from slideloom_studio.results import is_results
from slideloom_testing.fixtures import DemoFiles

SIZE = ("--tile-px", "64", "--tile-um", "100")


@pytest.fixture
def finished(demo_slide: DemoFiles, tmp_path: Path) -> Path:
    """The output folder of a run of the demo slide and of a file that is no slide."""
    slide, broken, out = tmp_path / "demo.svs", tmp_path / "broken.svs", tmp_path / "finished"
    shutil.copy(demo_slide.path, slide)
    broken.write_bytes(b"no slide")
    words = [*SIZE, "--roi", str(demo_slide.rois), "--qc", "otsu", "--normalizer", "macenko"]
    assert main(["extract", str(slide), str(broken), "--out", str(out), *words]) == 1
    return out


def of_demo(page: Any) -> str:
    return next(row["id"] for row in page.get("api/slides").json() if row["name"] == "demo")


def test_the_ledger_of_a_run_is_what_the_page_gets(open_studio: Any, finished: Path) -> None:
    page = open_studio(finished)
    folder = OutputFolder(finished, "64px_100um")
    report = SlideReport.load(folder.report("demo"))
    with folder.tile_table("demo").open(newline="") as file:
        rows = list(csv.DictReader(file))

    session = page.get("api/session").json()
    demo = of_demo(page)
    table = page.get(f"api/slides/{demo}/decisions").json()

    assert (session["mode"], session["can_run"], session["can_write_regions"]) == ("results", False, False)
    assert {entry["reason"]: entry["count"] for entry in table["counts"]} == {"kept": report.written, **report.rejected}
    assert (table["state"], table["planned"], table["is_current"]) == ("ready", report.planned, True)
    codes = np.frombuffer(page.get(f"api/slides/{demo}/decisions/codes?revision={table['revision']}").body, np.uint8)
    codes = codes.reshape(table["grid"]["rows"], table["grid"]["columns"])
    words = ["written" if entry["reason"] == "kept" else entry["reason"] for entry in table["counts"]]
    assert [words[codes[int(row["grid_y"]), int(row["grid_x"])]] for row in rows] == [row["status"] for row in rows]
    row = next(row for row in rows if row["status"] == "qc:otsu")
    tile = page.get(f"api/slides/{demo}/tiles/{row['grid_x']}/{row['grid_y']}").json()
    assert (tile["reason"], tile["loc_x"], tile["label"]) == ("qc:otsu", int(row["loc_x"]), row["label"] or None)
    assert {score["step"]: f"{score['value']:.4g}" for score in tile["scores"]}["qc:otsu"] == row["qc:otsu"]
    assert page.studio.deciding.decided(page.studio.shelf.entry(demo)) is None  # nothing was computed


def test_a_slide_that_failed_says_why(open_studio: Any, finished: Path) -> None:
    page = open_studio(finished)
    broken = next(row for row in page.get("api/slides").json() if row["name"] == "broken")

    assert "no reader recognises it" in broken["error"]
    assert page.get(f"api/slides/{broken['id']}/decisions").json()["state"] == "none"


def test_the_pipeline_is_that_of_the_run(open_studio: Any, finished: Path) -> None:
    table = open_studio(finished).get("api/pipeline").json()

    assert (table["tiles"]["tile_px"], table["tiles"]["tile_um"]) == (64, 100.0)
    assert [step["use"] for step in table["qc"]] == ["otsu"]
    assert table["normalizer"]["use"] == "macenko"


def test_results_are_shown_without_the_slides_and_pixels_where_they_are(open_studio: Any, finished: Path) -> None:
    page = open_studio(finished)
    demo = of_demo(page)
    table = page.get(f"api/slides/{demo}/decisions").json()
    assert page.get(f"api/slides/{demo}/tiles/3/3/picture").status == 200
    assert page.get(f"api/slides/{demo}/tiles/3/3/picture?form=normalized").status == 404
    (finished.parent / "demo.svs").unlink()

    assert page.get(f"api/slides/{demo}/decisions").json() == table
    assert page.get(f"api/slides/{demo}/decisions/grid").status == 200
    assert page.get(f"api/slides/{demo}/tiles/3/3").status == 200
    assert page.get(f"api/slides/{demo}/tiles/3/3/picture").status == 410


def test_asked_for_the_studio_decides_as_the_run_did(open_studio: Any, finished: Path) -> None:
    page = open_studio(finished)
    demo = of_demo(page)
    stored = page.get(f"api/slides/{demo}/decisions").json()
    assert page.get(f"api/slides/{demo}/masks").json() == []
    page.post(f"api/slides/{demo}/decisions")
    page.studio.deciding.wait(page.studio.shelf.entry(demo))

    live = page.get(f"api/slides/{demo}/decisions").json()

    assert live["revision"] > stored["revision"]
    counts = {entry["reason"]: entry["count"] for entry in stored["counts"] if entry["reason"] != "normalizer"}
    assert {entry["reason"]: entry["count"] for entry in live["counts"]}.items() >= {
        reason: count for reason, count in counts.items() if reason != "kept"
    }.items()
    assert len(page.get(f"api/slides/{demo}/masks").json()) == 1


def test_remarks_lie_in_the_output_folder_and_nothing_else_is_written(
    open_studio: Any, finished: Path, draw: Any
) -> None:
    before = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    page = open_studio(finished)
    demo = of_demo(page)

    assert page.put(f"api/slides/{demo}/review", {"status": "reviewed", "note": "good"}).status == 200
    assert page.post("api/run", {"slides": "all"}).status == 403
    assert page.save([draw((0, 0), (90, 0), (0, 90))], slide=demo).status == 403
    after = {path: path.read_bytes() for path in finished.rglob("*") if path.is_file()}
    assert set(after) - set(before) == {finished / "review.csv"}
    assert {path: after[path] for path in before} == before


def test_a_damaged_table_is_told_by_name(open_studio: Any, finished: Path) -> None:
    table = OutputFolder(finished, "64px_100um").tile_table("demo")
    table.write_text("loc_x,loc_y\n1\n")
    page = open_studio(finished)

    answer = page.get(f"api/slides/{of_demo(page)}/decisions")

    assert answer.status == 500
    assert "demo.csv: is not the tile table of a run" in answer.json()["error"]


def test_other_folders_are_no_results(tmp_path: Path, open_studio: Any, finished: Path) -> None:
    assert not is_results(tmp_path)
    assert is_results(finished)
    with pytest.raises(Exception, match="leave out all options"):
        open_studio(finished, "--qc", "otsu")
