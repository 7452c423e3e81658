"""Filters of grey and white tiles."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Settings, TileFilter, hookimpl

from slideloom_filters.settings import Grayspace, Whitespace


@hookimpl
def slideloom_tile_filters() -> Sequence[type[Settings[TileFilter]]]:
    """The filters of this package."""
    return [Grayspace, Whitespace]
