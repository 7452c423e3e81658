"""A segmentation model as slide QC and as ROI source, and the command that trains it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from slideloom import Command, RoiSource, Settings, SlideQc, hookimpl

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
    text = "train a segmentation model on labelled regions, or write the regions it finds"
    return [Command("segment", text, _configure, _run)]


def _configure(parser: ArgumentParser) -> None:
    from slideloom_segmentation.cli import configure

    configure(parser)


def _run(chosen: Namespace) -> int:
    from slideloom_segmentation.cli import run

    return run(chosen)
