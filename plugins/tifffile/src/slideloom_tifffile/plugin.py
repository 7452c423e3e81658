"""The tifffile reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_tifffile.settings import TifffileReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [TifffileReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library("tifffile", "slideloom-tifffile", "TIFF in any layout", reported=("tifffile",)),
        Library("imagecodecs", "slideloom-tifffile", "TIFF in any compression", reported=("imagecodecs",)),
        Library("simplejpeg", "simplejpeg", "fast JPEG", reported=("simplejpeg",)),
        OPENCV,
    ]
