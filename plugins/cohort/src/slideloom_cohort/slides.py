"""What datasets do with the slides of all sources: find them, count them, plan their tiles, write thumbnails."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from attrs import frozen
from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import ConfigError, PluginError, SlideloomError
from slideloom.base.storing import path_of_name, storing_in
from slideloom.drawing.pictures import Picture
from slideloom.pipeline.pipeline import RoiUse, Slides
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.opening import open_without_mpp
from slideloom.planning.selection import select_tiles
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import folder_of_regions
from slideloom.running.find_slides import named_slides
from slideloom.running.looking_in_folders import tell_once
from slideloom.running.same_slides import FileStates, copies_among, same_slides
from slideloom.slides.names import NamedSlide, with_shared_names
from slideloom.slides.tiles import Tiles
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

    def slide_paths(self) -> dict[str, SlidePlace]:
        """The file of each slide."""

    def named_slides(self) -> dict[str, NamedSlide]:
        """The same, with what tells a slide from others."""

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


def slides_of_all(sources: Sequence[Source]) -> dict[str, NamedSlide]:
    """The slides of all sources by name. One that is in two of them, by a link or as a copy, is told.

    Raises:
        ConfigError: two slides have one name.
    """
    found: dict[str, NamedSlide] = {}
    for source in sources:
        for slide in source_slides(source):
            if slide.name in found:
                raise ConfigError(f"{slide}: another slide has this name: {found[slide.name]}; rename one")
            found[slide.name] = slide
    if len(sources) > 1:
        _tell_same(list(found.values()))
    return found


def _tell_same(slides: Sequence[NamedSlide]) -> None:
    """Say which slides count twice. Each may be meant, as sources have regions of their own."""
    states = FileStates()
    same = {one.place: other.place for one, other in same_slides(slides, states).items() if one is not other}
    copies = {one: other for one, other in copies_among(slides, states).items() if one not in same}
    for one, other in same.items():
        tell_once(f"{one}: is the same file as {other} of another source, and counts twice; leave it out of one source")
    for one, other in copies.items():
        tell_once(f"{one}: seems to be a copy of {other}, and counts twice; leave it out if it is one")


def source_slides(source: Source) -> list[NamedSlide]:
    """The slides of a source, as a run finds them; an entry without files is left out."""
    found = [slide for slide in _slides_in(source.slides, source) if _is_there(slide)]
    return with_shared_names(found, found) if source.recursive else found


def _slides_in(entries: Sequence[str], source: Source) -> list[NamedSlide]:
    """All entries at once, as a slide of one may be a link to one of another, or a part of it."""
    try:
        return named_slides(entries, recursive=source.recursive)
    except ConfigError as error:
        if len(entries) < 2:
            log.info("source %s: %s", source.name, error)
            return []
    there = [entry for entry in entries if _slides_in([entry], source)]
    return _slides_in(there, source) if there else []


def _is_there(slide: NamedSlide) -> bool:
    return not isinstance(slide.place, Path) or slide.place.exists()


def planned_tiles(source: Source, tiling: Tiling, slide: NamedSlide, *, every: bool) -> pd.DataFrame:
    """The tiles of one slide's grid that the source's regions keep; see `Dataset.tile_dataframe`."""
    with WSI.of(slide, tiling, roi=_regions_of(source)) as wsi:
        frame = wsi.tile_dataframe(every=every)
        frame.insert(0, "slide", wsi.name)
    return frame


def _regions_of(source: Source) -> tuple[RoiUse, ...]:
    is_there = source.roi is not None and source.roi.is_dir()
    return (RoiUse(source=folder_of_regions(source.roi)),) if is_there and source.roi is not None else ()


def with_places(frame: pd.DataFrame, source: Source, tiling: Tiling, slide: NamedSlide | None) -> pd.DataFrame:
    """The tiles of another program, with their column, row and region out of the slide.

    Args:
        frame: with the columns slide, loc_x and loc_y; others are added.
        source: whose regions count.
        tiling: whose grid the tiles are of; one off it has no column and row, nor one whose slide cannot be read.
        slide: the slide, or None if its file is not there.
    """
    import pandas as pd

    columns = _places(frame, source, tiling, slide) if slide is not None and len(frame) else {}
    for name in ("grid_x", "grid_y", "roi_name", "roi_desc", "label"):
        values = columns.get(name, [None] * len(frame))
        frame[name] = pd.Series(values, frame.index, dtype="Int64" if name.startswith("grid") else object)
    if not frame[["grid_x", "grid_y"]].isna().any(axis=None):
        frame = frame.astype({"grid_x": "int64", "grid_y": "int64"})
    return frame


def _places(frame: pd.DataFrame, source: Source, tiling: Tiling, slide: NamedSlide) -> dict[str, Sequence[Any]]:
    """Columns and rows, and regions, by the exact geometry of the slide; nothing where it cannot be read."""
    try:
        with WSI.of(slide, tiling, roi=_regions_of(source)) as wsi:
            geometry, regions = wsi.geometry, wsi.regions
    except SlideloomError as error:
        log.warning("tiles of %s have no column, row and region: %s", slide.place.name, error)
        return {}
    x = frame["loc_x"].to_numpy() - geometry.footprint.width // 2
    y = frame["loc_y"].to_numpy() - geometry.footprint.height // 2
    columns, off_x = np.divmod(x, geometry.stride.width)
    rows, off_y = np.divmod(y, geometry.stride.height)
    number = np.arange(len(frame))
    tiles = Tiles(number, x, y, columns, rows, np.full(len(frame), -1), footprint=geometry.footprint)
    owners = select_tiles(tiles, regions, method="inside", by="center").roi.tolist() if regions.items else []
    of = [regions.items[owner] if owner >= 0 else None for owner in owners] or [None] * len(frame)
    is_on = ((off_x == 0) & (off_y == 0)).tolist()
    return {
        "grid_x": [column if on else None for column, on in zip(columns.tolist(), is_on, strict=True)],
        "grid_y": [row if on else None for row, on in zip(rows.tolist(), is_on, strict=True)],
        "roi_name": [region.name if region else None for region in of],
        "roi_desc": [region.about if region else None for region in of],
        "label": [region.label if region else None for region in of],
    }


def write_thumbnails(paths: Mapping[str, SlidePlace], folder: Path, *, max_px: int) -> dict[str, Path | SlideloomError]:
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
        done[name] = target = path_of_name(folder, name, ending=".png")
        with storing_in(folder):
            target.parent.mkdir(parents=True, exist_ok=True)
            picture.save(target)
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
