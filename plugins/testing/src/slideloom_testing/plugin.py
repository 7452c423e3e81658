"""What `slideloom doctor` says about the testing package."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, hookimpl


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [Library("pytest", "slideloom-testing[tests]", "contracts for plugin authors", needed=False)]
