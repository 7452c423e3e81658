"""The OpenSlide reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_openslide.settings import OpenSlideReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [OpenSlideReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library(
            "openslide",
            "slideloom-openslide",
            "whole-slide formats",
            reported=("openslide-python", "openslide-bin"),
            faults={
                "openslide-bin >=4.0.0.6,<4.0.0.12": "the bottom rows of uncompressed and deflate TIFF come out wrong"
            },
        ),
        Library("simplejpeg", "simplejpeg", "fast JPEG", reported=("simplejpeg",)),
        OPENCV,
    ]
