"""Any model as slide QC, and the DeepFocus network that finds tissue out of focus.

Names are imported at first use; torch, TensorFlow and onnxruntime when a step is built.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slideloom_deepfocus.settings import DeepFocus, StridedClasses, StridedModel, StridedModelSettings
    from slideloom_deepfocus.strided import PredictionMap, StridedModelQC
    from slideloom_deepfocus.strided_classes import StridedClassesQC
    from slideloom_deepfocus.strided_steps import shared_model

_HOME_OF = {
    "DeepFocus": "settings",
    "PredictionMap": "strided",
    "StridedClasses": "settings",
    "StridedClassesQC": "strided_classes",
    "StridedModel": "settings",
    "StridedModelQC": "strided",
    "StridedModelSettings": "settings",
    "shared_model": "strided_steps",
}

__all__ = [
    "DeepFocus",
    "PredictionMap",
    "StridedClasses",
    "StridedClassesQC",
    "StridedModel",
    "StridedModelQC",
    "StridedModelSettings",
    "shared_model",
]


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_deepfocus' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_deepfocus.{_HOME_OF[name]}"), name)
