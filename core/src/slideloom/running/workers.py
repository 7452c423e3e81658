"""Worker processes. Each processes one item at a time, may die without harm to the others, and ends with its parent."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, Self

from attrs import define, field, frozen

from slideloom.base.errors import ConfigError, SlideError
from slideloom.base.naming import option_given, option_name
from slideloom.running.main_script import (
    UNGUARDED,
    WORKER,
    needs_script,
    script_for_workers,
    script_name,
    unguarded,
)
from slideloom.running.worker_process import LOGGED, MESSAGE, READY, RESULT, UNREAD, work

_DEAD = "dead"  # stands for the answer of a worker that sends none
_SECONDS_TO_END = 5.0  # time for a worker to remove its temporary files before it is killed


@frozen
class Lost:
    """The result of an item whose worker died."""

    item: Any


@define(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
    number: int
    job: tuple[int, Any] | None = None
    is_ready: bool = False
    started: float = 0.0
    last_message: tuple[Any, ...] = field(default=())


class Crew:
    """A number of worker processes that call the same function.

    Args:
        function: called with one item; must be picklable.
        jobs: number of processes.
        timeout_s: time limit for one item in seconds, or None.
        on_message: called with the arguments of `report_progress`.
    """

    def __init__(
        self,
        function: Callable[[Any], Any],
        jobs: int,
        *,
        timeout_s: float | None,
        on_message: Callable[..., None] | None,
    ) -> None:
        self._function = function
        self._jobs = jobs
        self._timeout_s = timeout_s
        self._on_message = on_message
        self._workers: list[_Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            if worker.job is not None:
                worker.process.terminate()
            worker.connection.close()  # an idle worker then ends by itself
        end = time.monotonic() + _SECONDS_TO_END
        for worker in self._workers:
            _end(worker.process, end - time.monotonic())

    def run(self, items: Iterator[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
        """The index of each item with its result, its exception or `Lost`, in order of completion."""
        feed = _Feed(items)
        while True:
            busy = [worker for worker in self._workers if worker.job is not None]
            if len(busy) < self._jobs:
                feed.ask()
            if feed.is_over and not busy:
                return
            sources: list[Any] = [source for worker in busy for source in (worker.connection, worker.process.sentinel)]
            ready = wait([*sources, feed.ready], self._patience(busy))
            for worker in busy:
                if worker.connection in ready:
                    yield from self._heard(worker)
                # On Windows, the connection of a process that ended before it accepted it is never closed.
                elif worker.process.sentinel in ready:
                    yield from self._lost(worker)
            yield from self._overdue()
            if feed.ready in ready:
                item = feed.take()
                if item is not None:
                    self._give(item)

    def _patience(self, busy: list[_Worker]) -> float | None:
        if self._timeout_s is None or not busy:
            return None
        first = min(worker.started for worker in busy)
        return max(0.0, first + self._timeout_s - time.monotonic())

    def _give(self, item: tuple[int, Any]) -> None:
        idle = next((worker for worker in self._workers if worker.job is None), None)
        worker = idle if idle is not None else self._hire(item[1])
        worker.job, worker.started, worker.last_message = item, time.monotonic(), ()
        try:
            worker.connection.send(item[1])
        except (BrokenPipeError, ConnectionError):  # it died while idle: another worker takes the item
            self._dismiss(worker)
            self._give(item)

    def _hire(self, item: Any) -> _Worker:
        # Spawned, not forked, because native libraries with their own threads do not survive a fork.
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        level = logging.getLogger().getEffectiveLevel()
        taken = {worker.number for worker in self._workers}
        number = next(free for free in count() if free not in taken)
        process = context.Process(target=work, args=(theirs, self._function, level, number), name=WORKER)
        with script_for_workers(is_needed=needs_script(self._function, item)):
            process.start()
        theirs.close()
        worker = _Worker(process, ours, number)
        self._workers.append(worker)
        return worker

    def _dismiss(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.process.terminate()
        worker.connection.close()
        _end(worker.process, _SECONDS_TO_END)

    def _heard(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        if worker.job is None:
            return
        index, _ = worker.job
        kind, content = _answer_of(worker.connection)
        if kind == _DEAD:
            yield from self._lost(worker)
            return
        if kind == READY:
            worker.is_ready = True
            return
        if kind == UNREAD:
            raise ConfigError(_unread(content))
        if kind == LOGGED:
            name, level, text = content
            logging.getLogger(name).log(level, "%s", text)
            return
        if kind == MESSAGE:
            worker.last_message = content
            if self._on_message is not None:
                self._on_message(*content)
            return
        worker.job = None
        yield index, content

    def _lost(self, worker: _Worker) -> Iterator[tuple[int, Any]]:
        self._dismiss(worker)
        _raise_if_never_began(worker)
        if worker.job is not None:
            index, item = worker.job
            yield index, Lost(item)

    def _overdue(self) -> Iterator[tuple[int, Any]]:
        if self._timeout_s is None:
            return
        for worker in list(self._workers):
            if worker.job is not None and time.monotonic() - worker.started >= self._timeout_s:
                index, _ = worker.job
                at = worker.last_message
                reached = f"; it had done {at[1]} of {at[2]} tiles" if len(at) == 3 else "; it had not come to tiles"
                self._dismiss(worker)
                yield (
                    index,
                    SlideError(
                        f"given up after {self._timeout_s:g} s{reached}; raise "
                        f"{option_name('run', 'timeout_s')}, or look at the slide"
                    ),
                )


def _answer_of(connection: Connection) -> tuple[str, Any]:
    """The kind and content of a message from a worker."""
    try:
        kind, content = connection.recv()
    except (EOFError, ConnectionError):
        return _DEAD, None
    except Exception as error:  # an exception whose class cannot be pickled back
        return RESULT, SlideError(f"its worker's answer cannot be read: {type(error).__name__}: {error}")
    return kind, content


def _raise_if_never_began(worker: _Worker) -> None:
    """Raise if a worker ended by itself before it was ready, because every other one would do the same."""
    code = worker.process.exitcode or 0
    if worker.is_ready or code <= 0:  # below 0: killed, perhaps for memory
        return
    script = script_name()
    if code == UNGUARDED:
        raise ConfigError(unguarded(script))
    raise ConfigError(
        f"a worker process could not start (exit code {code}; its own message is above). It first runs {script}, which "
        f"defines something that the pipeline uses; define that in a module and import it, or use "
        f"{option_given('run', 'jobs', 1)}"
    )


def _unread(error: str) -> str:
    return (
        f"a worker process cannot unpickle the pipeline: {error}; classes and functions that are defined in a notebook "
        f"or at a prompt do not exist there: define them in a module (a .py file) and import it, or use "
        f"{option_given('run', 'jobs', 1)}"
    )


def _end(process: BaseProcess, seconds: float) -> None:
    """Wait for a process that was told to end, and kill it if it does not end in time."""
    process.join(max(0.0, seconds))
    if process.is_alive():
        process.kill()
        process.join()


class _Feed:
    """Takes items from an iterator in a thread, because making an item may have to wait until another one is done."""

    def __init__(self, items: Iterator[tuple[int, Any]]) -> None:
        self._items = items
        self._found: list[tuple[int, Any]] = []
        self._error: BaseException | None = None
        self._asked = False
        self.is_over = False
        self.ready, self._tell = get_context("spawn").Pipe(duplex=False)

    def ask(self) -> None:
        """Begin to make the next item, unless one is being made."""
        if not self._asked and not self.is_over:
            self._asked = True
            # A daemon, so that a stopped run does not wait for an item that will never come.
            threading.Thread(target=self._make, name="slideloom-feed", daemon=True).start()

    def _make(self) -> None:
        try:
            self._found.append(next(self._items))
        except StopIteration:
            self.is_over = True
        except BaseException as error:  # raised where the item is taken
            self._error = error
        self._tell.send_bytes(b"1")

    def take(self) -> tuple[int, Any] | None:
        """The item that is ready; None if there are no more."""
        self.ready.recv_bytes()
        self._asked = False
        if self._error is not None:
            raise self._error
        return self._found.pop() if self._found else None
