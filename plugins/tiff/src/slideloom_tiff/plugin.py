"""The reader of tiled JPEG SVS and TIFF."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_tiff.settings import TiffReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader `tiff`."""
    return [TiffReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library("simplejpeg", "simplejpeg", "fast JPEG", reported=("simplejpeg",)),
        OPENCV,
    ]
