"""The libvips reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_vips.settings import VipsReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [VipsReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library("pyvips", "slideloom-vips", "TIFF, JPEG and PNG", reported=("pyvips", "pyvips-binary")),
        Library("simplejpeg", "simplejpeg", "fast JPEG", reported=("simplejpeg",)),
        OPENCV,
    ]
