"""The sink that stores what a model makes of each tile."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Library, Settings, Sink, hookimpl

from slideloom_features.settings import Features


@hookimpl
def slideloom_sinks() -> Sequence[type[Settings[Sink]]]:
    """The sink."""
    return [Features]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that models may need."""
    return [
        Library(
            "onnxruntime",
            "slideloom-features[onnx]",
            "ONNX models",
            needed=False,
            apart=True,
            reported=("onnxruntime",),
        ),
        Library("timm", "slideloom-features[timm]", "models of timm", needed=False, apart=True, reported=("timm",)),
    ]
