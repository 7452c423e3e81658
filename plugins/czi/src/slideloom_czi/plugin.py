"""The CZI reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_czi.settings import CziReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [CziReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [Library("pylibCZIrw", "slideloom-czi", "Zeiss CZI slides", reported=("pylibCZIrw",)), OPENCV]
