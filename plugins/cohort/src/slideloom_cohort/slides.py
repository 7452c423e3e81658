"""What datasets do with the slides of all sources: find them, count them, plan their tiles, write thumbnails."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from attrs import frozen
from slideloom.base.errors import ConfigError, PluginError, SlideloomError
from slideloom.base.storing import path_inside, storing_in
from slideloom.drawing.pictures import Picture
from slideloom.pipeline.pipeline import RoiUse, Slides
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.opening import open_without_mpp
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import folder_of_regions
from slideloom.running.find_slides import find_slides
from slideloom.viewing.wsi import WSI

from slideloom_cohort.sources import Source
from slideloom_cohort.stored import StoredSlide

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)


class TiledSlides(Protocol):
    """The members of a dataset that loaders need; see `Dataset`."""

    @property
    def tiling(self) -> Tiling:
        """Size of tiles."""

    @property
    def sources(self) -> tuple[Source, ...]:
        """Where slides and tiles are."""

    @property
    def balanced(self) -> tuple[str, ...]:
        """What loaders balance by."""

    @property
    def label(self) -> str:
        """Tile size label."""

    def slide_paths(self) -> dict[str, Path]:
        """The file of each slide."""

    def patients(self) -> dict[str, str]:
        """The patient of each slide."""

    def labels(self, column: str) -> dict[str, str]:
        """The value of each slide in a column."""

    def stored(self) -> list[StoredSlide]:
        """The outputs for each slide."""


@frozen
class DatasetSummary:
    """Counts of a dataset; `print` shows them.

    Attributes:
        label: tile size label.
        slides: number of slides.
        patients: number of patients, or None without annotations.
        with_tiles: number of slides with stored tiles.
        tiles: number of stored tiles.
        missing: annotated slides without a file.
        damaged: slides whose TFRecord file is missing, cut short, or from a failed run.
        not_annotated: slides that are not in the annotations.
    """

    label: str
    slides: int
    patients: int | None
    with_tiles: int
    tiles: int
    missing: tuple[str, ...]
    not_annotated: tuple[str, ...]
    damaged: tuple[str, ...] = ()

    def __str__(self) -> str:
        patients = "" if self.patients is None else f" of {self.patients} patients"
        lines = [
            f"{self.label}: {self.slides} slides{patients}",
            f"{self.tiles} tiles of {self.with_tiles} slides stored",
        ]
        if self.missing:
            lines.append(f"{len(self.missing)} annotated slides have no file: {named(self.missing)}")
        if self.damaged:
            lines.append(f"{len(self.damaged)} slides lack their stored tiles: {named(self.damaged)}")
        if self.not_annotated:
            lines.append(f"{len(self.not_annotated)} slides are not annotated: {named(self.not_annotated)}")
        return "\n".join(lines)


def named(names: Sequence[str]) -> str:
    """The first few names and the number of the others, for a message."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def source_slides(source: Source) -> list[Path]:
    """The slide files of a source; an entry without files is left out."""
    found: list[Path] = []
    for entry in source.slides:
        try:
            found += [path for path in find_slides([entry]) if path.exists()]
        except ConfigError as error:
            log.info("source %s: %s", source.name, error)
    return list(dict.fromkeys(found))


def planned_tiles(source: Source, tiling: Tiling, path: Path, *, every: bool) -> pd.DataFrame:
    """The tiles of one slide's grid that the source's regions keep; see `Dataset.tile_dataframe`."""
    roi = () if source.roi is None or not source.roi.is_dir() else (RoiUse(source=folder_of_regions(source.roi)),)
    with WSI.of(path, tiling, roi=roi) as wsi:
        frame = wsi.tile_dataframe(every=every)
        frame.insert(0, "slide", wsi.name)
    return frame


def write_thumbnails(paths: Mapping[str, Path], folder: Path, *, max_px: int) -> dict[str, Path | SlideloomError]:
    """A PNG of each slide; see `Dataset.thumbnails`."""
    with storing_in(folder):
        folder.mkdir(parents=True, exist_ok=True)
    done: dict[str, Path | SlideloomError] = {}
    for name, path in paths.items():
        try:
            with open_without_mpp(path, Slides()) as slide:
                picture = Picture(slide.thumbnail(max_px=max_px))
        except SlideloomError as error:
            log.warning("no thumbnail of %s: %s", name, error)
            done[name] = error
            continue
        done[name] = path_inside(folder, f"{name}.png")
        with storing_in(folder):
            picture.save(path_inside(folder, f"{name}.png"))
    return done


def write_report(folder: Path, source: Source, outdir: Path | None) -> Path:
    """Write the PDF report on a folder of TFRecords, by the plugin that writes such reports."""
    reporter = registry().reporter()
    if reporter is None:
        raise PluginError("no installed plugin writes PDF reports: pip install slideloom brings one")
    path = (outdir or folder) / f"tile_extraction_report-{source.name}-{datetime.now():%Y%m%d-%H%M%S}.pdf"
    with storing_in(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
    return reporter.write(folder, path, source_slides(source))
