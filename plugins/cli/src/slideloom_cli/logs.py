"""Logging of the command line, and the log file of a run: one JSON object per line."""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from io import RawIOBase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slideloom import __version__
from slideloom.base.errors import OutputError
from slideloom.base.log_handlers import CallingHandler
from slideloom.base.parsing import parse_json
from slideloom.base.storing import utf8

if TYPE_CHECKING:
    from slideloom.steps.reports import RunReport, SlideReport

    from slideloom_cli.pace import Pace

log = logging.getLogger(__name__)


def add_log_options(parser: Any) -> None:  # Any: a parser or a group of options
    """Add options for how much is logged, and where."""
    parser.add_argument("-v", "--verbose", action="store_true", help="print details that rarely matter")
    parser.add_argument("--debug", action="store_true", help="print everything, with tracebacks of errors")
    parser.add_argument("--log", type=Path, metavar="FILE", help="also log the run to a file, as JSON lines")


def configure_logging(chosen: argparse.Namespace) -> None:
    """Log to standard error: warnings; with -v also slideloom's own messages; with --debug everything."""
    level = logging.WARNING
    if getattr(chosen, "verbose", False):
        level = logging.INFO
    if getattr(chosen, "debug", False):
        level = logging.DEBUG
    root = logging.getLogger()
    root.setLevel(level)
    for handler in list(root.handlers):
        if isinstance(handler, _ToStandardError):
            root.removeHandler(handler)
    root.addHandler(_ToStandardError(level))


class _ToStandardError(CallingHandler):
    """Writes to the present `sys.stderr`, which a progress bar may have replaced."""

    def __init__(self, level: int) -> None:
        super().__init__(lambda _record, text: print(text, file=sys.stderr), level)
        self.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
        if level == logging.INFO:
            self.addFilter(_is_ours_or_serious)


def _is_ours_or_serious(record: logging.LogRecord) -> bool:
    return record.name.startswith("slideloom") or record.levelno >= logging.WARNING


class RunLog:
    """The log file of a run. If a line cannot be written, it warns once, and `is_whole` is False from then on."""

    def __init__(self, path: Path, file: RawIOBase) -> None:
        self.is_whole = True
        self._path, self._file = path, file
        self._lock = threading.RLock()

    @classmethod
    @contextmanager
    def at(cls, path: Path | None) -> Iterator[RunLog | None]:
        """A log that is appended to the file; None without a path.

        Raises:
            OutputError: the file cannot be written, or another program made it.
        """
        if path is None:
            yield None
            return
        try:
            _check_ours(path)
            file = path.open("ab", buffering=0)
            if not _ends_a_line(path):  # the run that wrote it last was killed
                file.write(b"\n")
        except OSError as error:
            raise OutputError(f"--log {path}: cannot be written: {error.strerror}") from error
        with file:
            made = cls(path, file)
            handler = CallingHandler(made.record)
            logging.getLogger().addHandler(handler)
            try:
                yield made
            except BaseException as error:
                made.write("stopped", error=f"{type(error).__name__}: {error}")
                raise
            finally:
                logging.getLogger().removeHandler(handler)

    def write(self, event: str, **values: Any) -> None:
        """Write one line: the time, the event, and values that JSON can hold."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "event": event, **values}, ensure_ascii=False)
        with self._lock:
            if not self.is_whole:
                return
            try:
                self._file.write(utf8(line + "\n"))
            except OSError as error:
                self.is_whole = False
                log.warning("--log %s: cannot be written (%s); the run goes on without it", self._path, error)

    def record(self, record: logging.LogRecord, text: str) -> None:
        """Write what was logged."""
        self.write("log", level=record.levelname, logger=record.name, message=text)

    def started(self, slides: int, out: Path) -> None:
        """Log that a run begins."""
        self.write("run_started", slides=slides, out=str(out), version=__version__)

    def slide(self, report: SlideReport, pace: Pace) -> None:
        """Log that a slide has ended."""
        names = ("slide", "path", "status", "error", "traceback", "planned", "written", "unreadable", "rejected")
        values = {name: getattr(report, name) for name in names}
        self.write(
            "slide",
            **values,
            warnings=list(report.warnings),
            seconds=dict(report.seconds),
            done=pace.done,
            slides=pace.slides,
            seconds_left=_rounded(pace.seconds_left()),
        )

    def at_work(self, pace: Pace) -> None:
        """Log the progress of the slides in progress."""
        tiles = {slide: {"done": done, "total": total} for slide, (done, total) in pace.at_work().items()}
        left = _rounded(pace.seconds_left())
        self.write("at_work", tiles=tiles, done=pace.done, slides=pace.slides, seconds_left=left)

    def run_done(self, run: RunReport) -> None:
        """Log that the run has ended."""
        counts = {status: sum(slide.status == status for slide in run.slides) for status in _STATUSES}
        estimate = {} if run.estimate is None else {"estimate": run.estimate.as_table()}
        self.write("run_done", **counts, seconds=run.seconds, out=run.out, **estimate)


_STATUSES = ("done", "skipped", "failed")


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 1)


def _check_ours(path: Path) -> None:
    """Raise unless the log may be appended: the file is missing, empty, a log of ours, or a device."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        first = file.readline(100_000)
    try:
        is_ours = not first or "event" in dict(parse_json(first))
    except (ValueError, TypeError):
        is_ours = False
    if not is_ours:
        raise OutputError(f"--log {path}: is not the log of a run, so nothing was added to it; name another file")


def _ends_a_line(path: Path) -> bool:
    if not path.is_file() or not path.stat().st_size:
        return True
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read() == b"\n"
