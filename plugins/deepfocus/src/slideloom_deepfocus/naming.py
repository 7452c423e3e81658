"""The error of a model that cannot be used, and how messages name the step it is in."""

from __future__ import annotations

from importlib.metadata import entry_points

_GROUP = "slideloom.v1"  # where plugins register


class ModelError(Exception):
    """A model fails, or its answer cannot be understood. The step turns it into a `PluginError` that names the step."""


def named(cls: type, step: str) -> str:
    """A step as messages name it, with plugin and version: `qc 'pen' of slideloom-green-pen 0.1.0`.

    Args:
        cls: its settings class; of a class that no installed plugin brought, the package is named.
        step: its name.
    """
    package = cls.__module__.split(".")[0]
    for point in entry_points(group=_GROUP):
        if point.dist is not None and point.module.split(".")[0] == package:
            return f"qc '{step}' of {point.dist.name} {point.dist.version}"
    return f"qc '{step}' of {package}"
