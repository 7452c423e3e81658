"""The watch for a full disk: what it concludes from the sizes of the slides that are done."""

from __future__ import annotations

import shutil
import statistics
from pathlib import Path
from types import SimpleNamespace

import pytest
from slideloom.extraction.output_folder import OutputFolder
from slideloom.running.disk_space import DiskWatch
from slideloom.slides.names import NamedSlide
from slideloom.steps.reports import OutputSize, SlideReport

SIZES = [51_000_003, 7, 20_400_000, 88_123_456, 51_000_003, 40_000_000]
LEFT = 40  # slides that were not begun


@pytest.mark.parametrize(("more_bytes", "is_stopped"), [(-1, True), (1, False)])
def test_a_run_stops_when_the_others_less_two_standard_errors_do_not_fit(
    more_bytes: int, is_stopped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = statistics.stdev(SIZES) * (LEFT**2 / len(SIZES) + LEFT) ** 0.5
    free = LEFT * statistics.mean(SIZES) - 2 * error + more_bytes
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=free))
    watch = DiskWatch(OutputFolder(tmp_path, "64px_64um"), [_slide(n) for n in range(LEFT)], is_on=True)
    for number, size in enumerate(SIZES):
        watch.look(SlideReport(f"done{number}", f"done{number}.svs", "done", sizes={"x": OutputSize(size)}))
    assert bool(watch.problem) is is_stopped


def test_a_run_whose_slides_are_all_begun_is_not_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=-1))
    watch = DiskWatch(OutputFolder(tmp_path, "64px_64um"), [], is_on=True)
    for number, size in enumerate(SIZES):
        watch.look(SlideReport(f"done{number}", f"done{number}.svs", "done", sizes={"x": OutputSize(size)}))
    assert watch.problem == ""


def _slide(number: int) -> NamedSlide:
    return NamedSlide(Path(f"left{number}.svs"), f"left{number}")
