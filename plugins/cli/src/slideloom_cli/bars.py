"""The progress of a run as bars on a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from slideloom.base.amounts import duration
from slideloom.steps.reports import SlideReport

from slideloom_cli.display import escape, print_traceback, slide_line
from slideloom_cli.pace import Pace


class Bars:
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
        """Draw."""
        self._progress.start()

    def stop(self) -> None:
        """End drawing."""
        self._progress.stop()

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Move the bar of a slide."""
        if slide not in self._bars:
            self._bars[slide] = self._progress.add_task(escape(slide), total=total, note="")
        bar = self._bars[slide]
        speed = next(task.speed for task in self._progress.tasks if task.id == bar)
        note = f"{speed:.0f} tiles/s, {duration((total - done) / speed)} left" if speed else ""
        self._progress.update(bar, completed=done, total=total, note=note)
        self._progress.update(self._slides, note=self._pace.words())

    def slide(self, report: SlideReport) -> None:
        """Take the bar of a finished slide away, and tell what came of it."""
        self._progress.update(self._slides, completed=self._pace.done, note=self._pace.words())
        if report.slide in self._bars:
            self._progress.remove_task(self._bars.pop(report.slide))
        self._console.print(slide_line(report), soft_wrap=True)
        print_traceback(self._console, report, wanted=self._tracebacks)

    def beat(self) -> None:
        """Nothing: the bars move by themselves."""

    def recount(self) -> None:
        """The number of slides has changed."""
        self._progress.update(self._slides, total=self._pace.slides)
