"""`slideloom project`, and what `slideloom doctor` says about pandas."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from slideloom import Command, Library, hookimpl


@hookimpl
def slideloom_commands() -> Sequence[Command]:
    """`slideloom project`."""
    return [Command("project", "keep a cohort's slides, annotations and tiles together", _configure, _run)]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [Library("pandas", "slideloom-cohort", "tables of tiles")]


def _configure(parser: ArgumentParser) -> None:
    from slideloom_cohort.command import configure_project

    configure_project(parser)


def _run(chosen: Namespace) -> int:
    from slideloom_cohort.command import run_project

    return run_project(chosen)
