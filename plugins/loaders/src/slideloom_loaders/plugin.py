"""What `slideloom doctor` says about the loaders."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, hookimpl


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library(
            "torch", "slideloom[torch]", "deep plugins and torch loaders", needed=False, apart=True, reported=("torch",)
        ),
        Library("tensorflow", "slideloom[tensorflow]", "TensorFlow loaders", needed=False, apart=True),
    ]
