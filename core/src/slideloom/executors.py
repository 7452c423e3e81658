"""Executors of the core: slides in this process, or in a pool of processes that survives a worker's death."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context
from typing import Any, ClassVar

from attrs import frozen

from slideloom.errors import SlideError
from slideloom.settings import Settings, at_least, option
from slideloom.steps import Executor


@frozen
class InProcess(Settings[Executor]):
    """Slides one after the other in this process."""

    name: ClassVar[str] = "in-process"

    def build(self) -> Executor:
        """See `Settings.build`."""
        return InProcessExecutor()


@frozen
class Processes(Settings[Executor]):
    """Slides in parallel in processes of this machine."""

    name: ClassVar[str] = "processes"

    jobs: int = option(2, help="number of processes", validator=at_least(1), affects_output=False)

    def build(self) -> Executor:
        """See `Settings.build`."""
        return ProcessExecutor(self.jobs)


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

    A worker that dies (killed, out of memory, crash of a native library) breaks the whole pool of Python's standard
    library. As only as many items are in flight as there are workers, the lost ones are few: each is tried again alone,
    and one that kills its worker again is given up.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs

    def run(self, function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[tuple[int, Any]]:
        """See `Executor.run`."""
        source = enumerate(items)
        while True:
            lost: dict[int, Any] = {}
            yield from self._run_until_broken(function, source, lost)
            if not lost:
                return
            for index, item in sorted(lost.items(), key=lambda pair: pair[0]):
                yield index, _alone(function, item)

    def _run_until_broken(
        self, function: Callable[[Any], Any], source: Iterator[tuple[int, Any]], lost: dict[int, Any]
    ) -> Iterator[tuple[int, Any]]:
        """Results until the source is empty, or until a worker dies; then `lost` holds the items to try again."""
        running: dict[Future[Any], tuple[int, Any]] = {}
        with _pool(self._jobs) as pool:
            while not lost:
                for index, item in islice(source, self._jobs - len(running)):
                    try:
                        running[pool.submit(function, item)] = (index, item)
                    except BrokenProcessPool:  # a worker died after its last item was done
                        lost[index] = item
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    index, item = running.pop(future)
                    error = future.exception()
                    if isinstance(error, BrokenProcessPool):
                        lost[index] = item
                    else:
                        yield index, error if error is not None else future.result()
            lost.update(running.values())


def _pool(workers: int) -> ProcessPoolExecutor:
    # Spawned, not forked: native libraries with threads of their own do not survive a fork.
    return ProcessPoolExecutor(max_workers=workers, mp_context=get_context("spawn"))


def _alone(function: Callable[[Any], Any], item: Any) -> Any:
    with _pool(1) as pool:
        future = pool.submit(function, item)
        error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return SlideError(
            "its worker process died twice (killed, out of memory, or a crash in a native library); "
            "try fewer jobs, or another reader"
        )
    return error if error is not None else future.result()
