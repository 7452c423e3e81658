"""Slide quality control: background (Otsu, tissue), blur (Gaussian), pen marks, and masks from files."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOMES = {
    "Gaussian": "settings",
    "GaussianV2": "settings",
    "MaskFiles": "settings",
    "MaskRegions": "settings",
    "Otsu": "settings",
    "Pen": "settings",
    "SavedMask": "settings",
    "Tissue": "settings",
    "load_mask_png": "files",
    "save_mask_png": "files",
}

__all__ = [
    "Gaussian",
    "GaussianV2",
    "MaskFiles",
    "MaskRegions",
    "Otsu",
    "Pen",
    "SavedMask",
    "Tissue",
    "load_mask_png",
    "save_mask_png",
]

if TYPE_CHECKING:
    from slideloom_qc.files import load_mask_png as load_mask_png, save_mask_png as save_mask_png
    from slideloom_qc.settings import (
        Gaussian as Gaussian,
        GaussianV2 as GaussianV2,
        MaskFiles as MaskFiles,
        MaskRegions as MaskRegions,
        Otsu as Otsu,
        Pen as Pen,
        SavedMask as SavedMask,
        Tissue as Tissue,
    )


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOMES:
        raise AttributeError(f"module 'slideloom_qc' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_qc.{_HOMES[name]}"), name)
