"""The outputs for a slide: its TFRecords, its tile table, and its report."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen
from slideloom.base.csv_tables import unguarded
from slideloom.base.errors import ConfigError
from slideloom.base.naming import option_given
from slideloom.base.storing import names_in, path_of_name
from slideloom.extraction.output_folder import OutputFolder
from slideloom.slides.names import own_name
from slideloom.steps.reports import SlideReport
from slideloom.steps.store import TileStore

from slideloom_cohort.serving import counted_in, record_problem, table_problem, tile_stores, tiles_told
from slideloom_cohort.sources import Source

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_TEXT = ("status", "roi_name", "roi_desc", "label")


@frozen
class StoredSlide:
    """The outputs for one slide at one tile size.

    Attributes:
        slide: name of the slide.
        source: the source that it belongs to.
        label: tile size label.
        tfrecord: its TFRecord file, or None if there is none that can be trusted.
        tile_table: CSV of every planned tile, or None (tiles made by another program have none).
        problem: why its TFRecord file is missing or cannot be trusted; "" if all is well.
        table_problem: the same for its tile table.
    """

    slide: str
    source: Source
    label: str
    tfrecord: Path | None
    tile_table: Path | None
    problem: str = ""
    table_problem: str = ""

    def open(self) -> TileStore:
        """The stored tiles.

        Raises:
            ConfigError: there are none.
        """
        if self.tfrecord is None:
            where = self.source.tfrecords / self.label
            raise ConfigError(
                f"slide {self.slide} has no TFRecord file in {where}" + f": {self.problem}" * bool(self.problem)
            )
        return tile_stores().open(self.tfrecord)

    def report(self) -> SlideReport | None:
        """The report of the run that made the tiles, or None.

        Raises:
            ConfigError: the report is damaged.
        """
        path = OutputFolder(self.source.out, self.label).report(self.slide)
        try:
            return SlideReport.load(path)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path}: the slide's report cannot be read ({error}); run the slide again") from error

    def count(self) -> int:
        """Number of stored tiles."""
        if self.tfrecord is None:
            return 0
        return tiles_told(OutputFolder(self.source.out, self.label), self.slide, self.tfrecord) or len(self.open())

    def table(self, *, every: bool = False) -> pd.DataFrame:
        """One row per tile; the first column is `slide`.

        Args:
            every: include dropped tiles, with the column `status`.

        Raises:
            ConfigError: the tile table cannot be read.
        """
        import pandas as pd

        if self.tile_table is None:
            locations = self.open().locations
            places = np.empty((0, 2), np.int64) if locations is None else locations
            frame = pd.DataFrame({"loc_x": places[:, 0], "loc_y": places[:, 1]})
        else:
            frame = read_tile_table(self.tile_table)
            if not every:
                frame = frame[frame["status"] == "written"].drop(columns="status")
        frame.insert(0, "slide", self.slide)
        return frame.reset_index(drop=True)


def read_tile_table(path: Path) -> pd.DataFrame:
    """A tile table with typed columns; blank text is None.

    Raises:
        ConfigError: it cannot be read.
    """
    import pandas as pd

    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(_TEXT, str), keep_default_na=False, na_values=[""])
        for name in _TEXT:
            text = frame[name].map(unguarded, na_action="ignore")
            frame[name] = text.astype(object).where(text.notna(), None)
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(
            f"{path}: the tile table cannot be read ({error}); run the slide again with "
            f"{option_given('run', 'redo', True)}"
        ) from error
    return frame


def stored_slides(source: Source, label: str) -> list[StoredSlide]:
    """The slides of a source that have a TFRecord file or tile table of this size, or should have by their report."""
    suffix, folder = ".tfrecords", OutputFolder(source.out, label)
    home = source.tfrecords / label
    counts = counted_in(home)
    names = {path.name[: -len(suffix)] for path in _files(home, suffix)} | set(counts)
    for kind, ending in (("tiles", ".csv"), ("slides", ".json")):
        names.update(name for name in names_in(folder.state / kind, ending) if not own_name(name).startswith("."))
    unknown = sorted(name for name in names_in(home, suffix) if "/" in name and name not in names)
    if unknown:
        _tell_unknown(home, len(unknown), unknown[0])
    found = [
        _stored(source, folder, slide, path_of_name(home, slide, ending=suffix), counts) for slide in sorted(names)
    ]
    return [item for item in found if item.tfrecord or item.tile_table or item.problem or item.table_problem]


@lru_cache
def _tell_unknown(home: Path, count: int, first: str) -> None:
    log.warning(
        "%s: %d TFRecord files in its folders are not used, such as that of %s: no slide's report tells of them; copy "
        "the folder slideloom of their run, too",
        home,
        count,
        first,
    )


def _stored(source: Source, folder: OutputFolder, slide: str, record: Path, counts: Mapping[str, int]) -> StoredSlide:
    problem, damage = record_problem(folder, slide, record, counts), table_problem(folder, slide)
    table = folder.tile_table(slide)
    return StoredSlide(
        slide,
        source,
        folder.label,
        record if not problem and record.exists() else None,
        table if not damage and table.exists() else None,
        problem,
        damage,
    )


def _files(folder: Path, suffix: str) -> list[Path]:
    if not folder.is_dir():
        return []
    return [path for path in folder.iterdir() if path.name.endswith(suffix) and not path.name.startswith(".")]
