"""Worker processes. Each processes one item at a time, may die without harm to the others, and ends with its parent."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any, NoReturn, Self

from attrs import define, field, frozen

from slideloom.base.errors import ConfigError, SlideError
from slideloom.running.main_script import (
    UNGUARDED,
    WORKER,
    needs_script,
    script_for_workers,
    script_name,
    unguarded,
)

# The kinds of messages from a worker; the last one is not sent by the worker itself.
_READY, _UNREAD, _RESULT, _ERROR, _MESSAGE, _DEAD = "ready", "unread", "result", "error", "message", "dead"
_SECONDS_TO_END = 5.0  # time for a worker to remove its temporary files before it is killed

# In a worker: where `report_progress` sends its messages.
_to_parent: list[Connection] = []


@frozen
class Lost:
    """The result of an item whose worker died."""

    item: Any


def report_progress(*message: Any) -> None:
    """Send the parent process a message about the item in progress. Does nothing outside a worker."""
    if _to_parent:
        with suppress(BrokenPipeError, ConnectionError):  # the parent has ended, or is about to end this process
            _to_parent[0].send((_MESSAGE, message))


@define(eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection
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
        process = context.Process(target=_work, args=(theirs, self._function), name=WORKER)
        with script_for_workers(is_needed=needs_script(self._function, item)):
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
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
        if kind == _READY:
            worker.is_ready = True
            return
        if kind == _UNREAD:
            raise ConfigError(content)
        if kind == _MESSAGE:
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
                    SlideError(f"given up after {self._timeout_s:g} s{reached}; raise timeout_s, or look at the slide"),
                )


def _answer_of(connection: Connection) -> tuple[str, Any]:
    """The kind and content of a message from a worker."""
    try:
        kind, content = connection.recv()
    except (EOFError, ConnectionError):
        return _DEAD, None
    except Exception as error:  # an exception whose class cannot be pickled back
        return _RESULT, SlideError(f"its worker's answer cannot be read: {type(error).__name__}: {error}")
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
        "defines something that the pipeline uses; define that in a module and import it, or use jobs=1"
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


def _work(connection: Connection, function: Callable[[Any], Any]) -> None:
    """The main function of a worker."""
    try:
        _work_on(connection, function)
    except _Leaving:
        raise SystemExit(1) from None


def _work_on(connection: Connection, function: Callable[[Any], Any]) -> None:
    # Ctrl-C reaches all processes of a terminal; workers ignore it, and the parent ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_die_with_parent, name="slideloom-watch", daemon=True).start()
    _to_parent.append(connection)
    with suppress(BrokenPipeError, ConnectionError):
        connection.send((_READY, None))
    while True:
        try:
            item = connection.recv()
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # unpickling calls third-party code
            with suppress(BrokenPipeError, ConnectionError):
                connection.send((_UNREAD, _unread(error)))
            continue
        answer: tuple[str, Any]
        try:
            answer = (_RESULT, function(item))
        except Exception as error:
            answer = (_ERROR, error)
        try:
            connection.send(answer)
        except (BrokenPipeError, ConnectionError):
            return
        except Exception as error:  # an answer that cannot be pickled is sent as text
            connection.send((_ERROR, SlideError(f"{type(answer[1]).__name__}: {answer[1]} (not sent: {error})")))


def _unread(error: Exception) -> str:
    return (
        f"a worker process cannot unpickle the pipeline: {error}; classes and functions that are defined in a notebook "
        "or at a prompt do not exist there: define them in a module (a .py file) and import it, or use jobs=1"
    )


class _Leaving(KeyboardInterrupt):
    """The parent ends this worker. Unlike a step's `SystemExit`, it passes through all code that cleans up."""


def _leave(_number: int, _frame: object) -> NoReturn:
    raise _Leaving


def _die_with_parent() -> None:
    # The lock ends with the parent. A worker that went on writing would collide with the next run in the same folder.
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
