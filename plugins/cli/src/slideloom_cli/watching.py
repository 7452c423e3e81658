"""Shows the progress of a run: bars on a terminal, elsewhere a line per slide."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from slideloom.steps.reports import RunReport, SlideReport

from slideloom_cli.logs import RunLog
from slideloom_cli.pace import Pace

HEARTBEAT_S = 60.0
"""Longest time without a message while slides are processed."""


class _View(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...
    def tiles(self, slide: str, done: int, total: int) -> None: ...
    def slide(self, report: SlideReport) -> None: ...
    def beat(self) -> None: ...
    def recount(self) -> None: ...


@contextmanager
def watched(chosen: argparse.Namespace, *, slides: int, out: Path) -> Iterator[RunDisplay]:
    """Within it, a run is shown and logged as the command line asks.

    Raises:
        OutputError: the log file cannot be written, or another program made it.
    """
    with RunLog.at(chosen.log) as log:
        if log is not None:
            log.started(slides, out)
        with RunDisplay(slides, quiet=chosen.quiet, log=log, tracebacks=chosen.debug).shown() as display:
            yield display


class RunDisplay:
    """Shows how a run goes, and writes it to a log file if there is one.

    Args:
        slides: number of slides.
        quiet: show nothing before the summary.
        log: the log file, or None.
        tracebacks: also show tracebacks of errors in plugins and libraries.
        heartbeat_s: longest time in seconds without a message.
    """

    def __init__(
        self,
        slides: int,
        *,
        quiet: bool = False,
        log: RunLog | None = None,
        tracebacks: bool = False,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> None:
        self._pace = Pace(slides)
        self._log = log
        self._heartbeat_s = heartbeat_s
        self._view = None if quiet else _view(self._pace, tracebacks=tracebacks)
        self._over = threading.Event()

    @contextmanager
    def shown(self) -> Iterator[RunDisplay]:
        """Within it, the run is shown."""
        heart = threading.Thread(target=self._beat, name="slideloom-heartbeat", daemon=True)
        if self._view is not None:
            self._view.start()
        heart.start()
        try:
            yield self
        finally:
            self._over.set()
            heart.join()
            if self._view is not None:
                self._view.stop()

    def leave_out(self, slides: int) -> None:
        """Count no longer on slides that other shards do."""
        self._pace.leave_out(slides)
        if self._view is not None:
            self._view.recount()

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Show how many tiles of a slide are done."""
        self._pace.tiles(slide, done, total)
        if self._view is not None:
            self._view.tiles(slide, done, total)

    def slide(self, report: SlideReport) -> None:
        """Show that a slide has ended."""
        self._pace.slide(report)
        if self._view is not None:
            self._view.slide(report)
        if self._log is not None:
            self._log.slide(report, self._pace)

    def run(self, report: RunReport) -> None:
        """Log that the run has ended."""
        if self._log is not None:
            self._log.run_done(report)

    @property
    def is_logged(self) -> bool:
        """False if something could not be written to the log file."""
        return self._log is None or self._log.is_whole

    def _beat(self) -> None:
        while not self._over.wait(self._heartbeat_s):
            if self._view is not None:
                self._view.beat()
            if self._log is not None:
                self._log.at_work(self._pace)


def _view(pace: Pace, *, tracebacks: bool) -> _View:
    """Bars on a terminal, else lines. What draws is imported only here: it takes as long as importing numpy."""
    from slideloom_cli.display import console

    out = console()
    if out.is_terminal:
        from slideloom_cli.bars import Bars

        return Bars(pace, out, tracebacks=tracebacks)
    from slideloom_cli.lines import Lines

    return Lines(pace, out, tracebacks=tracebacks)
