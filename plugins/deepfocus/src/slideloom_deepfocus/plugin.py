"""Models as slide QC, and DeepFocus."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Settings, SlideQc, hookimpl

from slideloom_deepfocus.settings import DeepFocus, StridedClasses, StridedModel


@hookimpl
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:
    """The slide QC steps of this package."""
    return [DeepFocus, StridedModel, StridedClasses]
