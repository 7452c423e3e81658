"""The versions of packages that took part in a run."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from typing import Any

from slideloom import __version__
from slideloom.plugins.discovery import name_and_version, registry
from slideloom.plugins.versions import step_versions
from slideloom.settings.options import Settings


def versions(steps: Iterable[Settings[Any]] = ()) -> dict[str, str]:
    """Versions of all slideloom distributions, of the steps' packages, and of the libraries that affect pixels."""
    found = {**_library_versions(), **step_versions(steps)}
    found.update({plugin.dist: plugin.version for plugin in registry().plugins if plugin.dist.startswith("slideloom")})
    return dict(sorted(found.items()))


@cache  # looking them up takes as long as a hundred tiles
def _library_versions() -> dict[str, str]:
    names = {name for library in registry().libraries() for name in library.reported}
    found = {"slideloom-core": __version__}
    # Looked up one by one, because listing every installed distribution takes longer than a small slide.
    for name in ("slideloom", *names):
        with suppress(PackageNotFoundError):
            found[name] = name_and_version(distribution(name))[1]
    return found
