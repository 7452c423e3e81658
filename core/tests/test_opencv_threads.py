"""OpenCV's threads belong to the user's process; our own work does without and leaves the setting as it was."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Barrier, Thread
from typing import Any

import pytest
from slideloom import Pipeline, opencv_in_one_thread, run_pipeline
from slideloom.pipeline.file import pipeline_from_table

cv2 = pytest.importorskip("cv2", reason="the core itself does without OpenCV")
WriteSlide = Callable[..., Path]

THEIRS = 3  # what the user's process has


@pytest.fixture(autouse=True)
def _process_with_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    cv2.setNumThreads(THEIRS)
    yield
    cv2.setNumThreads(before)


def test_within_there_is_one_thread_and_behind_as_many_as_before() -> None:
    with opencv_in_one_thread():
        assert cv2.getNumThreads() == 1
        with opencv_in_one_thread():
            assert cv2.getNumThreads() == 1
        assert cv2.getNumThreads() == 1
    assert cv2.getNumThreads() == THEIRS


def test_an_error_restores_the_setting_too() -> None:
    with pytest.raises(ZeroDivisionError), opencv_in_one_thread():
        raise ZeroDivisionError
    assert cv2.getNumThreads() == THEIRS


def test_the_last_of_several_threads_restores_the_setting() -> None:
    both_inside, first_is_out = Barrier(2), Barrier(2)
    seen: list[int] = []

    def leave_first() -> None:
        with opencv_in_one_thread():
            both_inside.wait()
        first_is_out.wait()

    thread = Thread(target=leave_first)
    thread.start()
    with opencv_in_one_thread():
        both_inside.wait()
        first_is_out.wait()
        seen.append(cv2.getNumThreads())
    thread.join()

    assert seen == [1]
    assert cv2.getNumThreads() == THEIRS


def test_opencv_may_be_imported_within() -> None:
    code = """
from slideloom import opencv_in_one_thread
with opencv_in_one_thread():
    import cv2
    before = cv2.getNumThreads()
    with opencv_in_one_thread():
        assert cv2.getNumThreads() == 1
assert cv2.getNumThreads() == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


COUNTING = """
from typing import ClassVar
import attrs, cv2, numpy as np
from slideloom import Settings, TileFilter, Verdict, hookimpl, option

@attrs.frozen
class Threads(Settings[TileFilter]):
    "Scores tiles by OpenCV's threads."
    name: ClassVar[str] = "threads"
    step: ClassVar[str] = "counting_plugin:Counts"
    fails: bool = option(False, help="whether it does")

class Counts(TileFilter):
    def __init__(self, settings):
        self.fails = settings.fails
    def check(self, batch):
        assert not self.fails
        return Verdict(np.full(len(batch), cv2.getNumThreads() == 1), np.ones(len(batch), np.float32))

@hookimpl
def slideloom_tile_filters():
    return [Threads]
"""


def run(slide: Path, out: Path, **options: Any) -> Any:
    table = {
        "slideloom": 1,
        "tiles": {"size_px": 60, "size_um": 75},
        "filter": [{"use": "threads", **options}],
        "sink": [{"use": "raw"}],
        "run": {"jobs": 1, "threads": 2},
    }
    pipeline: Pipeline = pipeline_from_table(table, where="test")
    (report,) = run_pipeline(pipeline, [slide], out).slides
    return report


def test_a_run_works_in_one_thread_of_opencv_each_and_restores_the_setting(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path
) -> None:
    raw("counting_plugin", COUNTING)

    report = run(analytic(), tmp_path / "out")
    after = cv2.getNumThreads()
    failed = run(analytic("b"), tmp_path / "other", fails=True)

    assert (report.error, after) == ("", THEIRS)
    assert report.written == report.planned > 0
    assert failed.status == "failed"
    assert cv2.getNumThreads() == THEIRS
