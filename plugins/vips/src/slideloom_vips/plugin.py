"""The libvips reader."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Reader, Settings, hookimpl

from slideloom_vips.settings import VipsReader


@hookimpl
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:
    """The reader of this package."""
    return [VipsReader]
