"""The pipeline: which slides, which tiles, which steps. A file, the command line and Python make the same object."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen

from slideloom.base.addresses import Address
from slideloom.base.errors import ConfigError
from slideloom.base.naming import Naming
from slideloom.pipeline.tile_masks import REGIONS, TileMasks
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.builtin import Grid
from slideloom.settings.digest import digest_of
from slideloom.settings.options import Settings, option
from slideloom.settings.ranges import at_least, in_range, positive
from slideloom.settings.tables import plain
from slideloom.slides.regions import RoiMethod

VERSION = 1
# The revision of `slideloom.pixels`: increase it when pixels change; slides finished before are then processed again.
RESAMPLING = 2


@frozen
class Slides:
    """Which slides to read, and how."""

    include: tuple[str, ...] = option(
        (), help='files, folders or patterns such as "slides/**/*.svs"', affects_output=False
    )
    exclude: tuple[str, ...] = option((), help="patterns to leave out", affects_output=False, metavar="PATTERN")
    recursive: bool = option(
        False, help="also the slides in subfolders of folders; names then tell the folders", affects_output=False
    )
    reader: str | None = option(
        None,
        help="name of the reader, or NAME:option=value; by default the first that recognises the file",
        metavar="NAME",
    )
    avoid_readers: tuple[str, ...] = option(
        (), help="names of readers not to choose automatically", flag="--avoid-reader", metavar="NAME"
    )
    mpp: float | None = option(None, help="microns per pixel of every slide", unit="um", validator=positive)
    mpp_file: Path | None = option(None, help="CSV of slide,mpp that overrides everything else", metavar="CSV")
    allow_objective_power: bool = option(False, help="use 10 / objective power as mpp if nothing else gives it")
    icc: Literal["keep", "srgb"] = option(
        "keep", help="srgb transforms colours by each slide's ICC profile to sRGB; keep leaves them as stored"
    )


@frozen
class RoiUse:
    """How the regions of one source choose tiles."""

    source: Settings[Any] = option(help="the ROI source")
    method: RoiMethod = option(
        "auto",
        help="auto (inside if a slide has regions), inside, outside (both skip slides without regions) or ignore",
        field="roi_method",
        flag="--roi-method",
    )
    filter_method: Literal["center", "proportion"] = option(
        "center", help="whether regions must hold a tile's centre, or a share of its area"
    )
    threshold: float = option(
        0.5, help="the share of a tile's area, for filter_method proportion", validator=in_range(0, 1)
    )
    artifacts: tuple[str, ...] = option(
        (), help="labels of regions to cut out", field="artifact_labels", flag="--roi-artifact", metavar="LABEL"
    )


@frozen
class QcUse:
    """How a slide QC's mask rejects tiles."""

    step: Settings[Any] = option(help="the slide QC")
    filter_threshold: float = option(
        0.6, help="reject a tile if more than this share is masked", validator=in_range(0, 1), metavar="SHARE"
    )


@frozen
class RunOptions:
    """How to run; never changes the output."""

    out: Path | Address | None = option(
        None, help="output folder, or its address; by default the folder of the pipeline file"
    )
    staging: Path | None = option(
        None,
        help="where the output is an address, the local folder to work in, which is kept; "
        "by default below slideloom-staging in the current folder",
        metavar="DIR",
    )
    jobs: int | None = option(
        None,
        help="number of processes, each with one slide at a time; by default chosen by cores and slides",
        validator=at_least(1),
    )
    threads: int | None = option(
        None, help="number of threads per slide; by default chosen by cores", validator=at_least(1)
    )
    executor: str | None = option(
        None,
        help='such as "processes" or "dask:address=tcp://head:8786"; by default in-process or processes',
        metavar="NAME",
    )
    buffer: Path | None = option(
        None, help="folder on a fast disk; slides are copied to it before they are read", metavar="DIR"
    )
    buffer_gb: float = option(50.0, help="maximum size of the buffer", unit="GB", validator=positive)
    batch_tiles: int = option(32, help="tiles per batch", validator=at_least(1))
    timeout_s: float | None = option(
        None,
        help="give up on a slide after this time; slides then run in their own processes",
        unit="s",
        validator=positive,
    )
    save_masks: bool = option(False, help="store each QC mask, as picture and for the step saved-mask")
    overview: bool = option(False, help="store a picture of kept and rejected tiles over the thumbnail")
    report: bool = option(False, help="write the PDF report and its tables")
    shard: str | None = option(
        None,
        help='share of the slides, such as "3/16", or "auto" in a job array; other runs in the folder have the others',
        metavar="K/N",
    )
    ignore_disk_space: bool = option(
        False, help="go on although the output is likely larger than what is free on its disk"
    )
    redo_updated: bool = option(
        False, help="process slides again that other versions of slideloom or the plugins used made"
    )
    redo: bool = option(False, help="process slides again that are finished or were made with other settings")


@frozen
class Pipeline:
    """Everything that a run needs.

    Attributes:
        slides: which slides to read, and how.
        tiles: size and placement of tiles.
        mask: the masks that are stored with them.
        roi, qc, filters, sinks: steps, in order.
        normalizer: the normalizer, or None.
        placement: where tiles are placed; None for a grid.
        run: how to run.
        front: how messages name options, if the pipeline was written on the command line, in Python or in a file.
    """

    tiles: Tiling
    slides: Slides = field(factory=Slides)
    roi: tuple[RoiUse, ...] = ()
    qc: tuple[QcUse, ...] = ()
    filters: tuple[Settings[Any], ...] = ()
    normalizer: Settings[Any] | None = None
    sinks: tuple[Settings[Any], ...] = ()
    placement: Settings[Any] | None = None
    run: RunOptions = field(factory=RunOptions)
    mask: TileMasks = field(factory=TileMasks)
    front: Naming | None = field(default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        labels = [sink.name for sink in self.sinks]
        if len(set(labels)) != len(labels):
            # A sink that has folders of its own below `folder` tells the one of its settings as `home`.
            folders = [(sink.name, getattr(sink, "home", getattr(sink, "folder", None))) for sink in self.sinks]
            if len(set(folders)) != len(folders):
                raise ConfigError(
                    f"two sinks write to the same place: {', '.join(labels)}; give them different folders"
                )
        if self.mask.of == REGIONS and not self.roi:
            raise ConfigError("masks of regions need a source of regions; name one, such as the folder of their files")
        label = self.mask.qc_label
        known = [use.step.label for use in self.qc]
        if label is not None and label not in known and re.sub(r"-\d+$", "", label) not in known:
            raise ConfigError(
                f"masks of {self.mask.of} need that slide QC; there is {', '.join(map(repr, known)) or 'none'}"
            )

    @property
    def places(self) -> Settings[Any]:
        """The placement, or a grid with the options in `tiles` if none is given."""
        if self.placement is not None:
            return self.placement
        tiles = self.tiles
        return Grid(
            edge_tiles=tiles.edge_tiles, random_origin=tiles.random_origin, use_bounds=tiles.use_bounds, seed=tiles.seed
        )

    @property
    def steps(self) -> tuple[Settings[Any], ...]:
        """The settings of every step that makes the output."""
        sources, qc = [use.source for use in self.roi], [use.step for use in self.qc]
        normalizer = () if self.normalizer is None else (self.normalizer,)
        return (self.places, *sources, *qc, *self.filters, *normalizer, *self.sinks)

    def as_table(self) -> dict[str, Any]:
        """Plain values in the layout of a pipeline file, `run` included."""
        table: dict[str, Any] = {"slideloom": VERSION, "slides": plain(self.slides), "tiles": plain(self.tiles)}
        if self.mask.of:
            table["mask"] = plain(self.mask)
        table["roi"] = [{**plain(use.source), **_without(plain(use), "source")} for use in self.roi]
        table["qc"] = [{**plain(use.step), **_without(plain(use), "step")} for use in self.qc]
        table["filter"] = [plain(step) for step in self.filters]
        if self.normalizer is not None:
            table["normalizer"] = plain(self.normalizer)
        if self.placement is not None:
            table["placement"] = plain(self.placement)
        table["sink"] = [plain(step) for step in self.sinks]
        table["run"] = plain(self.run)
        return table

    def digest(self) -> str:
        """SHA-256 (hex) of everything that affects the output, which the list of slides and `run` do not."""
        parts = [self.slides, self.tiles, self.roi, self.qc, self.filters, self.normalizer, self.sinks, self.placement]
        if self.mask.of:  # left out without masks, so that digests made before there were any stay valid
            parts.append(self.mask)
        return digest_of({"slideloom": VERSION, "resampling": RESAMPLING, "parts": parts})


def _without(table: Mapping[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in table.items() if name != key}


def pipeline_differences(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> list[str]:
    """Which keys differ between two pipelines as plain values, such as "tiles.stride_div: 1 -> 2"."""
    lines = []
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            lines.extend(pipeline_differences(before, after, f"{prefix}{key}."))
        elif before != after:
            lines.append(f"{prefix}{key}: {json.dumps(before)} -> {json.dumps(after)}")
    return lines
