"""The sink of loose image files."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Settings, Sink, hookimpl

from slideloom_images.settings import Images


@hookimpl
def slideloom_sinks() -> Sequence[type[Settings[Sink]]]:
    """The sink."""
    return [Images]
