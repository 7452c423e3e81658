"""The versions of the core and of plugins that affect the output for a slide."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from slideloom.plugins.discovery import registry
from slideloom.settings.options import Settings


def step_versions(steps: Iterable[Settings[Any]], *, reader: str = "") -> dict[str, str]:
    """Version of the core and of each distribution that one of the steps, or the reader of this name, comes from.

    A step that no plugin offers is listed under its module, without a version.
    """
    from slideloom import __version__

    plugins = registry()
    classes = [type(step) for step in steps] + [cls for cls in plugins.all("reader") if cls.name == reader]
    found = {owner.dist: owner.version for owner in map(plugins.owner, classes)}
    found["slideloom-core"] = __version__
    return dict(sorted(found.items()))
