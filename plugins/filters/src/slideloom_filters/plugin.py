"""Filters of grey and white tiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slideloom import OPENCV, Library, Settings, TileFilter, hookimpl

from slideloom_filters.settings import Grayspace, Whitespace


@hookimpl
def slideloom_tile_filters() -> Sequence[type[Settings[TileFilter]]]:
    """The filters of this package."""
    return [Grayspace, Whitespace]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [OPENCV]


@hookimpl
def slideloom_defaults() -> Mapping[str, str]:
    """The tile filter of a pipeline that names none."""
    return {"filter": "grayspace"}
