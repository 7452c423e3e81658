"""The hooks that a plugin may implement. pluggy is used to register and observe, never per tile."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pluggy
from attrs import field, frozen

from slideloom.base.addresses import Address, SlidePlace
from slideloom.settings.options import Settings
from slideloom.slides.names import NamedSlide
from slideloom.slides.remote_file import RemoteFile
from slideloom.slides.remote_folder import RemoteFolder
from slideloom.slides.remote_tree import RemoteEntry
from slideloom.steps.executor import Executor
from slideloom.steps.format import Format
from slideloom.steps.normalizer import Normalizer
from slideloom.steps.placement import Placement
from slideloom.steps.reader import Reader
from slideloom.steps.remote_output import RemoteOutput
from slideloom.steps.reports import RunReport, SlideReport
from slideloom.steps.roi_source import RoiSource
from slideloom.steps.sink import Sink
from slideloom.steps.slide_qc import SlideQc
from slideloom.steps.store import TileStores
from slideloom.steps.tile_filter import TileFilter

PROJECT = "slideloom"
ENTRY_POINT_GROUP = "slideloom.v1"  # contains the API version; a breaking change means a new group

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@frozen
class Command:
    """A sub-command that a plugin adds to the command line.

    Attributes:
        name: as typed after `slideloom`.
        help: one line.
        configure: adds the command's arguments to its parser.
        run: does the work and returns the exit code; imports what is heavy. Where Ctrl-C stops it, `slideloom` says
            "interrupted" and the text that `run` has put into `interrupted` of its arguments by then, if any: what is
            kept, and how to go on.
    """

    name: str
    help: str
    configure: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], int]


@frozen
class Library:
    """A library that a plugin depends on, for `slideloom doctor` and for the versions in reports.

    Attributes:
        module: as imported, such as "cv2".
        install: what to install with pip if it is missing, such as "slideloom-qc".
        gives: what it is for, in a few words.
        needed: False if the plugin works without it, or only part of the plugin needs it.
        apart: True if importing it may kill the process on some machines; doctor then imports it in another process.
        reported: distributions whose versions belong in the report of a run, because they affect pixels.
        faults: releases that are known to be wrong, as in a requirement, and what is wrong with them, such as
            {"openslide-bin >=4.0.0.6,<4.0.0.12": "wrong bottom rows"}.
    """

    module: str
    install: str
    gives: str
    needed: bool = True
    apart: bool = False
    reported: tuple[str, ...] = ()
    faults: Mapping[str, str] = field(factory=dict, hash=False)


OPENCV = Library(
    "cv2", "opencv-python-headless", "resampling and quality control", reported=("opencv-python-headless",)
)
"""OpenCV, for the many plugins that depend on it."""


@frozen
class Reporter:
    """Writes a report of stored tiles.

    Attributes:
        name: such as "pdf".
        suffix: of its files, such as ".pdf".
        write: called with a folder (the output folder of a run, or any folder of stored tiles), the file to write, and
            where slides are now (may be empty), with their names where these are known; returns the file. It prints
            nothing.
    """

    name: str
    suffix: str
    write: Callable[[Path, Path, Sequence[SlidePlace | NamedSlide]], Path]


@frozen
class RemoteFiles:
    """Opens files that are not local.

    Attributes:
        name: such as "fsspec".
        open: called with an address; the open file. It raises `SlideError` if the file cannot be read.
        list: called with an address that ends in a slash, or holds a pattern such as `*.svs`; the addresses of the
            files there, sorted, and of folders that are Zarr slides, without what is in these. It raises `ConfigError`
            if the store cannot list, or there is no such folder.
        open_folder: called with the address of a slide that is a folder; the folder. It raises `SlideError` if the
            address cannot be used, and asks for no file yet. None if this opens files only.
        open_output: called before a run with the address of its output and the local folder in which it works; what
            puts finished files there. It raises `OutputError` if the address cannot be written, belongs to another
            folder, or another run puts files there. None if this only reads.
        entries: called with the address of a folder and False, what lies in it; with True, all files in it and below.
            It raises `FileNotFoundError` if there is no such folder, `Unlisted` if the store does not list folders, and
            `SlideError` if it does not answer; what it returns is complete. None if this lists no folders: then slides
            of several files are refused.
    """

    name: str
    open: Callable[[Address], RemoteFile]
    list: Callable[[Address], Sequence[Address]]
    open_folder: Callable[[Address], RemoteFolder] | None = None
    open_output: Callable[[Address, Path], RemoteOutput] | None = None
    entries: Callable[[Address, bool], Sequence[RemoteEntry]] | None = None


DEFAULTS: Mapping[str, str] = {"sink": "sink", "filter": "filter", "roi-folder": "roi", "store": "store"}
"""What a pipeline may leave out, and the kind of step that is then used.

This covers where tiles go, which tile filter is on, what reads a folder of regions, and what reads stored tiles.
"""


KINDS: Mapping[str, str] = {
    "reader": "slideloom_readers",
    "roi": "slideloom_roi_sources",
    "qc": "slideloom_slide_qc",
    "filter": "slideloom_tile_filters",
    "normalizer": "slideloom_normalizers",
    "sink": "slideloom_sinks",
    "placement": "slideloom_placements",
    "executor": "slideloom_executors",
    "store": "slideloom_tile_stores",
}
"""The hook for each kind of step, by the name used in pipeline files and messages."""


@hookspec
def slideloom_readers() -> Sequence[type[Settings[Reader]]]:  # type: ignore[empty-body]
    """Settings classes of readers. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin; `slideloom plugins` shows it.
    """


@hookspec
def slideloom_roi_sources() -> Sequence[type[Settings[RoiSource]]]:  # type: ignore[empty-body]
    """Settings classes of ROI sources. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_slide_qc() -> Sequence[type[Settings[SlideQc]]]:  # type: ignore[empty-body]
    """Settings classes of slide QC steps. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_tile_filters() -> Sequence[type[Settings[TileFilter]]]:  # type: ignore[empty-body]
    """Settings classes of tile filters. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_normalizers() -> Sequence[type[Settings[Normalizer]]]:  # type: ignore[empty-body]
    """Settings classes of normalizers. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_sinks() -> Sequence[type[Settings[Sink]]]:  # type: ignore[empty-body]
    """Settings classes of sinks. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_placements() -> Sequence[type[Settings[Placement]]]:  # type: ignore[empty-body]
    """Settings classes of placements. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_executors() -> Sequence[type[Settings[Executor]]]:  # type: ignore[empty-body]
    """Settings classes of executors. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_tile_stores() -> Sequence[type[Settings[TileStores]]]:  # type: ignore[empty-body]
    """Settings classes of formats from which loaders read tiles. Called and checked like `slideloom_readers`."""


@hookspec
def slideloom_commands() -> Sequence[Command]:  # type: ignore[empty-body]
    """Sub-commands for the command line. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin. A name already used by the core or by an earlier plugin is
    refused when the command line starts.
    """


@hookspec
def slideloom_defaults() -> Mapping[str, str]:  # type: ignore[empty-body]
    """Steps of this plugin that are used if none is named: a key of `DEFAULTS` to the step's name.

    Called once per process, when plugins are first asked for; an error or a wrong value blocks only this plugin. If two
    plugins offer a default for the same thing, neither is used: a pipeline that relies on it must name a step, so that
    installing a package never changes results.
    """


@hookspec
def slideloom_synonyms() -> Mapping[str, Mapping[str, str | Sequence[str]]]:  # type: ignore[empty-body]
    """Other names of this plugin's steps, as other programs call them: kind of step, other name, the step or steps.

    A name that stands for several steps is written where a list of steps is, and takes no options. A step that has the
    name itself comes first. Called once per process, when plugins are first asked for; an error or a wrong value blocks
    only this plugin. A name that two plugins give to steps of theirs is refused where it is used.
    """


@hookspec
def slideloom_libraries() -> Sequence[Library]:  # type: ignore[empty-body]
    """Libraries that this plugin depends on. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin. If two plugins name the same module, the first entry is used.
    For OpenCV, return `slideloom.OPENCV`.
    """


@hookspec
def slideloom_reporters() -> Sequence[Reporter]:  # type: ignore[empty-body]
    """Writers of reports. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin. A plugin that offers one also writes its report after each run
    that asks for reports (`run.report`), in `slideloom_run_done`.
    """


@hookspec
def slideloom_remote_files() -> Sequence[RemoteFiles]:  # type: ignore[empty-body]
    """What opens addresses such as `s3://bucket/a.svs`. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin. If two plugins offer one, addresses are refused until only one is
    installed: which of them reads a slide must not depend on their order.
    """


@hookspec
def slideloom_slide_formats() -> Sequence[Format]:  # type: ignore[empty-body]
    """What is known of formats of slides. Called once per process, when plugins are first asked for.

    An error or a wrong value blocks only this plugin. Formats are asked in this order, those of plugins in the order of
    their names, and the first that knows a file counts.
    """


@hookspec
def slideloom_run_started(slides: Sequence[SlidePlace], out: Path) -> None:
    """Prepare for a run. Called once per run, in the parent process, before the first slide.

    The return value is ignored. An error here does not stop the run; it is in the run's report under the plugin's name
    (`RunReport.problems`), and the exit code is 1.
    """


@hookspec
def slideloom_slide_done(report: SlideReport) -> None:
    """Look at a finished slide. Called once per slide, in the parent process, in input order, even if it failed.

    The return value is ignored. An error here does not stop the run; it is in the run's report under the plugin's name
    (`RunReport.problems`), and the exit code is 1.
    """


@hookspec
def slideloom_run_done(report: RunReport, out: Path) -> None:
    """Look at a finished run. Called once per run, in the parent process, after every slide and all files.

    Of runs that share a folder as shards, one that ends while others are at work tells only of its own slides, and has
    `report.is_left` set; one that ends alone tells of all slides so far. (Where locks do not work, it may do so again
    when it finds that another has added slides meanwhile.)

    The return value is ignored. An error here does not stop the run; it is in the run's report under the plugin's name
    (`RunReport.problems`), and the exit code is 1.
    """
