"""The core's own steps, registered like any plugin's."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom.executors import InProcess, Processes
from slideloom.hookspecs import hookimpl
from slideloom.settings import Settings
from slideloom.steps import Executor, Placement
from slideloom.tiling import Grid


@hookimpl
def slideloom_placements() -> Sequence[type[Settings[Placement]]]:
    """The grid."""
    return [Grid]


@hookimpl
def slideloom_executors() -> Sequence[type[Settings[Executor]]]:
    """This process, or a pool of processes."""
    return [InProcess, Processes]
