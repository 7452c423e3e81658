"""Slide QC by Slideflow's names, for `WSI.qc` and `extract_tiles(qc=...)`; called with a `WSI` it gives its mask."""

from __future__ import annotations

from slideloom_slideflow.adapting import refuse
from slideloom_slideflow.slide.qc import strided_dl as strided_dl
from slideloom_slideflow.slide.qc.masks import Gaussian as Gaussian, GaussianV2 as GaussianV2, Otsu as Otsu
from slideloom_slideflow.slide.qc.saver import Load as Load, Save as Save
from slideloom_slideflow.slide.qc.strided_dl import (
    DeepFocus as DeepFocus,
    StridedDL as StridedDL,
    StridedDL_V2 as StridedDL_V2,
)
from slideloom_slideflow.table import rows

__all__ = ["DeepFocus", "Gaussian", "GaussianV2", "Load", "Otsu", "Save", "StridedDL", "StridedDL_V2", "strided_dl"]


def __getattr__(name: str) -> object:
    if f"slide.qc.{name}" in rows():
        refuse(f"slide.qc.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
