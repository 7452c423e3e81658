"""Slide quality control."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slideloom import OPENCV, Library, RoiSource, Settings, SlideQc, hookimpl

from slideloom_qc.settings import Gaussian, GaussianV2, MaskFiles, MaskRegions, Otsu, Pen, SavedMask, Tissue


@hookimpl
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:
    """The slide QC steps of this plugin."""
    return [Otsu, Gaussian, GaussianV2, Pen, Tissue, SavedMask, MaskFiles]


@hookimpl
def slideloom_roi_sources() -> Sequence[type[Settings[RoiSource]]]:
    """Masks as regions of interest."""
    return [MaskRegions]


@hookimpl
def slideloom_synonyms() -> Mapping[str, Mapping[str, str | Sequence[str]]]:
    """What Slideflow calls them: "blur" is its second Gaussian, "both" that and then Otsu."""
    return {"qc": {"blur": GaussianV2.name, "both": (GaussianV2.name, Otsu.name)}}


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [OPENCV, Library("tifffile", "slideloom-qc", "masks in TIFF files")]
