"""What `slideloom doctor` says about the command line."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, hookimpl


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [Library("rich", "slideloom-cli", "tables and progress bars")]
