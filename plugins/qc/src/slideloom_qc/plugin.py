"""Slide quality control."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import OPENCV, Library, Settings, SlideQc, hookimpl

from slideloom_qc.settings import Gaussian, GaussianV2, Otsu, Pen, SavedMask, Tissue


@hookimpl
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:
    """The slide QC steps of this plugin."""
    return [Otsu, Gaussian, GaussianV2, Pen, Tissue, SavedMask]


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [OPENCV]
