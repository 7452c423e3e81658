"""What a person sees while a run goes on and when it ends; nothing moves when the output is not a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table
from slideloom.steps.reports import RunReport, SlideReport

# What is true of the tiles that a trial leaves.
_WOULD = {
    "dry-run": " would be written",
    "plan-only": " left for tile filters and normalizer to decide on",
}


def console() -> Console:
    """Standard error, so that standard output stays free for what a program reads."""
    return Console(stderr=True, highlight=False)


class RunDisplay:
    """Progress bars for slides and for the tiles of each slide at work."""

    def __init__(self, slides: int, *, quiet: bool) -> None:
        self._console = console()
        self._live = self._console.is_terminal and not quiet
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=self._console,
            disable=not self._live,
        )
        self._slides = self._progress.add_task("slides", total=slides, rate="")
        self._at_work: dict[str, TaskID] = {}

    @contextmanager
    def shown(self) -> Iterator[RunDisplay]:
        """The bars are on screen within it."""
        with self._progress:
            yield self

    def tiles(self, slide: str, done: int, total: int) -> None:
        """Tiles of a slide that are settled; each slide at work has a bar of its own."""
        if slide not in self._at_work:
            self._at_work[slide] = self._progress.add_task(escape(slide), total=total, rate="")
        bar = self._at_work[slide]
        speed = next(task.speed for task in self._progress.tasks if task.id == bar)
        self._progress.update(bar, completed=done, rate=f"{speed:.0f} tiles/s" if speed else "")

    def slide(self, report: SlideReport) -> None:
        """A slide is done."""
        self._progress.advance(self._slides)
        if report.slide in self._at_work:
            self._progress.remove_task(self._at_work.pop(report.slide))
        if not self._live:
            return
        self._console.print(slide_line(report), soft_wrap=True)


def slide_line(report: SlideReport) -> str:
    """One slide in one line of rich markup."""
    name = escape(report.slide)
    if report.status == "failed":
        return f"[bold red]failed[/]   {name}: {escape(report.error)}"
    counts = f"{report.kept} of {report.planned} tiles"
    word = "[cyan]skipped[/] " if report.status == "skipped" else "[green]done[/]    "
    if report.kept == 0:
        word = "[bold red]NO TILES[/]"
    counts += next((said for trial, said in _WOULD.items() if trial in report.rejected), "")
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.rejected.items() if reason not in _WOULD)
    unreadable = f", {report.unreadable} unreadable" if report.unreadable else ""
    return f"{word} {name}: {counts}" + (f" (rejected: {escape(reasons)})" if reasons else "") + unreadable


def print_summary(run: RunReport) -> None:
    """Totals, every failed slide with its reason, every slide without tiles, and every warning."""
    out = console()
    table = Table(show_header=False, box=None, pad_edge=False)
    done = [report for report in run.slides if report.status != "failed"]
    kept = sum(report.kept for report in done)
    planned = sum(report.planned for report in done)
    table.add_row("slides", f"{len(done)} of {len(run.slides)} finished in {run.seconds:.1f} s")
    trial = "plan-only" if run.plan_only else "dry-run" if run.dry_run else ""
    table.add_row("tiles", f"{kept} of {planned} planned{_WOULD.get(trial, '')}")
    for reason, count in _totals(run).items():
        table.add_row("", f"{count} {escape(reason)}")
    table.add_row("output", escape(run.out) if not trial else "nothing was written")
    out.print(table, soft_wrap=True)
    for report in run.slides:
        for warning in report.warnings:
            out.print(f"[yellow]warning[/]  {escape(report.slide)}: {escape(warning)}", soft_wrap=True)
    for report in run.empty:
        out.print(f"[bold red]NO TILES[/] {escape(report.slide)}: {escape(_why_empty(report))}", soft_wrap=True)
    for report in run.failed:
        out.print(f"[bold red]failed[/]   {escape(report.slide)}: {escape(report.error)}", soft_wrap=True)


def _totals(run: RunReport) -> dict[str, int]:
    totals: dict[str, int] = {}
    for report in run.slides:
        for reason, count in report.rejected.items():
            if reason in _WOULD:
                continue
            totals[f"rejected by {reason}"] = totals.get(f"rejected by {reason}", 0) + count
        if report.unreadable:
            totals["unreadable"] = totals.get("unreadable", 0) + report.unreadable
    return totals


def _why_empty(report: SlideReport) -> str:
    if not report.planned:
        return "no tile fits on the slide"
    reasons = [f"{count} by {reason}" for reason, count in report.rejected.items()]
    if report.unreadable:
        reasons.append(f"{report.unreadable} unreadable")
    return f"all {report.planned} tiles were dropped: {', '.join(reasons)}"
