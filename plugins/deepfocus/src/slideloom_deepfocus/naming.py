"""The error of an unusable model, and how messages name its step."""

from __future__ import annotations

from importlib.metadata import entry_points

_GROUP = "slideloom.v1"  # where plugins register


class ModelError(Exception):
    """A model fails, or its output is invalid. The step turns this into a `PluginError` that names the step."""


def named(cls: type, step: str) -> str:
    """A step as named in messages, with plugin and version: `qc 'pen' of slideloom-green-pen 0.1.0`.

    Args:
        cls: its settings class; if no installed plugin offers it, the package is named.
        step: its name.
    """
    package = cls.__module__.split(".")[0]
    for point in entry_points(group=_GROUP):
        if point.dist is not None and point.module.split(".")[0] == package:
            return f"qc '{step}' of {point.dist.name} {point.dist.version}"
    return f"qc '{step}' of {package}"
