"""The iSyntax reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Reader, Settings, hookimpl

from slideloom_isyntax.settings import ISyntaxReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [ISyntaxReader]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [OPENCV]
