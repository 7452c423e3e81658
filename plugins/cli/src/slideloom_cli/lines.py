"""The progress of a run as lines of text."""

from __future__ import annotations

from datetime import datetime

from rich.console import Console
from slideloom.steps.reports import SlideReport

from slideloom_cli.display import escape, print_traceback, slide_line
from slideloom_cli.pace import Pace

_STAGES = ("open", "plan", "qc", "tiles", "commit")
"""The parts of a slide's time; all other times in a report are included in these."""


class Lines:
    """A line for each slide when it has ended, and a line now and then in between."""

    def __init__(self, pace: Pace, out: Console, *, tracebacks: bool) -> None:
        self._pace, self._console, self._tracebacks = pace, out, tracebacks
        self._is_new = False

    def start(self) -> None:
        """Tell how many slides there are."""
        self._say(self._all())

    def recount(self) -> None:
        """The number of slides has changed."""
        self._say(f"{self._all()} of this shard")

    def _all(self) -> str:
        return "1 slide" if self._pace.slides == 1 else f"{self._pace.slides} slides"

    def stop(self) -> None:
        """Nothing: there is nothing to remove from the screen."""

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Nothing: the next heartbeat shows it."""

    def slide(self, report: SlideReport) -> None:
        """Tell what came of a slide."""
        spent = sum(report.seconds.get(stage, 0.0) for stage in _STAGES)
        took = f" in {spent:.1f} s" if report.status == "done" else ""
        left = self._pace.words()
        self._say(f"{self._count()} {slide_line(report)}{took}{left and f'; {left}'}")
        self._is_new = True
        print_traceback(self._console, report, wanted=self._tracebacks)

    def beat(self) -> None:
        """Tell what is at work, unless something was told just now."""
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
