"""Filters of grey and white tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slideloom import Library, Settings, TileFilter, hookimpl

from slideloom_filters.settings import Grayspace, Whitespace


@hookimpl
def slideloom_tile_filters() -> Sequence[type[Settings[TileFilter]]]:
    """The filters of this package."""
    return [Grayspace, Whitespace]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """What this package stands on."""
    return [
        Library(
            "cv2",
            "opencv-python-headless",
            "resampling and quality control",
            reported=("opencv-python-headless",),
        )
    ]


@hookimpl
def slideloom_defaults() -> Mapping[str, str]:
    """Taken where nobody names one."""
    return {"filter": "grayspace"}
