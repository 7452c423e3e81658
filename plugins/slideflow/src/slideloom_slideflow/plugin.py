"""What `slideloom doctor` says of the drop-in."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, hookimpl


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """What this package stands on."""
    return [Library("PIL", "slideloom-slideflow", "pictures of slides as Pillow images")]
