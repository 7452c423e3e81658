"""The OME-Zarr reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_zarr.settings import OmeZarrReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [OmeZarrReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [Library("zarr", "slideloom-zarr", "OME-Zarr slides", reported=("zarr", "numcodecs")), OPENCV]
