"""What is known of formats of slides."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Format, hookimpl

from slideloom_formats.known import Tiff


@hookimpl
def slideloom_formats() -> Sequence[Format]:
    """The formats that this package knows."""
    return [Tiff()]
