"""The format of stored tiles that datasets read."""

from __future__ import annotations

from functools import cache

from slideloom.plugins.discovery import registry
from slideloom.steps.store import TileStores


@cache
def tile_stores() -> TileStores:
    """The format of stored tiles that datasets read.

    Raises:
        PluginError: its plugin is not installed.
    """
    stores: TileStores = registry().find("store", registry().default("store"))().build()
    return stores
