"""H&E to Masson's trichrome and back with two CycleGAN generators, as a slideloom normalizer.

Names are imported at first use; only building the step needs PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "CycleGan": "settings",
    "CycleGanNormalizer": "normalizer",
    "ResnetGenerator": "generator",
}

__all__ = ["CycleGan", "CycleGanNormalizer", "ResnetGenerator"]

if TYPE_CHECKING:
    from slideloom_cyclegan.generator import ResnetGenerator as ResnetGenerator
    from slideloom_cyclegan.normalizer import CycleGanNormalizer as CycleGanNormalizer
    from slideloom_cyclegan.settings import CycleGan as CycleGan


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_cyclegan' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_cyclegan.{_HOME_OF[name]}"), name)
