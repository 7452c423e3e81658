"""Slides as text on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from slideloom.steps.reports import SlideReport

from slideloom_cli.trials import WOULD


def console() -> Console:
    """Standard error, so that standard output holds only results."""
    return Console(stderr=True, highlight=False, emoji=False)


def slide_line(report: SlideReport) -> str:
    """One line about a slide, as rich markup."""
    name = escape(report.slide)
    if report.status == "failed":
        return f"[bold red]failed[/]   {name}: {escape(report.error)}"
    counts = f"{report.kept} of {report.planned} tiles"
    word = "[cyan]skipped[/] " if report.status == "skipped" else "[green]done[/]    "
    if report.kept == 0:
        word = "[bold red]NO TILES[/]"
    counts += next((said for trial, said in WOULD.items() if trial in report.rejected), "")
    reasons = ", ".join(f"{count} {reason}" for reason, count in report.rejected.items() if reason not in WOULD)
    unreadable = f", {report.unreadable} unreadable" if report.unreadable else ""
    return f"{word} {name}: {counts}" + (f" (rejected: {escape(reasons)})" if reasons else "") + unreadable


def print_traceback(out: Console, report: SlideReport, *, wanted: bool) -> None:
    """Print the traceback of an error that a plugin or a library raised."""
    if wanted and report.traceback:
        out.print(report.traceback, soft_wrap=True, markup=False, end="")


__all__ = ["console", "escape", "print_traceback", "slide_line"]
