"""The state of a session: its slides, their regions, and the pipeline on screen."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from attrs import field, frozen
from slideloom import __version__
from slideloom.base.errors import SlideloomError
from slideloom.pipeline.pipeline import Pipeline
from slideloom.slides.info import SlideInfo

from slideloom_studio.deciding import Deciding
from slideloom_studio.extracting import Extraction
from slideloom_studio.pipeline_texts import PipelineText
from slideloom_studio.pipelines import PipelineOnScreen, pipeline_for
from slideloom_studio.pyramid import KeptPictures, tile_box, tile_rgb
from slideloom_studio.region_files import RegionFiles
from slideloom_studio.results import STORED_VERSION, Results, StoredTiles
from slideloom_studio.review import FILE as REVIEW_FILE, Review
from slideloom_studio.shelf import Entry, Shelf
from slideloom_studio.side_pictures import picture_names

log = logging.getLogger(__name__)

Mode = Literal["slides", "results"]


@frozen
class Opening:
    """What a studio is opened with.

    Attributes:
        title: of the page.
        entries: the slides.
        pipeline: the first pipeline on screen.
        out: the output folder of runs.
        roi: the folder that regions are saved to, or None where slides have different ones.
        read_only: True if nothing is to be written.
        exposed: True if other machines can reach the page.
        patients: of slides, where a project knows them.
        results: what a run left, where that is looked at.
        shows_pictures: True to show label and macro images, which may hold names.
    """

    title: str
    entries: tuple[Entry, ...]
    pipeline: Pipeline
    out: Path
    roi: Path | None = None
    read_only: bool = False
    exposed: bool = False
    patients: Mapping[str, str] = field(factory=dict)
    results: Results | None = None
    shows_pictures: bool = False

    @property
    def mode(self) -> Mode:
        """What is looked at."""
        return "slides" if self.results is None else "results"

    @property
    def review(self) -> Path:
        """The file of remarks."""
        return self.out / REVIEW_FILE


class Studio:
    """A session: everything that requests share."""

    def __init__(self, opening: Opening) -> None:
        self.opening = opening
        self.shelf = Shelf(opening.entries, opening.pipeline.slides)
        self.regions = RegionFiles(can_write=not opening.read_only and opening.mode == "slides")
        self.pictures = KeptPictures()
        self.review = Review(opening.review, patients=opening.patients, can_write=not opening.read_only)
        self.extraction = Extraction()
        self.pipeline = PipelineOnScreen(opening.pipeline, keeps_files=opening.exposed)
        self.deciding = Deciding(self.shelf, self.pipeline)

    def warm_up(self) -> None:
        """Open the first slide and read its coarse levels, so that a page need not wait for its first picture."""
        first = next(iter(self.opening.entries), None)
        if first is None:
            return
        try:
            with self.shelf.viewing(first.id) as view, self.shelf.lent(first.id) as slide:
                tile_rgb(view, tile_box(slide.info.size, z=0, column=0, row=0))
        except SlideloomError as error:  # told again when the page asks for it
            log.info("%s: %s", first.name, error)

    def close(self) -> None:
        """End what is at work, and close all slides."""
        self.extraction.close()
        self.deciding.close()
        self.shelf.close()

    def session(self) -> dict[str, Any]:
        """What the page shows around everything else."""
        opening = self.opening
        return {
            "version": __version__,
            "title": opening.title,
            "mode": opening.mode,
            "roi_folder": None if opening.roi is None else str(opening.roi),
            "out_folder": str(opening.out),
            "review_file": str(opening.review),
            "can_run": not opening.read_only and opening.mode == "slides",
            "can_write_regions": self.regions.can_write,
            "labels": self.regions.labels,
        }

    def row(self, entry: Entry) -> dict[str, Any]:
        """A slide in the list."""
        count, fault = self.regions.count(entry)
        report = None if self.opening.results is None else self.opening.results.reports.get(entry.name)
        error = self.shelf.errors.get(entry.id) or fault or (report.error if report is not None else None) or None
        remark = self.review.of(entry.name)
        status = remark.status if remark.status != "untouched" else "regions" if count else "untouched"
        about = {"id": entry.id, "name": entry.name, "status": status, "note": remark.note}
        tiles = {} if report is None else {"kept": report.kept, "planned": report.planned}
        return {**about, "regions": count, "error": error, **tiles}

    def stored(self, entry: Entry) -> StoredTiles | None:
        """What a run left of a slide, as long as nothing else is asked for."""
        results = self.opening.results
        if results is None or self.deciding.is_asked(entry):
            return None
        return results.tiles(entry.name)

    def decisions(self, entry: Entry) -> dict[str, Any]:
        """How far the decisions about a slide are, and what they are so far."""
        stored = self.stored(entry)
        table = self.deciding.table(entry)
        if stored is None:
            return table
        decisions, grid = stored.decisions, stored.grid
        return {
            **table,
            "revision": STORED_VERSION,
            "pipeline_revision": 1,
            "is_whole": True,
            "is_current": self.pipeline.now[0] == 1,
            "is_stored": True,
            "state": "ready",
            "planned": decisions.planned,
            "kept": decisions.counts[0],
            "counts": decisions.table(),
            "grid": None if grid is None else grid.table(),
        }

    def text(self, entry: Entry) -> PipelineText:
        """The pipeline on screen with the regions and the output folder of a slide's group."""
        _, pipeline = self.pipeline.now
        return PipelineText(pipeline_for(pipeline, entry.roi), entry.out or self.opening.out)

    def facts(self, entry: Entry) -> dict[str, Any]:
        """What is known of a slide."""
        with self.shelf.lent(entry.id) as slide:
            facts = {"id": entry.id, **_facts(slide.info)}
        return {**facts, "pictures": picture_names(entry.path)} if self.opening.shows_pictures else facts


def _facts(info: SlideInfo) -> dict[str, Any]:
    mpp, bounds = info.mpp, info.bounds
    return {
        "name": info.name,
        "width": info.size.width,
        "height": info.size.height,
        "mpp_x": None if mpp is None else mpp.x,
        "mpp_y": None if mpp is None else mpp.y,
        "mpp_source": None if mpp is None else mpp.source,
        "reader": info.reader,
        "levels": [
            {"width": level.size.width, "height": level.size.height, "downsample": level.downsample}
            for level in info.levels
        ],
        "bounds": None if bounds is None else [bounds.x, bounds.y, bounds.width, bounds.height],
        "objective_power": info.objective_power,
        "pictures": [],
        "error": None,
    }
