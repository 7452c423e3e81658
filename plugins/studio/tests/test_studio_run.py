"""Runs that the page starts are those of the command, end as those of the command, and leave what is finished."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles

SIZE = ("--tile-px", "64", "--tile-um", "200")


def ended(page: Any) -> Any:
    """The state of the run when it is over."""
    page.studio.extraction.wait()
    return page.get("api/run").json()


def copies(demo: DemoFiles, folder: Path, count: int) -> list[Path]:
    paths = [folder / f"slide-{number}.svs" for number in range(count)]
    for path in paths:
        shutil.copy(demo.path, path)
    return paths


def stored(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.rglob("*.tfrecords"))}


def test_a_run_of_this_slide_writes_what_the_command_writes(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    words = [*SIZE, "--roi", str(demo_slide.rois), "--qc", "otsu", "--normalizer", "macenko"]
    assert main(["extract", str(demo_slide.path), "--out", str(tmp_path / "wanted"), *words]) == 0
    page = open_studio(demo_slide.path, *words)
    assert page.get("api/run").json()["state"] == "none"

    started = page.post("api/run", {"slides": "this", "id": "s1"})
    run = ended(page)

    assert (started.status, started.json()["total"]) == (202, 1)
    assert (run["state"], run["done"], run["total"], run["error"]) == ("done", 1, 1, None)
    assert re.fullmatch(rf"demo: done, {run['kept']} of {run['planned']} tiles", run["lines"][0])
    assert stored(tmp_path / "out") == stored(tmp_path / "wanted") != {}


def test_the_report_is_a_page_that_can_do_nothing(open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path, *SIZE)
    assert page.get("api/run/report").status == 404
    page.post("api/run", {"slides": "all"})

    report = page.get(ended(page)["report"])

    assert report.status == 200
    assert b"Tile extraction report" in report.body
    policy = report.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts; default-src 'none'; script-src 'sha256-")
    assert "allow-same-origin" not in policy


def test_slides_that_are_excluded_are_left_out(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    page = open_studio(*copies(demo_slide, tmp_path, 2), *SIZE)
    page.put("api/slides/s1/review", {"status": "excluded", "note": "out of focus"})

    page.post("api/run", {"slides": "all"})

    assert ended(page)["total"] == 1
    assert list(stored(tmp_path / "out")) == ["slide-1.tfrecords"]
    page.put("api/slides/s2/review", {"status": "excluded", "note": ""})
    assert page.post("api/run", {"slides": "all"}).status == 409


def test_a_cancelled_run_leaves_finished_slides_and_goes_on_later(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    small, large = copies(demo_slide, tmp_path, 2)
    page = open_studio(small, large, "--tile-px", "32", "--tile-um", "32", "--filter", "none")
    page.post("api/run", {"slides": "this", "id": "s1"})
    assert ended(page)["state"] == "done"
    finished = stored(tmp_path / "out")

    page.post("api/run", {"slides": "all"})
    cancelled = page.send("DELETE", "api/run")
    run = ended(page)

    assert cancelled.status == 200
    assert run["state"] == "cancelled"
    assert run["lines"][-1].startswith("cancelled; ")
    assert stored(tmp_path / "out")["slide-0.tfrecords"] == finished["slide-0.tfrecords"]
    assert [path.name for path in (tmp_path / "out").rglob("*partial*")] == []
    page.post("api/run", {"slides": "all"})
    again = ended(page)
    assert (again["state"], again["done"]) == ("done", 2)
    assert "slide-0: skipped" in again["lines"][0]


@pytest.mark.skipif(os.name == "nt", reason="there, nobody is told to ignore Ctrl-C")
def test_a_run_is_cancelled_before_it_has_begun_in_a_studio_that_was_told_to_ignore_ctrl_c(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    page = open_studio(demo_slide.path, *SIZE)
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as the shell does for what it starts in the background
    try:
        page.post("api/run", {"slides": "all"})
        page.send("DELETE", "api/run")
    finally:
        signal.signal(signal.SIGINT, before)

    assert ended(page)["state"] == "cancelled"
    assert stored(tmp_path / "out") == {}


def test_one_run_at_a_time(open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path, *SIZE)
    page.post("api/run", {"slides": "all"})

    assert page.post("api/run", {"slides": "all"}).status == 409
    assert ended(page)["state"] == "done"


def test_a_slide_that_fails_is_told_by_name(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"no slide")
    page = open_studio(demo_slide.path, broken, *SIZE)
    page.post("api/run", {"slides": "all"})

    run = ended(page)

    assert (run["state"], run["done"]) == ("failed", 2)
    assert run["error"].startswith("broken: broken.svs: no reader recognises it")
    assert len(stored(tmp_path / "out")) == 1


def test_tiles_of_other_settings_are_replaced_only_on_request(open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path, *SIZE)
    page.post("api/run", {"slides": "all"})
    ended(page)
    page.put("api/pipeline", {"tiles": {**page.get("api/pipeline").json()["tiles"], "stride_div": 2}})

    page.post("api/run", {"slides": "all"})
    refused = ended(page)
    page.post("api/run", {"slides": "all", "redo": True})

    assert refused["state"] == "failed"
    assert "tiles.stride_div: 1.0 -> 2" in refused["error"]
    assert ended(page)["state"] == "done"


@pytest.mark.parametrize("body", [{}, {"slides": "some"}, {"slides": "this"}, {"slides": "this", "id": "s9"}, [1]])
def test_a_run_of_nothing_is_refused(shared_page: Any, body: Any) -> None:
    assert shared_page.post("api/run", body).status in (404, 422)
    assert shared_page.get("api/run").json()["state"] == "none"


def test_a_studio_opened_to_read_runs_nothing(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    page = open_studio(demo_slide.path, "--read-only")

    assert page.post("api/run", {"slides": "all"}).status == 403
    assert page.put("api/slides/s1/review", {"status": "reviewed", "note": ""}).status == 403
    assert not (tmp_path / "out").exists()


def test_a_studio_that_ends_takes_its_run_with_it(open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path, "--tile-px", "32", "--tile-um", "32", "--filter", "none")
    page.post("api/run", {"slides": "all"})

    page.studio.extraction.close()

    assert page.get("api/run").json()["state"] == "cancelled"
