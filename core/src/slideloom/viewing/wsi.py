"""A whole-slide image in Python: look at it, mask it, list and read its tiles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.addresses import SlidePlace, place_of
from slideloom.base.errors import ConfigError, MissingResolution
from slideloom.base.geometry import Rgb, Size
from slideloom.base.naming import naming
from slideloom.drawing.pictures import Picture, outlined
from slideloom.extraction.engine import blocks_of
from slideloom.extraction.overview import plan_picture, slide_html
from slideloom.pipeline.from_words import pipeline_from_words
from slideloom.pipeline.fronts import PYTHON
from slideloom.pipeline.pipeline import Pipeline, QcUse, RoiUse, Slides
from slideloom.pipeline.tiling import Tiling
from slideloom.planning.deciding import check_qc_result
from slideloom.planning.ledger import Ledger
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import plan_slide
from slideloom.planning.prepared import PreparedSlide
from slideloom.plugins.given_steps import Step, steps_in
from slideloom.plugins.shorthand import folder_of_regions, steps_settings
from slideloom.settings.field_names import hinted
from slideloom.settings.options import Settings
from slideloom.slides.info import SlideInfo
from slideloom.slides.regions import Regions, RoiMethod
from slideloom.slides.slide import Slide
from slideloom.slides.tiles import TileGeometry, Tiles
from slideloom.steps.slide_qc import QcResult
from slideloom.viewing.frames import named_by_place, tile_frame

if TYPE_CHECKING:
    import pandas as pd

_READ_AT_ONCE = 16
_OWN_MASK = "own"  # how accounts call a mask that the caller made
NO_ARGUMENT = {
    "max_tiles": "chosen from the tiles that filters keep, and no filter runs",
    "exclude": "it is one slide",
    "recursive": "it is one slide",
    "filter_threshold": "each call of `qc` has its own",
}
"""Options that `WSI` does not take, besides those of `run`, and why."""


@frozen
class TileView:
    """One tile with its pixels.

    Attributes:
        rgb: (tile_px, tile_px, 3) uint8.
        loc_x, loc_y: its centre in level-0 pixels.
        grid_x, grid_y: column and row.
        label: of its region, or None.
    """

    rgb: Rgb = field(eq=False, repr=lambda rgb: f"<{rgb.shape[1]} x {rgb.shape[0]} pixels>")
    loc_x: int
    loc_y: int
    grid_x: int
    grid_y: int
    label: str | None


class WSI:
    """A slide divided into tiles, for interactive work and for scripts. Nothing is written.

    Args:
        path: the slide's file, or its address, such as "s3://bucket/a.svs", or a `Slide` that is open already and stays
            so: it keeps its reader, resolution and colours.
        tile_px: width and height of a tile image in pixels.
        tile_um: width of a tile in microns, or a magnification such as "10x".
        stride_div: stride is the tile's size divided by this.
        roi: a folder of ROI files or its address, or settings of a ROI source, or None.
        roi_method: "auto", "inside", "outside" or "ignore".
        roi_filter_method: "center", or the share of a tile's area that regions must cover.
        artifact_labels: labels of regions to cut out.
        mpp: microns per pixel, instead of the value that the slide records.
        mpp_file: CSV with the columns slide and mpp, which overrides everything else.
        allow_objective_power: use 10 / objective power as mpp if nothing else gives it.
        reader: name of the reader, or NAME:option=value.
        avoid_readers: names of readers not to choose automatically.
        icc: "srgb" transforms colours by the slide's ICC profile to sRGB.
        use_edge_tiles, edge_tiles: include tiles that extend beyond the right and bottom edges, with padding.
        randomize_origin: start the grid at a random place, which depends on `seed` and the slide's name.
        enable_downsample: False reads level 0 only.
        use_bounds: stay within the slide's scanned bounds.
        seed: seed of the random origin.

    Raises:
        SlideError: the slide cannot be opened; `MissingResolution` if its mpp is not known.
        ConfigError: an argument is wrong.
    """

    @hinted
    def __init__(
        self,
        path: SlidePlace | str | Slide,
        tile_px: int,
        tile_um: float | str,
        *,
        stride_div: float = 1.0,
        roi: SlidePlace | str | Settings[Any] | None = None,
        roi_method: RoiMethod = "auto",
        roi_filter_method: float | Literal["center"] = "center",
        artifact_labels: Sequence[str] = (),
        mpp: float | None = None,
        mpp_file: Path | str | None = None,
        allow_objective_power: bool = False,
        reader: str | None = None,
        avoid_readers: Sequence[str] = (),
        icc: Literal["keep", "srgb"] = "keep",
        use_edge_tiles: bool = False,
        edge_tiles: bool = False,
        randomize_origin: bool = False,
        enable_downsample: bool = True,
        use_bounds: bool = False,
        seed: int = 0,
    ) -> None:
        given = dict(locals())  # arguments have the names of the options
        given["use_edge_tiles"] = use_edge_tiles or edge_tiles
        folder = folder_of_regions(place_of(roi)) if isinstance(roi, str | SlidePlace) else roi
        regions = [] if folder is None else [folder]
        self._open(path, pipeline_from_words(given, roi=regions, filters=[], sinks=[]))

    @classmethod
    def of(
        cls, path: SlidePlace | str | Slide, tiling: Tiling, *, slides: Slides | None = None, roi: Sequence[RoiUse] = ()
    ) -> Self:
        """A slide from settings objects, such as those of a `Pipeline`."""
        made = cls.__new__(cls)
        made._open(path, Pipeline(tiles=tiling, slides=slides or Slides(), roi=tuple(roi)))
        return made

    def _open(self, path: SlidePlace | str | Slide, pipeline: Pipeline) -> None:
        with naming(PYTHON, is_last=True):
            self._planned(path, pipeline)

    def _planned(self, path: SlidePlace | str | Slide, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self._is_own = not isinstance(path, Slide)
        self.slide = (
            _as_given(path, pipeline.slides) if isinstance(path, Slide) else open_slide(path, slides=pipeline.slides)
        )
        try:
            self._prepared = PreparedSlide(plan_slide(self.slide, self._pipeline))
            self._prepared.decide()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file, unless it was open before."""
        if self._is_own:
            self.slide.close()

    @property
    def info(self) -> SlideInfo:
        """Metadata of the slide."""
        return self.slide.info

    @property
    def name(self) -> str:
        """The slide's name."""
        return self.slide.info.name

    @property
    def mpp(self) -> float:
        """Microns per pixel of level 0, mean of x and y."""
        return self.slide.info.mpp.mean if self.slide.info.mpp is not None else float("nan")

    @property
    def dimensions(self) -> tuple[int, int]:
        """Width and height of level 0 in pixels."""
        return self.slide.info.size.width, self.slide.info.size.height

    @property
    def geometry(self) -> TileGeometry:
        """Size, stride and level of the tiles."""
        return self._prepared.plan.scene.geometry

    @property
    def regions(self) -> Regions:
        """The regions of interest, empty if there are none."""
        return self._prepared.plan.scene.regions or Regions()

    @property
    def tiles(self) -> Tiles:
        """The tiles that regions and QC keep."""
        return self.ledger.tiles.take(self.ledger.candidates())

    @property
    def ledger(self) -> Ledger:
        """The account of every planned tile."""
        return self._prepared.record.ledger

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about regions and QC."""
        return tuple(self._prepared.record.warnings)

    @property
    def blur_burden(self) -> float | None:
        """Share of tissue out of focus, 0-1; None until both a background QC and a blur QC have run."""
        return self._prepared.record.burden

    @property
    def qc_results(self) -> tuple[QcResult, ...]:
        """Results of the QC steps, in the order in which they ran."""
        return tuple(finding.result for finding in self._prepared.record.qc)

    @property
    def grid(self) -> NDArray[np.bool_]:
        """(columns, rows) bool, True where a tile is kept."""
        every = self._prepared.plan.tiles
        shape = (int(every.grid_x.max(initial=-1)) + 1, int(every.grid_y.max(initial=-1)) + 1)
        grid = np.zeros(shape, bool)
        kept = self.tiles
        grid[kept.grid_x, kept.grid_y] = True
        return grid

    def __len__(self) -> int:
        return len(self.ledger.candidates())

    def __repr__(self) -> str:
        mpp = self.slide.info.mpp
        where = f"{mpp.mean:g} um per pixel from {mpp.source}" if mpp is not None else "mpp unknown"
        width, height = self.dimensions
        return (
            f"<WSI {self.name}: {width} x {height}, {where}; "
            f"{len(self)} of {len(self.ledger)} tiles of {self.geometry.label}>"
        )

    def _repr_html_(self) -> str:
        return slide_html(self._prepared.plan, self._prepared.record, title=repr(self))

    def qc(
        self,
        steps: Step | Sequence[Step],
        *,
        filter_threshold: float = 0.6,
        **options: Any,
    ) -> QcResult | list[QcResult]:
        """Run slide QC and drop the tiles that it masks. The results of earlier QC stay.

        Args:
            steps: a name such as "otsu", settings such as `Otsu()`, your own step, or a list of these. A name may stand
                for several steps: "both" is blur and Otsu.
            filter_threshold: drop a tile if more than this share of it is masked.
            options: options for a single step that is given by name.

        Returns:
            The result, or a list of results for a list or a name that stands for several steps.

        Raises:
            ConfigError: a name or an option is wrong.
        """
        given = steps_in(steps)
        is_one = not isinstance(steps, Sequence) or isinstance(steps, str)
        if options and not is_one:
            raise ConfigError(
                f"options {', '.join(options)} need a single step; pass settings objects in the list instead"
            )
        found = [settings for step in given for settings in steps_settings("qc", step, options)]
        with _refusing():
            uses = [QcUse(step=settings, filter_threshold=filter_threshold) for settings in found]
        results = [self._prepared.assess(use) for use in uses]
        return results[0] if is_one and len(results) == 1 else results

    def apply_mask(self, result: QcResult, *, filter_threshold: float = 0.6) -> None:
        """Drop the tiles of which more than `filter_threshold` is covered by your own mask."""
        check_qc_result(result, "mask")
        if not 0 <= filter_threshold <= 1:
            raise ConfigError(f"filter_threshold must be from 0 to 1, not {filter_threshold!r}")
        self._prepared.add(_OWN_MASK, result, filter_threshold=filter_threshold)

    def remove_qc(self) -> None:
        """Remove all QC results; the tiles that QC dropped are kept again."""
        self._prepared.decide()

    def tile_dataframe(self, *, every: bool = False) -> pd.DataFrame:
        """One row per kept tile: loc_x, loc_y, grid_x, grid_y, roi_name, roi_desc, label.

        Args:
            every: include dropped tiles, with a column `status` ("kept", or the step that dropped the tile).
        """
        return tile_frame(self._prepared.plan, self._prepared.record, every=every)

    def get_tile_dataframe(self) -> pd.DataFrame:
        """`tile_dataframe` with an index of text, "SLIDE-LOC_X-LOC_Y", as scripts of the field know it."""
        return named_by_place(self.tile_dataframe(), slide=self.name)

    def thumb(self, *, max_px: int = 1024, mpp: float | None = None, rois: bool = False) -> Picture:
        """A thumbnail of the slide.

        Args:
            max_px: maximum width and height in pixels, if `mpp` is not given.
            mpp: resolution in microns per pixel.
            rois: draw the outlines of the regions.
        """
        picture = Picture(self.slide.thumbnail(max_px=None if mpp is not None else max_px, mpp=mpp))
        return outlined(picture, self.regions, whole=self.info.size) if rois else picture

    def preview(self, *, max_px: int = 2048) -> Picture:
        """A picture of the slide with its regions, masks, kept and dropped tiles."""
        return plan_picture(self._prepared.plan, self._prepared.record, max_px=max_px)

    def __getitem__(self, place: tuple[int, int]) -> Rgb:
        """The tile in a column and row of the grid, even if it was dropped: (tile_px, tile_px, 3) uint8.

        Raises:
            IndexError: the grid has no tile there.
            SlideError: the tile's pixels cannot be read.
        """
        column, row = place
        every = self._prepared.plan.tiles
        found = np.flatnonzero((every.grid_x == column) & (every.grid_y == row))
        if not len(found):
            columns, rows = self.grid.shape
            raise IndexError(f"no tile at column {column}, row {row}; the grid has {columns} columns and {rows} rows")
        return self._read(every.take(found[:1]))[0]

    def __iter__(self) -> Iterator[TileView]:
        """The kept tiles, in an order that keeps neighbours together."""
        regions = self._prepared.plan.regions
        for block in blocks_of(self.tiles, downsample=self.info.levels[self.geometry.level].downsample):
            for start in range(0, len(block), _READ_AT_ONCE):
                part = block.take(slice(start, start + _READ_AT_ONCE))
                columns = (part.loc_x, part.loc_y, part.grid_x, part.grid_y, part.roi)
                rows = zip(*(column.tolist() for column in columns), strict=True)
                for rgb, (x, y, column, row, roi) in zip(self._read(part), rows, strict=True):
                    yield TileView(rgb, x, y, column, row, regions[roi].label if roi >= 0 else None)

    def _read(self, tiles: Tiles) -> list[Rgb]:
        size = Size(self.geometry.tile_px, self.geometry.tile_px)
        return self.slide.read_boxes(tiles.boxes(), size, level=self.geometry.level)


@contextmanager
def _refusing() -> Iterator[None]:
    """Within it, the `ValueError` of an option that is out of range becomes a `ConfigError`."""
    try:
        yield
    except ValueError as error:
        raise ConfigError(str(error)) from error


def _as_given(slide: Slide, rules: Slides) -> Slide:
    """A slide that the caller has opened.

    Raises:
        ConfigError: there are rules for how to open it.
        MissingResolution: its microns per pixel are not known.
    """
    if rules != Slides():
        raise ConfigError(
            f"{slide.info.name}: is open already, so its reader, resolution and colours cannot be chosen; open it with "
            "these options (open_slide), or give its path"
        )
    if slide.info.mpp is None:
        raise MissingResolution(
            f"{slide.info.name}: no microns per pixel recorded; open it with open_slide(path, mpp=...)"
        )
    return slide
