"""Settings of the Dask executor."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Executor, Settings, at_least, option, positive


@frozen
class Dask(Settings[Executor]):
    """Runs slides on the workers of a Dask cluster."""

    name: ClassVar[str] = "dask"
    step: ClassVar[str] = "slideloom_dask.executor:DaskExecutor"
    install: ClassVar[str] = "slideloom-dask"
    address: str | None = option(
        None,
        help="address of the scheduler, or its JSON file; default: Dask's configuration, else a local cluster",
        affects_output=False,
    )
    jobs: int = option(
        2, help="worker processes of the cluster on this machine", validator=at_least(1), affects_output=False
    )
    patience_s: float = option(
        60.0,
        help="how long to wait for a scheduler, for its file, and for a worker if there is none",
        unit="s",
        validator=positive,
        affects_output=False,
    )
