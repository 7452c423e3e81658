"""What came of a run, as text on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from slideloom.slides.icc import NO_PROFILE
from slideloom.steps.reports import RunReport, SlideReport

from slideloom_cli.trials import WOULD

_NAMED = 5  # slides of a list that are named
_LABEL = 8  # characters of a line's label


def print_summary(run: RunReport) -> None:
    """Print totals, each failed slide with its reason, each slide without tiles, every warning, and other failures."""
    for label, said in _lines(run):
        print(f"{label:{_LABEL}}{said}", file=sys.stderr)
    if run.empty or run.failed or run.problems or any(report.warnings for report in run.slides):
        _print_alerts(run)


def _lines(run: RunReport) -> Iterator[tuple[str, str]]:
    """Label and text of every line about the whole run."""
    done = [report for report in run.slides if report.status != "failed"]
    kept = sum(report.kept for report in done)
    planned = sum(report.planned for report in done)
    yield "slides", f"{len(done)} of {len(run.slides)} finished in {run.seconds:.1f} s"
    trial = "plan-only" if run.plan_only else "dry-run" if run.dry_run else ""
    yield "tiles", f"{kept} of {planned} planned{WOULD.get(trial, '')}"
    for reason, count in _totals(run).items():
        yield "", f"{count} {reason}"
    bare = [report.slide for report in done if report.icc == NO_PROFILE]
    if bare:
        shown = ", ".join(bare[:_NAMED]) + (f" and {len(bare) - _NAMED} more" if len(bare) > _NAMED else "")
        yield "colours", f"as stored, not sRGB, for want of an ICC profile: {len(bare)} slides ({shown})"
    yield "output", "no tile was written" if trial else run.published or run.out
    if run.published:
        yield "staging", f"{run.out}, kept: a run that goes on, or adds slides, needs it"
    for number, said in enumerate(() if run.estimate is None else run.estimate.words()):
        yield "" if number else "estimate", said


def _print_alerts(run: RunReport) -> None:
    from slideloom_cli.display import console, escape  # takes as long as importing numpy, and most runs need none

    out = console()
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
            if reason in WOULD:
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
