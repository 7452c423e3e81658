"""Tissue segmentation: train on slides with labelled regions, then use the model as slide QC or as an ROI source.

Names are imported at first use; only training and prediction need PyTorch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "EpochReport": "logbook",
    "SegmentConfig": "settings",
    "SegmentModel": "model",
    "SegmentQc": "settings",
    "SegmentRoi": "settings",
    "predict": "predicting",
    "train": "training",
}

__all__ = ["EpochReport", "SegmentConfig", "SegmentModel", "SegmentQc", "SegmentRoi", "predict", "train"]

if TYPE_CHECKING:
    from slideloom_segmentation.logbook import EpochReport as EpochReport
    from slideloom_segmentation.model import SegmentModel as SegmentModel
    from slideloom_segmentation.predicting import predict as predict
    from slideloom_segmentation.settings import (
        SegmentConfig as SegmentConfig,
        SegmentQc as SegmentQc,
        SegmentRoi as SegmentRoi,
    )
    from slideloom_segmentation.training import train as train


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_segmentation' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_segmentation.{_HOME_OF[name]}"), name)
