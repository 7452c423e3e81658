"""What `slideloom doctor` says of PyTorch."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, hookimpl


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """What this package stands on."""
    return [
        Library(
            "torch", "slideloom[torch]", "deep plugins and torch loaders", needed=False, apart=True, reported=("torch",)
        )
    ]
