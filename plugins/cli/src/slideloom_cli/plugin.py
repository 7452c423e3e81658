"""What `slideloom doctor` says of the command line."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, hookimpl


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """What this package stands on."""
    return [Library("rich", "slideloom-cli", "tables and progress bars")]
