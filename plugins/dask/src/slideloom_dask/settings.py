"""Settings of the Dask executor."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Executor, Settings, at_least, option, positive


@frozen
class Dask(Settings[Executor]):
    """Slides on the workers of a Dask cluster."""

    name: ClassVar[str] = "dask"
    step: ClassVar[str] = "slideloom_dask.executor:DaskExecutor"
    install: ClassVar[str] = "slideloom-dask"
    address: str | None = option(
        None,
        help="of the scheduler, or its JSON file; by default as Dask is configured, else a cluster on this machine",
        affects_output=False,
    )
    jobs: int = option(
        2, help="worker processes of the cluster on this machine", validator=at_least(1), affects_output=False
    )
    patience_s: float = option(
        60.0, help="wait this long for the first worker", unit="s", validator=positive, affects_output=False
    )
