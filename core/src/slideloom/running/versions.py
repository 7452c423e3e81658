"""Which versions took part in a run."""

from __future__ import annotations

from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from slideloom import __version__
from slideloom.plugins.discovery import registry


def versions() -> dict[str, str]:
    """Version of every slideloom distribution and of the libraries that touch pixels."""
    found = dict(_library_versions())
    found.update({plugin.dist: plugin.version for plugin in registry().plugins if plugin.dist.startswith("slideloom")})
    return dict(sorted(found.items()))


@cache  # looking them up takes as long as a hundred tiles
def _library_versions() -> dict[str, str]:
    names = {name for library in registry().libraries() for name in library.reported}
    found = {"slideloom-core": __version__}
    # Looked up one by one: going through every distribution there is takes longer than a small slide.
    for name in ("slideloom", *names):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found
