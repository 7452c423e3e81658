"""`slideloom studio`, and what `slideloom doctor` says about its libraries."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from slideloom import Command, Library, hookimpl


@hookimpl
def slideloom_commands() -> Sequence[Command]:
    """`slideloom studio`."""
    return [Command("studio", "look at slides in the browser, draw regions and tune the pipeline", _configure, _run)]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library("starlette", "slideloom-studio", "the page in the browser"),
        Library("uvicorn", "slideloom-studio", "the page in the browser"),
    ]


def _configure(parser: ArgumentParser) -> None:
    from slideloom_studio.command import configure_studio

    configure_studio(parser)


def _run(chosen: Namespace) -> int:
    from slideloom_studio.command import run_studio

    return run_studio(chosen)
