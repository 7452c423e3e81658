"""Stain normalization and augmentation of H&E tiles, in numpy, PyTorch and TensorFlow.

Names are imported on first use, so importing this package loads neither OpenCV nor PyTorch nor TensorFlow.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "MacenkoFit": "fits",
    "ReinhardFit": "fits",
    "StainNormalizer": "normalizer",
    "TorchNormalizer": "torch_form",
    "Unfit": "fits",
    "VahadaneFit": "fits",
    "load_fit": "fits",
    "preset": "fits",
    "save_fit": "fits",
    "TensorflowNormalizer": "tensorflow_form",
}

__all__ = sorted(_HOME_OF)  # noqa: PLE0605 - computed from the table above

if TYPE_CHECKING:
    from slideloom_stain.fits import (
        MacenkoFit as MacenkoFit,
        ReinhardFit as ReinhardFit,
        Unfit as Unfit,
        VahadaneFit as VahadaneFit,
        load_fit as load_fit,
        preset as preset,
        save_fit as save_fit,
    )
    from slideloom_stain.normalizer import StainNormalizer as StainNormalizer
    from slideloom_stain.tensorflow_form import TensorflowNormalizer as TensorflowNormalizer
    from slideloom_stain.torch_form import TorchNormalizer as TorchNormalizer


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_stain' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_stain.{_HOME_OF[name]}"), name)
