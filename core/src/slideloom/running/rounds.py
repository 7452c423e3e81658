"""The reports of a run's slides: its executor makes those that are free, in rounds, until none is in other hands."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from slideloom.base.errors import OutputError
from slideloom.extraction.job import SlideTask, process_slide
from slideloom.extraction.output_folder import OutputFolder
from slideloom.extraction.undoing import take_back
from slideloom.pipeline.pipeline import Pipeline
from slideloom.running.buffering import buffered
from slideloom.running.disk_space import DiskWatch
from slideloom.running.executors import ProcessExecutor
from slideloom.running.sharing import Sharing
from slideloom.slides.names import NamedSlide
from slideloom.steps.executor import Executor
from slideloom.steps.reports import SlideReport


def reports_of(
    tasks: Mapping[int, SlideTask], executor: Executor, watch: DiskWatch, sharing: Sharing | None
) -> Iterator[tuple[int, SlideReport]]:
    """The number and report of each task, in order of completion.

    Args:
        tasks: by number, in order of their turn.
        executor: runs them.
        watch: may stop the run.
        sharing: gives the slides that no other run makes; None if all are this run's own.
    """
    waiting = dict(tasks)
    while waiting:
        current = _Round(waiting, sharing)
        yield from current.run(executor, watch)
        waiting = current.left
        if watch.problem:
            break
        if waiting and sharing is not None:
            # Not while a slide of this run is unsettled: two runs would wait for each other.
            sharing.wait(waiting.values())
    for number, task in waiting.items():
        yield number, lost(task.pipeline, task.slide, f"{task.path.name}: not begun, because the disk is too small")


class _Round:
    """One look at each task that is left.

    Attributes:
        left: tasks that have no report afterwards.
    """

    def __init__(self, tasks: Mapping[int, SlideTask], sharing: Sharing | None) -> None:
        self.left = dict(tasks)
        self._sharing = sharing
        self._numbers = list(tasks)
        self._begun: list[tuple[int, SlideTask]] = []  # position and task, in the order in which the executor has them
        self._others: deque[tuple[int, SlideReport]] = deque()  # reports of slides at which other runs failed

    def run(self, executor: Executor, watch: DiskWatch) -> Iterator[tuple[int, SlideReport]]:
        """The number and report of each task that was begun, or that needs not be."""
        if not self.left:
            return
        tasks = list(self.left.values())
        with buffered(tasks, tasks[0].pipeline.run, self._begin) as (items, release):

            def let_go(index: int, _task: SlideTask) -> SlideTask:
                """Free the slide's copy in the buffer while it waits for its second try, and take back its outputs."""
                position, task = self._begun[index]
                release(position)
                _take_back(task)
                return task

            if isinstance(executor, ProcessExecutor):
                executor.on_lost = let_go
            for index, result in executor.run(process_slide, watch.room_for(items)):
                position, task = self._begun[index]
                release(position)
                report = self._report(executor, task, result)
                if report is not None:
                    watch.look(report)
                    yield self._done(position), report
                yield from self._of_others()
        yield from self._of_others()

    def _of_others(self) -> Iterator[tuple[int, SlideReport]]:
        while self._others:  # to which another thread may append
            position, report = self._others.popleft()
            yield self._done(position), report

    def _begin(self, position: int, task: SlideTask) -> SlideTask | None:
        """The task if this run may begin it."""
        found: SlideTask | SlideReport | None = task
        if self._sharing is not None:
            try:
                found = self._sharing.offer(task)
            except OutputError as error:
                found = lost(task.pipeline, task.slide, str(error))
        if isinstance(found, SlideTask):
            self._begun.append((position, found))
            return found
        if found is not None:
            self._others.append((position, found))
        return None

    def _report(self, executor: Executor, task: SlideTask, result: Any) -> SlideReport | None:
        """The report of a task that has ended; None if another run makes the slide by now."""
        if isinstance(result, SlideReport):
            report = result
        elif isinstance(result, Exception):
            if isinstance(executor, ProcessExecutor):  # whose worker is dead by now
                _take_back(task)
            report = lost(task.pipeline, task.slide, f"{task.path.name}: {result}")
        else:  # KeyboardInterrupt and the like stop the run
            raise result
        if report.status == "failed" and not _is_ours(task):
            return None
        if self._sharing is not None:
            self._sharing.settle(task)
        return report

    def _done(self, position: int) -> int:
        number = self._numbers[position]
        del self.left[number]
        return number


def lost(pipeline: Pipeline, slide: NamedSlide, error: str) -> SlideReport:
    """The report of a slide that was not processed, with the reason."""
    return SlideReport(
        slide=slide.name, path=str(slide.place), status="failed", error=error, label=pipeline.tiles.label
    )


def _take_back(task: SlideTask) -> None:
    if _is_ours(task):
        take_back(OutputFolder(task.out, task.pipeline.tiles.label), task.slide.name)


def _is_ours(task: SlideTask) -> bool:
    try:
        return task.is_ours
    except OSError:  # the disk fails, and with it the slide
        return True
