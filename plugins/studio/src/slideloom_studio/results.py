"""What a run left in its output folder: which tiles of each slide were kept, and why the others were not."""

from __future__ import annotations

import csv
import math
import threading
from collections import OrderedDict
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom.base.errors import ConfigError, SlideloomError
from slideloom.base.files import FileState
from slideloom.base.geometry import Size
from slideloom.base.naming import option_given
from slideloom.base.parsing import parse_json
from slideloom.drawing.pictures import colour_of, reason_colours
from slideloom.extraction.finished import reports_in
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.slides.tiles import Tiles
from slideloom.steps.reports import SlideReport
from slideloom.viewing.views import TileMap

from slideloom_studio.decided import Decisions, Grid

STORED_VERSION = 1
"""Version of decisions out of files; those that the studio makes count from there."""
_FOLDER = "slideloom"
_PLACES = ("loc_x", "loc_y", "grid_x", "grid_y", "status")
_MOST_KEPT = 3  # slides whose tables are kept


@frozen
class StoredTiles:
    """The tile table of a slide.

    Attributes:
        tiles: the planned tiles.
        status: N words: "kept", or why a tile was dropped.
        labels: N labels of regions, "" for none.
        scores: by step, (N,) numbers; NaN where the step did not see the tile.
        tile_map: the grid as an image.
        decisions: what the page draws.
        grid: where tiles are.
    """

    tiles: Tiles
    status: list[str]
    labels: list[str]
    scores: Mapping[str, NDArray[np.float64]]
    tile_map: TileMap
    decisions: Decisions
    grid: Grid | None


class Results:
    """The output folder of a run, for one size of tiles. Thread-safe.

    Args:
        root: the output folder.

    Raises:
        ConfigError: it holds no run.
    """

    def __init__(self, root: Path) -> None:
        self.folder = OutputFolder(root, _newest_label(root))
        self._lock = threading.Lock()
        self._tables: OrderedDict[str, tuple[FileState, StoredTiles]] = OrderedDict()
        self.problems: list[str] = []

    @cached_property
    def reports(self) -> Mapping[str, SlideReport]:
        """The reports of the slides, by name; damaged ones are told in `problems`."""
        found = {}
        for slide, report in reports_in(self.folder):
            if isinstance(report, SlideReport):
                found[report.slide] = report
            else:
                self.problems.append(f"{slide}: {report}")
        return found

    def pipeline(self) -> Pipeline:
        """The pipeline of the run.

        Raises:
            ConfigError: it cannot be read, or needs a plugin that is not installed.
        """
        path = self.folder.pipeline
        try:
            table: Any = parse_json(path.read_bytes())["pipeline"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ConfigError(f"{path}: is not the pipeline of a run ({error})") from error
        return pipeline_from_table(table, where=str(path))

    def tiles(self, slide: str) -> StoredTiles | None:
        """The tiles of a slide; None if the run left no table of them.

        Raises:
            SlideloomError: the table is damaged.
        """
        report = self.reports.get(slide)
        path = self.folder.tile_table(slide)
        state = FileState.of(path)
        if report is None or not state.is_there:
            return None
        with self._lock:
            known = self._tables.get(slide)
        if known is not None and known[0] == state:
            return known[1]
        made = _read(path, report)
        with self._lock:
            self._tables[slide] = (state, made)
            while len(self._tables) > _MOST_KEPT:
                self._tables.popitem(last=False)
        return made


def is_results(folder: Path) -> bool:
    """True for the output folder of a run."""
    return any((folder / _FOLDER).glob("*/pipeline.json"))


def _newest_label(root: Path) -> str:
    """The size of tiles of the last run, as folders name it."""
    found = sorted((root / _FOLDER).glob("*/pipeline.json"), key=lambda path: path.stat().st_mtime_ns)
    if not found:
        raise ConfigError(f"{root}: is not the output folder of a run")
    return found[-1].parent.name


def _read(path: Path, report: SlideReport) -> StoredTiles:
    columns: dict[str, list[str]] = {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = csv.reader(file)
            header = next(rows)
            columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=False))
        if not columns:
            columns = {name: [] for name in header}
        x, y, grid_x, grid_y = (np.array(columns[name], dtype=np.int64) for name in _PLACES[:4])
        status = ["kept" if word in ("written", "dry-run") else word for word in columns["status"]]
        scores = {name: np.array([float(cell or "nan") for cell in columns[name]]) for name in header if ":" in name}
    except (OSError, ValueError, KeyError, StopIteration, csv.Error) as error:
        raise SlideloomError(
            f"{path}: is not the tile table of a run ({error}); run it again with {option_given('run', 'redo', True)}"
        ) from error
    footprint, stride = Size(*report.footprint), Size(*report.stride)
    left, top = x - math.floor(footprint.width / 2), y - math.floor(footprint.height / 2)
    count = len(status)
    tiles = Tiles(np.arange(count), left, top, grid_x, grid_y, np.full(count, -1), footprint=footprint)
    tile_map = _map(tiles, status, report)
    is_grid = count > 0 and bool(np.all(np.diff(left - grid_x * stride.width) == 0))
    return StoredTiles(
        tiles=tiles,
        status=status,
        labels=columns.get("label", [""] * count),
        scores=scores,
        tile_map=tile_map,
        decisions=Decisions.of(tile_map),
        grid=Grid.of(tiles, stride, tile_map.codes.shape) if is_grid else None,
    )


def _map(tiles: Tiles, status: list[str], report: SlideReport) -> TileMap:
    words = ("", "kept", *(word for word in dict.fromkeys(status) if word != "kept"))
    number = {word: code for code, word in enumerate(words)}
    shape = int(tiles.grid_y.max(initial=-1)) + 1, int(tiles.grid_x.max(initial=-1)) + 1
    codes, index = np.zeros(shape, np.uint16), np.full(shape, -1, np.int32)
    codes[tiles.grid_y, tiles.grid_x] = [number[word] for word in status]
    index[tiles.grid_y, tiles.grid_x] = tiles.index
    known = reason_colours(report.qc_kinds, report.qc_classes)
    return TileMap(codes, index, words, {word: known.get(word) or colour_of(word) for word in words[1:]})
