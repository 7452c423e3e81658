"""The versions of packages that took part in a run, and of those that affect the output for a slide."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from slideloom.plugins.discovery import name_and_version, registry
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


def versions(steps: Iterable[Settings[Any]] = ()) -> dict[str, str]:
    """Versions of all slideloom distributions, of the steps' packages, and of the libraries that affect pixels."""
    found = {**_library_versions(), **step_versions(steps)}
    found.update({plugin.dist: plugin.version for plugin in registry().plugins if plugin.dist.startswith("slideloom")})
    return dict(sorted(found.items()))


def opening_versions() -> dict[str, str]:
    """Versions of everything that may have a part in opening a slide: all plugins, and their libraries."""
    return {**{plugin.dist: plugin.version for plugin in registry().plugins}, **versions()}


@cache  # looking them up takes as long as a hundred tiles
def _library_versions() -> dict[str, str]:
    from slideloom import __version__

    names = {name for library in registry().libraries() for name in library.reported}
    found = {"slideloom-core": __version__}
    # Looked up one by one, because listing every installed distribution takes longer than a small slide.
    for name in ("slideloom", *names):
        with suppress(PackageNotFoundError):
            found[name] = name_and_version(distribution(name))[1]
    return found
