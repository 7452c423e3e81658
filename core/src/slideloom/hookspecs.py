"""The hooks a plugin may implement. pluggy registers and observes; it never runs per tile."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import pluggy
from attrs import frozen

from slideloom.reports import RunReport, SlideReport
from slideloom.settings import Settings
from slideloom.steps import Executor, Normalizer, Placement, Reader, RoiSource, Sink, SlideQc, TileFilter, TileStores

PROJECT = "slideloom"
ENTRY_POINT_GROUP = "slideloom.v1"  # carries the API version; a break is a new group

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@frozen
class Command:
    """A sub-command that a plugin adds to the command line.

    Attributes:
        name: as typed after `slideloom`.
        help: one line.
        configure: adds the command's arguments to its parser.
        run: does the work and returns the exit code; imports what is heavy.
    """

    name: str
    help: str
    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


@hookspec
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:  # type: ignore[empty-body]
    """Settings classes of readers. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin; `slideloom plugins` shows it.
    """


@hookspec
def slideloom_roi_sources() -> Sequence[type[Settings[RoiSource]]]:  # type: ignore[empty-body]
    """Settings classes of ROI sources. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:  # type: ignore[empty-body]
    """Settings classes of slide QC steps. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_tile_filters() -> Sequence[type[Settings[TileFilter]]]:  # type: ignore[empty-body]
    """Settings classes of tile filters. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_normalizers() -> Sequence[type[Settings[Normalizer]]]:  # type: ignore[empty-body]
    """Settings classes of normalizers. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_sinks() -> Sequence[type[Settings[Sink]]]:  # type: ignore[empty-body]
    """Settings classes of sinks. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_placements() -> Sequence[type[Settings[Placement]]]:  # type: ignore[empty-body]
    """Settings classes of placements. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_executors() -> Sequence[type[Settings[Executor]]]:  # type: ignore[empty-body]
    """Settings classes of executors. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_tile_stores() -> Sequence[type[Settings[TileStores]]]:  # type: ignore[empty-body]
    """Settings classes of formats that loaders read tiles from. Called and judged as `slideloom_readers`."""


@hookspec
def slideloom_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Sub-commands for the command line. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin. A name that the core or an earlier plugin has is refused when
    the command line starts.
    """


@hookspec
def slideloom_run_started(slides: Sequence[Path], out: Path) -> None:
    """Prepare for a run. Called once per run, in the parent process, before the first slide.

    The return value is ignored. An error here is logged under the plugin's name and does not stop the run.
    """


@hookspec
def slideloom_slide_done(report: SlideReport) -> None:
    """Look at a finished slide. Called once per slide, in the parent process, in input order, also when it failed.

    The return value is ignored. An error here is logged under the plugin's name and does not stop the run.
    """


@hookspec
def slideloom_run_done(report: RunReport, out: Path) -> None:
    """Look at a finished run. Called once per run, in the parent process, after every slide and all files.

    The return value is ignored. An error here is logged under the plugin's name and does not stop the run.
    """
