"""The core's own steps, registered like any plugin's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import frozen

from slideloom.plugins.hookspecs import Library, hookimpl
from slideloom.settings.options import Settings, option
from slideloom.settings.ranges import at_least, positive
from slideloom.steps.executor import Executor
from slideloom.steps.placement import Placement


@frozen
class Grid(Settings[Placement]):
    """A regular grid over the slide."""

    name: ClassVar[str] = "grid"
    step: ClassVar[str] = "slideloom.planning.grid:GridPlacement"

    edge_tiles: bool = option(False, help="also plan tiles that extend beyond the right and bottom sides")
    random_origin: bool = option(False, help="start at a random place, which depends on the seed and the slide's name")
    use_bounds: bool = option(False, help="start at, and stay within, the slide's scanned bounds")
    seed: int = option(0, help="seed of random_origin", validator=at_least(0))


@frozen
class InProcess(Settings[Executor]):
    """Runs slides one after the other in this process."""

    name: ClassVar[str] = "in-process"
    step: ClassVar[str] = "slideloom.running.executors:in_process"


@frozen
class Processes(Settings[Executor]):
    """Runs slides in parallel, in processes on this machine."""

    name: ClassVar[str] = "processes"
    step: ClassVar[str] = "slideloom.running.executors:processes"

    jobs: int = option(2, help="number of processes", validator=at_least(1), affects_output=False)
    timeout_s: float | None = option(
        None, help="give up on a slide after this time", unit="s", validator=positive, affects_output=False
    )


@hookimpl
def slideloom_placements() -> Sequence[type[Settings[Placement]]]:
    """The grid."""
    return [Grid]


@hookimpl
def slideloom_executors() -> Sequence[type[Settings[Executor]]]:
    """This process, or a pool of processes."""
    return [InProcess, Processes]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that the core depends on, and its compiled loops."""
    return [
        Library("numpy", "numpy", "arrays", reported=("numpy",)),
        Library("shapely", "shapely", "geometry"),
        Library(
            "slideloom.pixels._kernels",
            "--force-reinstall slideloom-core with a C compiler; without it, results are the same but slower",
            "compiled loops",
            needed=False,
        ),
    ]
