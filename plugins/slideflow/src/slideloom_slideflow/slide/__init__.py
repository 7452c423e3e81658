"""Slides by Slideflow's names: `WSI`, `ROI`, and the QC steps in `qc`."""

from __future__ import annotations

from slideloom_slideflow.adapting import refuse
from slideloom_slideflow.slide import qc as qc
from slideloom_slideflow.slide.roi import ROI as ROI
from slideloom_slideflow.slide.wsi import WSI as WSI
from slideloom_slideflow.table import rows

__all__ = ["ROI", "WSI", "qc"]


def __getattr__(name: str) -> object:
    if f"slide.{name}" in rows():
        refuse(f"slide.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
