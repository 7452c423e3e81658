"""The HDF5 sink."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, Settings, Sink, hookimpl

from slideloom_hdf5.settings import HDF5


@hookimpl
def slideloom_sinks() -> Sequence[type[Settings[Sink]]]:
    """The sink."""
    return [HDF5]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [Library("h5py", "slideloom-hdf5", "HDF5 output", needed=False)]
