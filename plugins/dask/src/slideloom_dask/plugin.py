"""Runs slides on the workers of a Dask cluster."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Executor, Settings, hookimpl

from slideloom_dask.settings import Dask


@hookimpl
def slideloom_executors() -> Sequence[type[Settings[Executor]]]:
    """The executors of this plugin."""
    return [Dask]
