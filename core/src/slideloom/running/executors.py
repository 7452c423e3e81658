"""Executors of the core: slides are processed in this process, or in worker processes that may die independently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from slideloom.base.errors import SlideError
from slideloom.plugins.builtin import InProcess, Processes
from slideloom.running.main_script import end_copy
from slideloom.steps.executor import Executor

if TYPE_CHECKING:
    from slideloom.running.workers import Crew


def in_process(_settings: InProcess) -> InProcessExecutor:
    """The executor of `InProcess`."""
    return InProcessExecutor()


def processes(settings: Processes) -> ProcessExecutor:
    """The executor of `Processes`."""
    return ProcessExecutor(settings.jobs, timeout_s=settings.timeout_s)


class InProcessExecutor(Executor):
    """See `InProcess`."""

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """See `Executor.run`."""
        for index, item in enumerate(items):
            try:
                yield index, function(item)
            except Exception as error:
                yield index, error


class ProcessExecutor(Executor):
    """See `Processes`.

    If a worker dies (killed, out of memory, crash of a native library), its item is tried again at the end, alone. If
    that worker dies as well, the item has failed. Workers end when this process ends, however it ends.

    Args:
        jobs: number of processes.
        timeout_s: kill the worker of an item after this many seconds; the item is not tried again.
        on_message: called with the arguments of each `report_progress` in a worker.
        on_lost: called with the number and the item if a worker dies; returns the item to try again.
    """

    def __init__(
        self,
        jobs: int,
        *,
        timeout_s: float | None = None,
        on_message: Callable[..., None] | None = None,
        on_lost: Callable[[int, Any], Any] | None = None,
    ) -> None:
        self.on_message = on_message
        self.on_lost = on_lost
        self._jobs = jobs
        self._timeout_s = timeout_s

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """See `Executor.run`."""
        from slideloom.running.workers import Lost  # not needed in one process

        end_copy()
        lost: list[tuple[int, Any]] = []
        with self._crew(function, self._jobs) as crew:
            for index, result in crew.run(enumerate(items)):
                if isinstance(result, Lost):
                    lost.append((index, result.item if self.on_lost is None else self.on_lost(index, result.item)))
                else:
                    yield index, result
        for index, item in sorted(lost, key=lambda pair: pair[0]):
            with self._crew(function, 1) as crew:
                for _, result in crew.run(iter([(index, item)])):
                    yield index, _given_up() if isinstance(result, Lost) else result

    def _crew(self, function: Callable[[Any], Any], jobs: int) -> Crew:
        from slideloom.running.workers import Crew

        return Crew(function, jobs, timeout_s=self._timeout_s, on_message=self.on_message)


def _given_up() -> SlideError:
    return SlideError(
        "its worker process died twice (killed, out of memory, or a crash in a native library); "
        "try fewer jobs, or another reader"
    )
