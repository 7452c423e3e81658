"""The life of a worker process: it does one item at a time, tells its parent how that goes, and ends with it."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any, NoReturn

from slideloom.base.errors import SlideError

# What a worker says.
READY, UNREAD, RESULT, ERROR = "ready", "unread", "result", "error"
MESSAGE, LOGGED = "message", "logged"

# In a worker: where `report_progress` sends to.
_to_parent: list[Connection] = []
_sending = threading.Lock()  # threads of a slide log too, and a connection carries one message at a time


def report_progress(*message: Any) -> None:
    """Tell the parent process something about the item at work; does nothing outside a worker."""
    _say(MESSAGE, message)


def _say(kind: str, content: Any) -> None:
    if _to_parent:
        # The parent may have ended, or be about to end this process.
        with suppress(BrokenPipeError, ConnectionError), _sending:
            _to_parent[0].send((kind, content))


def work(connection: Connection, function: Callable[[Any], Any], level: int) -> None:
    """The life of a worker; what is logged in it from `level` on, the parent logs."""
    try:
        _log_to_parent(level)
        _work_on(connection, function)
    except _Leaving:
        raise SystemExit(1) from None


def _work_on(connection: Connection, function: Callable[[Any], Any]) -> None:
    # Ctrl-C reaches all processes of a terminal; the parent decides what becomes of its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    threading.Thread(target=_die_with_parent, name="slideloom-watch", daemon=True).start()
    _to_parent.append(connection)
    with suppress(BrokenPipeError, ConnectionError):
        connection.send((READY, None))
    while True:
        try:
            item = connection.recv()
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # what unpickling calls is anybody's code
            with suppress(BrokenPipeError, ConnectionError):
                connection.send((UNREAD, _unread(error)))
            continue
        answer: tuple[str, Any]
        try:
            answer = (RESULT, function(item))
        except Exception as error:
            answer = (ERROR, error)
        try:
            with _sending:
                connection.send(answer)
        except (BrokenPipeError, ConnectionError):
            return
        except Exception as error:  # what cannot be pickled is told in words
            connection.send((ERROR, SlideError(f"{type(answer[1]).__name__}: {answer[1]} (not sent: {error})")))


class _ToParent(logging.Handler):
    """Sends what is logged, in words: what a record is made of may be anything."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler.emit`."""
        try:
            self._say(record)
        except Exception:  # as every handler does: logging stops no work
            self.handleError(record)

    def _say(self, record: logging.LogRecord) -> None:
        _say(LOGGED, (record.name, record.levelno, self.format(record)))


def _log_to_parent(level: int) -> None:
    root = logging.getLogger()
    root.addHandler(_ToParent())
    root.setLevel(level)


def _unread(error: Exception) -> str:
    return (
        f"a worker process cannot make the pipeline anew: {error}; what is defined in a notebook or typed in is not "
        "known there: define it in a module (a .py file), and import it, or use jobs=1"
    )


class _Leaving(KeyboardInterrupt):
    """The parent ends this worker. It passes through all who remove temporary files; a step's `SystemExit` does not."""


def _leave(_number: int, _frame: object) -> NoReturn:
    raise _Leaving


def _die_with_parent() -> None:
    # A worker that wrote on would meet the next run in the same folder, whose lock the dead parent does not hold.
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
