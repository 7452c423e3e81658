"""A bundled model that tells tissue and artifacts apart, as slide QC with classes.

Names are imported at first use; torch when the step is built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slideloom_artifacts.settings import Artifacts as Artifacts

_HOME_OF = {"Artifacts": "settings"}

__all__ = ["Artifacts"]


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_artifacts' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_artifacts.{_HOME_OF[name]}"), name)
