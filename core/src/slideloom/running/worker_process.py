"""A worker process: it does one item at a time, reports to its parent, and ends when its parent ends."""

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
from slideloom.base.log_handlers import CallingHandler
from slideloom.base.temporary import tidied_when_interrupted

# The kinds of messages from a worker.
READY, UNREAD, RESULT, ERROR = "ready", "unread", "result", "error"
MESSAGE, LOGGED = "message", "logged"

# In a worker: where `report_progress` sends its messages.
_to_parent: list[Connection] = []
_numbers: list[int] = []  # in a worker: its number
_sending = threading.Lock()  # threads of a slide log too, but a connection carries only one message at a time


def report_progress(*message: Any) -> None:
    """Send the parent process a message about the item in progress. Does nothing outside a worker."""
    _say(MESSAGE, message)


def _say(kind: str, content: Any) -> None:
    if _to_parent:
        # The parent may have ended, or be about to end this process.
        with suppress(BrokenPipeError, ConnectionError), _sending:
            _to_parent[0].send((kind, content))


def worker_number() -> int:
    """Which of its run's worker processes this is: 0 to `jobs` - 1, and 0 outside a worker.

    For what several processes have to divide among themselves, such as the GPUs of a machine.
    """
    return _numbers[0] if _numbers else 0


def work(connection: Connection, function: Callable[[Any], Any], level: int, number: int) -> None:
    """The main function of worker `number`. The parent logs what is logged here at `level` or above."""
    _numbers.append(number)
    try:
        _log_to_parent(level)
        with tidied_when_interrupted():
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
        connection.send((READY, None))
    while True:
        try:
            item = connection.recv()
        except (EOFError, ConnectionError):
            return
        except Exception as error:  # unpickling calls third-party code
            with suppress(BrokenPipeError, ConnectionError):
                connection.send((UNREAD, str(error)))
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
        except Exception as error:  # an answer that cannot be pickled is sent as text
            connection.send((ERROR, SlideError(f"{type(answer[1]).__name__}: {answer[1]} (not sent: {error})")))


def _log_to_parent(level: int) -> None:
    root = logging.getLogger()
    # As text, because the arguments of a record may not pickle.
    root.addHandler(CallingHandler(lambda record, text: _say(LOGGED, (record.name, record.levelno, text))))
    root.setLevel(level)


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
