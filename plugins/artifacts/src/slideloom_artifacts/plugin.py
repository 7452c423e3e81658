"""The bundled model of artifacts as slide QC."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Settings, SlideQc, hookimpl

from slideloom_artifacts.settings import Artifacts


@hookimpl
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:
    """The slide QC steps of this package."""
    return [Artifacts]
