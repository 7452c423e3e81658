"""What a run says while it goes on: lines, time left, the log file, tracebacks."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slideloom.base.amounts import duration
from slideloom.steps.reports import SlideReport
from slideloom_cli.main import main
from slideloom_cli.pace import Pace
from slideloom_cli.watching import RunDisplay

WriteSlide = Callable[..., Path]
TILES = ["--tile-px", "60", "--tile-um", "75", "--filter", "none", "--sink", "raw"]

FAILING = """
from typing import ClassVar
from attrs import frozen
import slideloom

@frozen
class Breaks(slideloom.Settings[slideloom.TileFilter]):
    name: ClassVar[str] = "breaks"
    step: ClassVar[str] = "failing_plugin:Breaking"

class Breaking(slideloom.TileFilter):
    def __init__(self, settings): pass
    def check(self, batch):
        return self.measure(batch)
    def measure(self, batch):
        raise RuntimeError("no such measure")

@slideloom.hookimpl
def slideloom_tile_filters():
    return [Breaks]
"""


@pytest.fixture(autouse=True)
def plugins(raw: Callable[..., None]) -> Callable[..., None]:
    """The analytic reader and the raw sink."""
    return raw


@pytest.fixture(autouse=True)
def _logging_as_before() -> Any:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    root.handlers, root.level = before, level


def report_of(slide: str, **values: Any) -> SlideReport:
    return SlideReport(slide=slide, path=f"{slide}.svs", **{"status": "done", **values})


class Clock:
    """Seconds that only pass when told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def events(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_time_left_goes_by_tiles_and_not_by_slides() -> None:
    clock = Clock()
    pace = Pace(3, clock)
    clock.now += 10
    pace.slide(report_of("small", planned=100, written=80, rejected={"filter:grayspace": 20}))
    pace.tiles("large", 900, 57_000)
    clock.now += 90

    # 1000 tiles in 100 s; 56,100 of the large slide are left, and the third is taken for as large as both on average.
    assert pace.seconds_left() == pytest.approx((56_100 + (100 + 57_000) / 2) * 0.1)


def test_tiles_that_masks_took_cost_no_time() -> None:
    clock = Clock()
    pace = Pace(2, clock)
    clock.now += 10
    pace.slide(report_of("a", planned=1000, written=90, unreadable=10, rejected={"qc:otsu": 850, "roi": 50}))

    assert pace.seconds_left() == pytest.approx(10.0)


def test_slides_that_were_finished_before_say_nothing_of_the_speed() -> None:
    clock = Clock()
    pace = Pace(4, clock)
    for name in ("a", "b"):
        clock.now += 50
        pace.slide(report_of(name, status="skipped", planned=1000, written=1000))
    assert pace.seconds_left() is None
    clock.now += 20
    pace.slide(report_of("c", planned=100, written=100))

    assert pace.seconds_left() == pytest.approx(20.0)


def test_a_slide_that_failed_on_its_way_counts_by_the_tiles_it_had_done() -> None:
    clock = Clock()
    pace = Pace(3, clock)
    pace.tiles("bad", 50, 1000)
    clock.now += 10
    pace.slide(report_of("bad", status="failed", error="bad: no"))
    pace.tiles("good", 50, 100)
    clock.now += 10

    # 100 tiles in 20 s; 50 of this slide, and 100 of the next.
    assert pace.seconds_left() == pytest.approx(150 * 0.2)


def test_nothing_is_promised_before_the_first_tile_or_after_the_last_slide() -> None:
    pace = Pace(1, Clock())
    assert (pace.seconds_left(), pace.words()) == (None, "")
    pace.tiles("a", 0, 10)
    assert pace.words() == ""
    pace.slide(report_of("a", planned=10, written=10))
    assert pace.words() == ""


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.2, "1 s"), (99.4, "99 s"), (99.6, "2 min"), (5940, "99 min"), (12_000, "3 h 20 min"), (190_000, "2 d 4 h")],
)
def test_times_are_said_as_people_say_them(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_without_a_terminal_each_slide_has_a_line_with_its_count_and_reasons(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = [str(analytic("a")), str(analytic("b"))]
    assert main(["extract", *slides, *TILES, "--max-tiles", "5", "--jobs", "1", "--out", str(tmp_path / "o")]) == 0

    lines = capsys.readouterr().err.splitlines()
    stamp = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert re.fullmatch(stamp + "2 slides", lines[0])
    done = r"done     {}: 5 of \d+ tiles \(rejected: \d+ max-tiles\) in \d+\.\d s"
    assert re.fullmatch(stamp + r"\[1/2\] " + done.format("a") + "; about .* left", lines[1])
    assert re.fullmatch(stamp + r"\[2/2\] " + done.format("b"), lines[2])


def test_a_run_whose_slides_take_long_says_where_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    display = RunDisplay(3, heartbeat_s=0.01)
    heard = ""
    with display.shown():
        display.tiles("b", 1203, 57_000)
        display.slide(report_of("a", planned=8, written=8))
        while not re.search(r"\[1/3\] at work .*\n", heard):
            heard += capsys.readouterr().err

    assert re.search(r"\[1/3\] at work  b 1203 of 57000 tiles; about .* left\n", heard)


def test_quiet_says_nothing_before_the_summary(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", str(analytic()), *TILES, "--quiet", "--out", str(tmp_path / "o")]) == 0

    assert capsys.readouterr().err.startswith("slides ")


def test_the_log_tells_the_whole_run_and_goes_on_with_the_next(analytic: WriteSlide, tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    words = ["extract", str(analytic("a")), str(tmp_path / "slides" / "gone.json"), *TILES, "--log", str(log)]
    (tmp_path / "slides" / "gone.json").write_text("{}")
    for _ in range(2):
        assert main([*words, "--out", str(tmp_path / "o")]) == 1

    found = events(log)
    assert [event["event"] for event in found] == ["run_started", "slide", "slide", "run_done"] * 2
    by_slide = {event["slide"]: event for event in found[:4] if event["event"] == "slide"}
    assert (by_slide["a"]["status"], by_slide["gone"]["status"]) == ("done", "failed")
    assert by_slide["a"]["written"] == by_slide["a"]["planned"] > 0
    assert "gone.json" in by_slide["gone"]["error"]
    assert (found[3]["done"], found[3]["failed"]) == (1, 1)
    assert {event["status"] for event in found[4:] if event["event"] == "slide"} == {"skipped", "failed"}


def test_a_log_that_was_cut_goes_on_on_a_line_of_its_own(analytic: WriteSlide, tmp_path: Path) -> None:
    log = tmp_path / "run.jsonl"
    log.write_text('{"event": "run_started"}\n{"event": "sl', encoding="utf-8")

    assert main(["extract", str(analytic()), *TILES, "--log", str(log), "--out", str(tmp_path / "o")]) == 0

    lines = log.read_text(encoding="utf-8").splitlines()
    assert lines[1] == '{"event": "sl'
    assert [json.loads(line)["event"] for line in lines[2:]] == ["run_started", "slide", "run_done"]


@pytest.mark.parametrize("content", ["slide,mpp\na,0.5\n", "[1]\n", "\x00\x01", '"event"\n'])
def test_a_file_that_is_no_log_is_left_as_it_is(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    log = tmp_path / "mpp.csv"
    log.write_text(content, encoding="utf-8")

    assert main(["extract", str(analytic()), *TILES, "--log", str(log), "--out", str(tmp_path / "o")]) == 1

    assert log.read_text(encoding="utf-8") == content
    assert f"--log {log}: is not the log of a run, so nothing was added to it" in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_log_on_a_full_disk_costs_no_slide_and_is_told(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["extract", str(analytic()), *TILES, "--log", "/dev/full", "--out", str(tmp_path / "o"), "--json"]
    assert main(words) == 1

    printed = capsys.readouterr()
    (slide,) = json.loads(printed.out)["slides"]
    assert slide["status"] == "done"
    assert printed.err.count("--log /dev/full: cannot be written") == 1


def test_a_log_in_a_folder_that_is_missing_is_refused_before_the_first_slide(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "no" / "run.jsonl"
    assert main(["extract", str(analytic()), *TILES, "--log", str(log), "--out", str(tmp_path / "o")]) == 1

    assert f"--log {log}: cannot be written: No such file or directory" in capsys.readouterr().err
    assert not list((tmp_path / "o").rglob("*.json"))


@pytest.mark.parametrize("jobs", [[], ["--jobs", "2"]])
def test_where_a_plugin_failed_is_kept_and_shown_on_request(
    plugins: Callable[..., None],
    analytic: WriteSlide,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    jobs: list[str],
) -> None:
    plugins("failing_plugin", FAILING)
    slides = [str(analytic("a")), str(analytic("b"))]
    words = ["extract", *slides, "--tile-px", "60", "--tile-um", "75", "--filter", "breaks", "--sink", "raw"]

    assert main([*words, *jobs, "--out", str(tmp_path / "o")]) == 1
    said = capsys.readouterr().err
    assert "filter 'breaks' of failing_plugin 1.0 failed on slide a: RuntimeError: no such measure" in said
    assert "Traceback" not in said
    (path,) = (tmp_path / "o").glob("slideloom/*/slides/a.json")
    kept = SlideReport.load(path).traceback
    assert "in measure\n" in kept
    assert kept.endswith("RuntimeError: no such measure\n")

    assert main([*words, *jobs, "--debug", "--out", str(tmp_path / "o")]) == 1
    assert kept in capsys.readouterr().err


def test_verbose_adds_words_of_ours_and_debug_those_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    from argparse import Namespace

    from slideloom_cli.logs import configure_logging

    said = {}
    for chosen in ({}, {"verbose": True}, {"debug": True}):
        configure_logging(Namespace(**chosen))
        for name in ("slideloom.x", "slideloom_y", "distributed"):
            logging.getLogger(name).warning("%s warns", name)
            logging.getLogger(name).info("%s informs", name)
        said[next(iter(chosen), "")] = [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()]

    warnings = ["slideloom.x warns", "slideloom_y warns", "distributed warns"]
    assert said[""] == warnings
    assert said["verbose"] == [*warnings[:1], "slideloom.x informs", warnings[1], "slideloom_y informs", warnings[2]]
    assert said["debug"] == [*said["verbose"], "distributed informs"]
