"""A segmentation model as slide QC and as ROI source, and the command that trains it."""

from __future__ import annotations

from collections.abc import Sequence

from slideloom import Command, RoiSource, Settings, SlideQc, hookimpl

from slideloom_segmentation.cli import SEGMENT
from slideloom_segmentation.settings import SegmentQc, SegmentRoi


@hookimpl
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:
    """The model as slide QC."""
    return [SegmentQc]


@hookimpl
def slideloom_roi_sources() -> Sequence[type[Settings[RoiSource]]]:
    """The model as ROI source."""
    return [SegmentRoi]


@hookimpl
def slideloom_commands() -> Sequence[Command]:
    """`slideloom segment train` and `slideloom segment predict`."""
    return [SEGMENT]
