"""Slides and runs as text on standard error."""

from __future__ import annotations

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from slideloom.slides.icc import NO_PROFILE
from slideloom.steps.reports import RunReport, SlideReport

_NAMED = 5  # slides of a list that are named
# What is true of the tiles that a trial leaves.
_WOULD = {
    "dry-run": " would be written",
    "plan-only": " left for tile filters and normalizer to decide on",
}


def console() -> Console:
    """Standard error, so that standard output holds only results."""
    return Console(stderr=True, highlight=False)


def slide_line(report: SlideReport) -> str:
    """One line about a slide, as rich markup."""
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
    """Print totals, each failed slide with its reason, each slide without tiles, every warning, and other failures."""
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
    bare = [report.slide for report in done if report.icc == NO_PROFILE]
    if bare:
        shown = ", ".join(bare[:_NAMED]) + (f" and {len(bare) - _NAMED} more" if len(bare) > _NAMED else "")
        table.add_row(
            "colours", f"as stored, not sRGB, for want of an ICC profile: {len(bare)} slides ({escape(shown)})"
        )
    table.add_row("output", escape(run.out) if not trial else "no tile was written")
    for number, said in enumerate(() if run.estimate is None else run.estimate.words()):
        table.add_row("" if number else "estimate", said)
    out.print(table, soft_wrap=True)
    for report in run.slides:
        for warning in report.warnings:
            out.print(f"[yellow]warning[/]  {escape(report.slide)}: {escape(warning)}", soft_wrap=True)
    for report in run.empty:
        out.print(f"[bold red]NO TILES[/] {escape(report.slide)}: {escape(_why_empty(report))}", soft_wrap=True)
    for report in run.failed:
        out.print(f"[bold red]failed[/]   {escape(report.slide)}: {escape(report.error)}", soft_wrap=True)
    for problem in run.problems:
        out.print(f"[bold red]failed[/]   {escape(problem)}", soft_wrap=True)


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
