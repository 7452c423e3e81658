"""Several runs of one pipeline in one output folder: each slide is made by one of them, and all tell of all slides."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from slideloom.base.errors import OutputError
from slideloom.extraction.claims import Claim, ClaimLost, last_claim, take_claim
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.running.run import run_pipeline
from slideloom.running.sharing import Sharing
from slideloom.steps.reports import RunReport

pytestmark = pytest.mark.slow
WriteSlide = Callable[..., Path]
LABEL = "60px_75um"


def pipeline(**run: object) -> Pipeline:
    tiles = {"size_px": 60, "size_um": 75, "stride_div": run.pop("stride_div", 1)}
    table = {"slideloom": 1, "tiles": tiles, "filter": [], "sink": [{"use": "raw"}], "run": run}
    return pipeline_from_table(table, where="test")


def statuses(run: RunReport) -> dict[str, str]:
    return {slide.slide: slide.status for slide in run.slides}


def stored(out: Path) -> dict[str, str]:
    return {
        slide["slide"]: slide["status"] for slide in json.loads((out / "extraction_report.json").read_text())["slides"]
    }


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    return OutputFolder(tmp_path / "out", LABEL)


@contextmanager
def stopped_at(slide: str, slides: list[Path], out: Path) -> Iterator[tuple[threading.Event, list[RunReport]]]:
    """A run that stops within a slide until the event is set; its report comes into the list."""
    is_there, go_on, reports = threading.Event(), threading.Event(), list[RunReport]()

    def stop(name: str, _done: int, _total: int) -> None:
        if name == slide:
            is_there.set()
            go_on.wait()

    def work() -> None:
        reports.append(run_pipeline(pipeline(jobs=1, threads=1), slides, out, progress=stop))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        is_there.wait()
        yield go_on, reports
    finally:
        go_on.set()
        thread.join()


def test_a_run_that_begins_later_makes_slides_that_are_left(
    raw: object, analytic: WriteSlide, folder: OutputFolder
) -> None:
    slides = [analytic(name) for name in "abcd"]
    others: list[RunReport] = []

    def begin_another(_report: object) -> None:
        if not others:
            others.append(run_pipeline(pipeline(jobs=1), slides, folder.root))

    first = run_pipeline(pipeline(jobs=1), slides, folder.root, on_slide=begin_another)

    assert statuses(others[0]) == {"a": "skipped", "b": "done", "c": "done", "d": "done"}
    assert statuses(first) == {"a": "done", "b": "skipped", "c": "skipped", "d": "skipped"}
    assert stored(folder.root) == statuses(first)
    assert not folder.claims.exists()
    assert not list(folder.at_work.iterdir())


def test_a_slide_in_the_hands_of_a_run_at_work_is_waited_for(
    raw: object, analytic: WriteSlide, folder: OutputFolder, caplog: pytest.LogCaptureFixture
) -> None:
    slides = [analytic(name) for name in "abc"]
    with stopped_at("a", slides, folder.root) as (go_on, reports):

        def release(report: Any) -> None:
            if report.slide == "c":
                go_on.set()

        second = run_pipeline(pipeline(jobs=1), slides, folder.root, on_slide=release)

    assert statuses(second) == {"a": "skipped", "b": "done", "c": "done"}
    assert statuses(reports[0]) == {"a": "done", "b": "skipped", "c": "skipped"}
    assert [slide.slide for slide in second.slides] == ["a", "b", "c"]
    assert "1 slide is being made by other runs (process " in caplog.text


def test_a_run_taken_for_dead_leaves_alone_what_another_made_of_its_slide(
    raw: object, analytic: WriteSlide, folder: OutputFolder
) -> None:
    slides = [analytic(name) for name in "ab"]
    with stopped_at("a", slides, folder.root) as (_, reports):
        for sign in folder.at_work.iterdir():
            sign.unlink()
        second = run_pipeline(pipeline(jobs=1), slides, folder.root)
        made = {path: path.stat().st_mtime_ns for path in (folder.root / "raw").glob("[!.]*")}
        report = folder.report("a").read_bytes()

    assert statuses(second) == {"a": "done", "b": "done"}
    assert statuses(reports[0]) == {"a": "skipped", "b": "skipped"}
    assert {path: path.stat().st_mtime_ns for path in (folder.root / "raw").glob("[!.]*")} == made
    assert folder.report("a").read_bytes() == report


def test_a_slide_at_which_another_run_failed_is_tried_again_by_later_runs_only(
    raw: object, analytic: WriteSlide, folder: OutputFolder
) -> None:
    slides = [analytic("a"), analytic("b", mpp=None)]
    others: list[RunReport] = []

    def begin_another(_report: object) -> None:
        if not others:
            others.append(run_pipeline(pipeline(jobs=1), slides, folder.root))
            analytic("b")

    first = run_pipeline(pipeline(jobs=1), slides, folder.root, on_slide=begin_another)
    later = run_pipeline(pipeline(jobs=1), slides, folder.root)

    assert statuses(others[0]) == {"a": "skipped", "b": "failed"}
    assert statuses(first) == {"a": "done", "b": "failed"}
    assert first.slides[1].error == others[0].slides[1].error
    assert statuses(later) == {"a": "skipped", "b": "done"}


@pytest.mark.parametrize(
    ("there", "new", "why"),
    [
        ({}, {"stride_div": 2}, "with other settings"),
        ({}, {"redo": True}, "and this one makes finished slides again"),
        ({}, {"redo_updated": True}, "and this one makes finished slides again"),
        ({"redo": True}, {}, "and makes finished slides again"),
    ],
)
def test_runs_that_cannot_share_refuse_to(
    raw: object, analytic: WriteSlide, folder: OutputFolder, there: dict[str, Any], new: dict[str, Any], why: str
) -> None:
    slides = [analytic()]
    with Sharing(folder, pipeline(**there)).at_work():
        with pytest.raises(OutputError, match=rf"another run works in this folder \(process \d+ on .* {why}\); wait"):
            run_pipeline(pipeline(**new), slides, folder.root)
        assert len(list(folder.at_work.iterdir())) == 1

    assert not run_pipeline(pipeline(**new), slides, folder.root).failed


def test_a_shard_does_not_begin_beside_a_run_that_is_none(
    raw: object, analytic: WriteSlide, folder: OutputFolder
) -> None:
    with Sharing(folder, pipeline()).at_work(), pytest.raises(OutputError, match="another run works in this folder"):
        run_pipeline(pipeline(shard="1/2"), [analytic()], folder.root)


def test_claims_of_dead_runs_hold_nothing(raw: object, analytic: WriteSlide, folder: OutputFolder) -> None:
    for number, settled in enumerate((False, True, False), 1):
        folder.claim("a", number).parent.mkdir(parents=True, exist_ok=True)
        folder.claim("a", number).write_text(json.dumps({"run": "gone", "settled": settled}))

    assert statuses(run_pipeline(pipeline(), [analytic()], folder.root)) == {"a": "done"}
    assert not folder.claims.exists()


def test_a_claim_follows_another_only_once(folder: OutputFolder) -> None:
    first, is_first = take_claim(folder, "a", "one", is_free=lambda _: False)
    other, is_other = take_claim(folder, "a", "two", is_free=lambda _: False)
    assert (is_first, is_other) == (True, False)
    assert (other.run, other.number) == ("one", 1)

    # Two runs saw that the first is dead; the second of them meets the claim of the one that was quicker.
    later, is_later = take_claim(folder, "a", "two", is_free=lambda claim: claim.run == "one")
    last, is_last = take_claim(folder, "a", "three", is_free=lambda claim: claim.run == "one")

    assert (is_later, is_last) == (True, False)
    assert last.run == "two"
    assert later.is_held
    assert not first.is_held
    with pytest.raises(ClaimLost, match="another run took this one for dead"):
        first.check()


def test_a_claim_that_is_lost_settles_nothing(folder: OutputFolder) -> None:
    first, _ = take_claim(folder, "a", "one", is_free=lambda _: False)
    take_claim(folder, "a", "two", is_free=lambda _: True)

    first.settle()

    last = last_claim(folder, "a")
    assert last is not None
    assert (last.run, last.number, last.is_settled) == ("two", 2, False)


def test_a_settled_claim_says_so(folder: OutputFolder) -> None:
    assert last_claim(folder, "a") is None
    claim, _ = take_claim(folder, "a", "one", is_free=lambda _: False)

    claim.settle()

    last = last_claim(folder, "a")
    assert last is not None
    assert last.is_settled
    assert claim.is_held


def test_a_claim_without_content_yet_is_that_of_a_run_nobody_knows(folder: OutputFolder) -> None:
    folder.claims.mkdir(parents=True)
    folder.claim("a", 1).touch()

    last = last_claim(folder, "a")

    assert last is not None
    assert (last.run, last.is_settled) == ("", False)


def test_slides_in_folders_have_claims_of_their_own(folder: OutputFolder) -> None:
    claims = [take_claim(folder, name, "one", is_free=lambda _: False) for name in ("a", "a.1", "a/b", "a.1/b")]

    assert all(is_new for _, is_new in claims)
    assert len({claim.path for claim, _ in claims}) == 4
    assert all(isinstance(claim, Claim) and claim.is_held for claim, _ in claims)
