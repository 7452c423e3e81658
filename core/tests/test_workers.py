"""Worker processes: one dies or is killed alone, none outlives its parent, and no order of items locks them up."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from slideloom.base.errors import SlideError
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import RunOptions
from slideloom.running.buffering import buffered
from slideloom.running.executors import ProcessExecutor
from slideloom.running.run import run_pipeline
from slideloom.running.worker_process import report_progress, worker_number

pytestmark = pytest.mark.slow
WriteSlide = Callable[..., Path]


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import this module by the name that pytest gave it, which starts at the repository's root."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def act(item: tuple[str, object]) -> object:
    """What a worker does in these tests."""
    word, value = item
    if word == "die":
        os._exit(3)
    if word == "die once":
        marker = Path(str(value))
        if not marker.exists():
            marker.touch()
            os._exit(3)
    if word == "raise":
        raise ValueError(f"bad {value}")
    if word == "unpicklable":
        return threading.Lock()
    if word == "hang":
        report_progress("slide", 3, 10)
        threading.Event().wait()
    if word == "log":
        logging.getLogger("slideloom.test").warning("%s is %s", value, threading.Lock)
    if word == "tell":
        report_progress("slide", 1, 2)
    return os.getpid() if word == "who" else value


def test_each_item_gets_its_own_result_and_a_death_costs_no_other(tmp_path: Path) -> None:
    items = [("say", 0), ("die", 0), ("raise", 2), ("say", 3), ("die once", str(tmp_path / "x")), ("unpicklable", 0)]

    results = dict(ProcessExecutor(2).run(act, items))

    assert results[0] == 0
    assert results[3] == 3
    assert results[4] == str(tmp_path / "x")
    assert isinstance(results[1], SlideError)
    assert "died twice" in str(results[1])
    assert str(results[2]) == "bad 2"
    assert "not sent" in str(results[5])


def test_what_a_worker_logs_the_parent_logs(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        assert dict(ProcessExecutor(1).run(act, [("log", "a lock")])) == {0: "a lock"}

    (record,) = caplog.records
    assert (record.name, record.levelname) == ("slideloom.test", "WARNING")
    assert record.getMessage() == f"a lock is {threading.Lock}"


class Clock:
    """Stands in for the module `time`: no time passes until something has happened, and then more than any limit."""

    def __init__(self, has_happened: Callable[[], bool]) -> None:
        self._has_happened = has_happened

    def monotonic(self) -> float:
        return 1e6 if self._has_happened() else 0.0


def test_an_item_over_its_time_is_given_up_and_the_others_are_done(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[object, ...]] = []
    results: dict[int, object] = {}
    clock = Clock(lambda: len(results) == 5 and bool(told))
    monkeypatch.setattr("slideloom.running.workers.time", clock)
    executor = ProcessExecutor(2, timeout_s=1, on_message=lambda *message: told.append(message))

    for index, result in executor.run(act, [("hang", 0), *[("say", n) for n in range(5)]]):
        results[index] = result  # noqa: PERF403 - the clock looks at what there is so far

    assert "given up after 1 s; it had done 3 of 10 tiles" in str(results.pop(0))
    assert results == {n + 1: n for n in range(5)}


def test_messages_arrive_before_the_result() -> None:
    told: list[tuple[object, ...]] = []
    executor = ProcessExecutor(1, on_message=lambda *message: told.append(message))

    for _ in executor.run(act, [("tell", 0)]):
        assert told == [("slide", 1, 2)]


def test_workers_are_used_again() -> None:
    pids = {result for _, result in ProcessExecutor(1).run(act, [("who", 0)] * 4)}

    assert len(pids) == 1
    assert os.getpid() not in pids


def test_workers_at_work_at_once_have_numbers_of_their_own(tmp_path: Path) -> None:
    results = dict(ProcessExecutor(2).run(number_among_two, [str(tmp_path / "a"), str(tmp_path / "b")]))

    assert sorted(str(number) for number in results.values()) == ["0", "1"]
    assert worker_number() == 0


def test_a_worker_in_the_place_of_a_dead_one_has_its_number() -> None:
    results = dict(ProcessExecutor(1).run(tell_number, ["die", "say"]))

    assert results[1] == 0


def number_among_two(marker: str) -> int:
    """The number of the worker, once both are at work, so that neither takes the item of the other."""
    Path(marker).touch()
    while sum(1 for _ in Path(marker).parent.iterdir()) < 2:
        threading.Event().wait(0.01)
    return worker_number()


def tell_number(word: str) -> int:
    """The number of the worker, unless it dies."""
    if word == "die":
        os._exit(3)
    return worker_number()


def test_an_error_in_making_an_item_ends_the_run() -> None:
    def items() -> Iterator[tuple[str, object]]:
        yield ("say", 1)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        list(ProcessExecutor(1).run(act, items()))


def test_slides_of_more_than_half_the_buffer_do_not_wait_for_each_other(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    slides = [analytic(name) for name in "abcd"]
    room = 1.5 * slides[0].stat().st_size / 1e9
    table = {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "filter": [], "sink": [{"use": "raw"}]}
    run = {"buffer": str(tmp_path / "buffer"), "buffer_gb": room, "jobs": 2}
    report = run_pipeline(pipeline_from_table({**table, "run": run}, where="test"), slides, tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done"] * 4
    assert not list((tmp_path / "buffer").iterdir())


def test_a_slide_over_its_time_is_reported_and_the_rest_is_done(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sleeps = tmp_path / "sleeps"
    monkeypatch.setattr("slideloom.running.workers.time", Clock(sleeps.exists))
    raw(
        "sleeper",
        """
        import threading
        from pathlib import Path
        from typing import ClassVar
        import attrs, numpy as np
        from slideloom import Settings, TileFilter, Verdict, hookimpl, option

        @attrs.frozen
        class Sleep(Settings[TileFilter]):
            "Never comes back on slide b."
            name: ClassVar[str] = "sleep"
            sleeps: str = option(help="a file that is made before")
            def build(self):
                return Sleeper(self.sleeps)

        class Sleeper(TileFilter):
            def __init__(self, sleeps):
                self.sleeps = Path(sleeps)
            def check(self, batch):
                if batch.slide == "b":
                    self.sleeps.touch()
                    threading.Event().wait()
                return Verdict(np.ones(len(batch), bool), np.ones(len(batch), np.float32))

        @hookimpl
        def slideloom_tile_filters():
            return [Sleep]
        """,
    )
    table = {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "sink": [{"use": "raw"}]}
    run = {"timeout_s": 1, "threads": 1, "jobs": 1}
    pipeline = pipeline_from_table(
        {**table, "filter": [{"use": "sleep", "sleeps": str(sleeps)}], "run": run}, where="test"
    )

    report = run_pipeline(pipeline, [analytic(name) for name in "abc"], tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done", "failed", "done"]
    assert "given up after 1 s" in report.slides[1].error
    assert "b," in (tmp_path / "out/errors.csv").read_text()


def test_folders_of_killed_runs_leave_the_buffer_and_those_of_living_ones_stay(tmp_path: Path) -> None:
    buffer = tmp_path / "buffer"
    (buffer / "slideloom-dead").mkdir(parents=True)
    (buffer / "slideloom-dead/lock").touch()
    (buffer / "slideloom-dead/0").touch()
    (buffer / "slideloom-notes").mkdir()  # a folder of the user's, without a lock
    run = RunOptions(buffer=buffer)

    with buffered([], run):
        (living,) = (path for path in buffer.iterdir() if path.name not in ("slideloom-notes",))
        with buffered([], run):
            assert living.is_dir()

    assert [path.name for path in buffer.iterdir()] == ["slideloom-notes"]


@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_workers_end_with_their_parent_however_it_ends(
    tmp_path: Path, start_process: Callable[..., subprocess.Popen[bytes]]
) -> None:
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, sys, threading
            from pathlib import Path
            from slideloom.running.executors import ProcessExecutor

            def stay(path):
                Path(path).write_text(str(os.getpid()))
                threading.Event().wait()

            if __name__ == "__main__":
                list(ProcessExecutor(2).run(stay, sys.argv[1:]))
            """
        )
    )
    marks = [tmp_path / "1", tmp_path / "2"]
    parent = start_process([sys.executable, script, *marks])
    wait_until(lambda: all(mark.exists() and mark.read_text() for mark in marks), by=parent)

    parent.send_signal(signal.SIGKILL)
    parent.wait()

    wait_until(lambda: not any(is_alive(int(mark.read_text())) for mark in marks))


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_until(happened: Callable[[], bool], *, by: subprocess.Popen[bytes] | None = None) -> None:
    """Wait as long as it takes, but not for a process that has ended."""
    while not happened():
        # What it did last may have come between the two questions.
        assert by is None or by.poll() is None or happened(), "the process ended before it happened"
        threading.Event().wait(0.05)
