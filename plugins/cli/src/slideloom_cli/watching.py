"""Shows the progress of a run: bars on a terminal, elsewhere a line per slide."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from slideloom.base.amounts import duration
from slideloom.steps.reports import RunReport, SlideReport

from slideloom_cli.display import console, slide_line
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
        out = console()
        self._pace = Pace(slides)
        self._log = log
        self._heartbeat_s = heartbeat_s
        self._view: _View | None = None
        if not quiet:
            kind = _Bars if out.is_terminal else _Lines
            self._view = kind(self._pace, out, tracebacks=tracebacks)
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


class _Bars:
    """One bar for slides, and one for the tiles of each slide in progress."""

    def __init__(self, pace: Pace, out: Console, *, tracebacks: bool) -> None:
        self._pace, self._console, self._tracebacks = pace, out, tracebacks
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}"),
            console=out,
        )
        self._slides = self._progress.add_task("slides", total=pace.slides, note="")
        self._bars: dict[str, TaskID] = {}

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def tiles(self, slide: str, done: int, total: int) -> None:
        if slide not in self._bars:
            self._bars[slide] = self._progress.add_task(escape(slide), total=total, note="")
        bar = self._bars[slide]
        speed = next(task.speed for task in self._progress.tasks if task.id == bar)
        note = f"{speed:.0f} tiles/s, {duration((total - done) / speed)} left" if speed else ""
        self._progress.update(bar, completed=done, total=total, note=note)
        self._progress.update(self._slides, note=self._pace.words())

    def slide(self, report: SlideReport) -> None:
        self._progress.update(self._slides, completed=self._pace.done, note=self._pace.words())
        if report.slide in self._bars:
            self._progress.remove_task(self._bars.pop(report.slide))
        self._console.print(slide_line(report), soft_wrap=True)
        _print_traceback(self._console, report, wanted=self._tracebacks)

    def beat(self) -> None:
        """Nothing: the bars move by themselves."""

    def recount(self) -> None:
        self._progress.update(self._slides, total=self._pace.slides)


class _Lines:
    """A line for each slide when it has ended, and a line now and then in between."""

    def __init__(self, pace: Pace, out: Console, *, tracebacks: bool) -> None:
        self._pace, self._console, self._tracebacks = pace, out, tracebacks
        self._is_new = False

    def start(self) -> None:
        self._say(self._all())

    def recount(self) -> None:
        self._say(f"{self._all()} of this shard")

    def _all(self) -> str:
        return "1 slide" if self._pace.slides == 1 else f"{self._pace.slides} slides"

    def stop(self) -> None:
        """Nothing: there is nothing to remove from the screen."""

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Nothing: the next heartbeat shows it."""

    def slide(self, report: SlideReport) -> None:
        spent = sum(report.seconds.get(stage, 0.0) for stage in _STAGES)
        took = f" in {spent:.1f} s" if report.status == "done" else ""
        left = self._pace.words()
        self._say(f"{self._count()} {slide_line(report)}{took}{left and f'; {left}'}")
        self._is_new = True
        _print_traceback(self._console, report, wanted=self._tracebacks)

    def beat(self) -> None:
        if self._is_new:  # a slide has ended since the last heartbeat, and its line is enough
            self._is_new = False
            return
        at_work = [f"{escape(slide)} {done} of {total} tiles" for slide, (done, total) in self._pace.at_work().items()]
        left = self._pace.words()
        self._say(f"{self._count()} at work  {', '.join(at_work) or 'no tiles yet'}{left and f'; {left}'}")

    def _count(self) -> str:
        return escape(f"[{self._pace.done}/{self._pace.slides}]")

    def _say(self, line: str) -> None:
        self._console.print(f"{datetime.now():%Y-%m-%d %H:%M:%S} {line}", soft_wrap=True)


_STAGES = ("open", "plan", "qc", "tiles", "commit")
"""The parts of a slide's time; all other times in a report are included in these."""


def _print_traceback(out: Console, report: SlideReport, *, wanted: bool) -> None:
    if wanted and report.traceback:
        out.print(report.traceback, soft_wrap=True, markup=False, end="")
