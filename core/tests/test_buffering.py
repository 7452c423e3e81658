"""The buffer: slides are copied ahead within its room, and whoever asks for one gets it, whatever became of others."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from slideloom.base.errors import SlideError
from slideloom.extraction.job import SlideTask
from slideloom.pipeline.pipeline import Pipeline, RunOptions
from slideloom.pipeline.tiling import Tiling
from slideloom.running.buffering import buffered
from slideloom.running.executors import ProcessExecutor

BYTES = 100


@pytest.fixture(autouse=True)
def _findable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers import this module by the name that pytest gave it, which starts at the repository's root."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2]))


def tasks_of(home: Path, count: int, run: RunOptions) -> list[SlideTask]:
    pipeline = Pipeline(tiles=Tiling(size_px=10, size_um=10), run=run)
    slides = [home / f"{number}.svs" for number in range(count)]
    for slide in slides:
        slide.write_bytes(bytes(BYTES))
    return [SlideTask(pipeline=pipeline, path=slide, out=home) for slide in slides]


def room_for(slides: float, home: Path) -> RunOptions:
    return RunOptions(buffer=home / "buffer", buffer_gb=slides * BYTES / 1e9)


def dies_on_the_first_four(task: SlideTask) -> str:
    if int(task.path.stem) < 4:
        os._exit(3)
    return task.path.name


def is_copied(task: SlideTask) -> bool:
    return task.read_path is not None


@pytest.mark.parametrize("jobs", [None, 1])
def test_as_many_slides_are_handed_out_as_workers_ask_for(tmp_path: Path, jobs: int | None) -> None:
    run = RunOptions(buffer=tmp_path / "buffer", jobs=jobs)

    with buffered(tasks_of(tmp_path, 40, run), run) as (items, _):
        taken = [next(items) for _ in range(40)]  # a cluster of 40 threads lets none go before it has them all

    assert [task.path.stem for task in taken] == [str(number) for number in range(40)]
    assert all(map(is_copied, taken))


def test_a_slide_that_has_no_room_is_read_from_where_it_is_and_that_is_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = room_for(2.5, tmp_path)

    with buffered(tasks_of(tmp_path, 6, run), run) as (items, release):
        taken = [next(items) for _ in range(4)]
        assert list(map(is_copied, taken)) == [True, True, False, False]
        assert caplog.text.count("fill the buffer; raise buffer_gb") == 1

        release(1)
        assert is_copied(next(items))
        assert not is_copied(next(items))


def test_a_slide_larger_than_the_buffer_keeps_no_other_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = room_for(1.5, tmp_path)
    tasks = tasks_of(tmp_path, 3, run)
    tasks[1].path.write_bytes(bytes(2 * BYTES))

    with buffered(tasks, run) as (items, release):
        first, large = next(items), next(items)
        release(0)
        last = next(items)

    assert [is_copied(task) for task in (first, large, last)] == [True, False, True]
    assert not caplog.text


def test_no_more_than_two_slides_are_copied_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = room_for(100, tmp_path)
    taken: list[SlideTask] = []
    ahead: list[int] = []
    copy = shutil.copyfile

    def counted(source: Path, target: Path) -> None:
        ahead.append(int(Path(source).stem) - len(taken))
        copy(source, target)

    monkeypatch.setattr(shutil, "copyfile", counted)
    with buffered(tasks_of(tmp_path, 30, run), run) as (items, _):
        for task in items:
            taken.append(task)  # noqa: PERF402 - its length is looked at meanwhile

    assert len(ahead) == 30
    assert max(ahead) <= 3  # two wait, and one may be on its way to whoever counts here


def test_slides_whose_workers_died_keep_nobody_waiting(tmp_path: Path) -> None:
    run = RunOptions(buffer=tmp_path / "buffer", jobs=2)

    with buffered(tasks_of(tmp_path, 8, run), run) as (items, release):
        found = {}
        for position, result in ProcessExecutor(2).run(dies_on_the_first_four, items):
            found[position] = result
            release(position)

    assert {number: found.pop(number) for number in range(4, 8)} == {n: f"{n}.svs" for n in range(4, 8)}
    assert all(isinstance(result, SlideError) and "died twice" in str(result) for result in found.values())


def test_what_is_tried_again_is_asked_for(tmp_path: Path) -> None:
    lost: list[tuple[int, object]] = []

    def instead(index: int, item: SlideTask) -> SlideTask:
        lost.append((index, item))
        return other

    run = RunOptions()
    task, other = tasks_of(tmp_path, 5, run)[::4]

    results = dict(ProcessExecutor(1, on_lost=instead).run(dies_on_the_first_four, iter([task])))

    assert lost == [(0, task)]
    assert results == {0: "4.svs"}


def test_the_buffer_is_let_go_where_its_reader_stops_early(tmp_path: Path) -> None:
    run = room_for(100, tmp_path)

    def first(items: Iterator[SlideTask]) -> SlideTask:
        return next(items)

    with buffered(tasks_of(tmp_path, 9, run), run) as (items, _):
        assert is_copied(first(items))

    assert list((tmp_path / "buffer").iterdir()) == []


def test_what_goes_wrong_while_a_slide_is_prepared_reaches_whoever_waits_for_it(tmp_path: Path) -> None:
    run = room_for(40, tmp_path)

    def begin(position: int, task: SlideTask) -> SlideTask:
        if position == 2:
            raise OSError(5, "the claim cannot be read")
        return task

    with buffered(tasks_of(tmp_path, 4, run), run, begin) as (items, _):
        assert [next(items).path.stem, next(items).path.stem] == ["0", "1"]
        with pytest.raises(OSError, match="the claim cannot be read"):
            next(items)
