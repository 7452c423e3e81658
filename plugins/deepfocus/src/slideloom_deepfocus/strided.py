"""Any model as slide QC: tiles to predictions, predictions to a map, the map to a mask."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import floor
from typing import Literal, Protocol, TypeVar, overload

import numpy as np
from attrs import evolve, field, frozen
from numpy.typing import NDArray
from slideloom import Box, Mask, PluginError, QcResult, Rgb, RgbBatch, Scene, Size, Slide, SlideError, SlideQc

from slideloom_deepfocus.blending import Blend, ClassBlend
from slideloom_deepfocus.centring import centred
from slideloom_deepfocus.models import predictor
from slideloom_deepfocus.naming import ModelError, named
from slideloom_deepfocus.scoring import check_count, range_note, scores_of
from slideloom_deepfocus.settings import StridedModel, StridedModelSettings
from slideloom_deepfocus.strided_grid import Block, StridedGrid, blocks, grid_for, mirrored_beyond, tissue_share
from slideloom_deepfocus.tally import Tally

_Cell = TypeVar("_Cell", bound=np.generic)
_PARTS = 8  # fraction of a cell to which a mask is cut at the slide's right and bottom sides
_SOME_TISSUE = 0.02  # share of a tile; less is a speck on glass
_ENLARGED = 0.9  # level-0 pixels per pixel of the model; below this, the report says so
_IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
_IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)


class HasSlide(Protocol):
    """Anything with an open slide, such as `slideloom.WSI`."""

    @property
    def slide(self) -> Slide:
        """The open slide."""
        ...


@frozen
class PredictionMap:
    """A model's scores for a slide, before any threshold.

    Attributes:
        values: (h, w) float32; NaN where the model was not run.
        extent: the level-0 box that `values` covers, exactly; it may extend beyond the slide at the right and bottom.
        slide: the slide's own level-0 box.
        cell_um: width of one value in microns.
        notes: sentences for the report.
        range: the lowest and the highest score of a tile, if scores are to be compared with a threshold; else None.
    """

    values: NDArray[np.float32] = field(eq=False)
    extent: Box
    slide: Box
    cell_um: float
    notes: tuple[str, ...] = ()
    range: tuple[float, float] | None = None

    @property
    def visited(self) -> Mask:
        """(h, w), True where the model was run."""
        return ~np.isnan(self.values)


class StridedModelQC(SlideQc):
    """Slide QC that runs a model over a slide in strides.

    Build it from settings, or directly: `StridedModelQC(model, StridedModelSettings(tile_px=256, tile_um="20x"))`.
    A subclass may override `prepare` (the model's input) and `scores` (the meaning of its output).
    """

    uses_regions = False

    def __init__(self, model: object, options: StridedModelSettings) -> None:
        """Wrap a model.

        Args:
            model: a callable from (B, H, W, 3) to scores, a torch module, a Keras model, or a path to a model file.
            options: how to use it.
        """
        self.options = options
        self._model = predictor(model, layout=options.layout, device=options.device, trust=options.trust)
        with self._blamed():
            self._model.check_tile(options.tile_px)

    @property
    def step_name(self) -> str:
        """How messages call the step."""
        return getattr(self.options, "name", StridedModel.name)

    @contextmanager
    def _blamed(self) -> Iterator[None]:
        """Context in which an error of the model becomes one that names step, plugin and version."""
        try:
            yield
        except ModelError as error:
            raise PluginError(f"{named(type(self.options), self.step_name)}: {error}") from error

    @overload
    def __call__(self, wsi: Slide | HasSlide, *, threshold: Literal[True] = True) -> QcResult: ...
    @overload
    def __call__(self, wsi: Slide | HasSlide, *, threshold: Literal[False]) -> PredictionMap: ...
    def __call__(self, wsi: Slide | HasSlide, *, threshold: bool = True) -> QcResult | PredictionMap:
        """The mask of what to discard, or the raw map of predictions.

        Args:
            wsi: an open slide, or an object that has one.
            threshold: False returns the map.
        """
        slide = wsi if isinstance(wsi, Slide) else wsi.slide
        found = self.predict(slide)
        return self.judge(found) if threshold else found

    def assess(self, slide: Slide, scene: Scene) -> QcResult:
        """See `SlideQc.assess`."""
        found = self.predict(slide, scene)
        return evolve(self.judge(found), measured=found)

    def again(self, earlier: QcResult) -> QcResult | None:
        """See `SlideQc.again`: by the scores that the model gave."""
        found = earlier.measured
        return evolve(self.judge(found), measured=found) if isinstance(found, PredictionMap) else None

    def judge(self, found: PredictionMap) -> QcResult:
        """The mask from a map of predictions."""
        options, visited, threshold = self.options, found.visited, self.threshold_for(found)
        beyond = found.values > threshold if options.bad == "above" else found.values < threshold
        bad = beyond & visited  # a comparison with NaN is already False; this makes it explicit
        mask = bad | ~visited if options.discard_unvisited else bad
        looked = int(visited.sum())
        share = float(bad.sum() / looked) if looked else 0.0
        mask, extent = within(mask, found.extent, found.slide)
        metrics = {"cells_judged": float(looked), "cells_discarded": float(bad.sum()), "share_discarded": share}
        notes = found.notes
        if found.range is not None and (out_of_range := range_note(*found.range, threshold=options.threshold)):
            notes = (*notes, out_of_range)
        return QcResult(mask=mask, kind=options.kind, extent=extent, metrics=metrics, notes=notes)

    def threshold_for(self, found: PredictionMap) -> float:
        """The score that separates good from bad on this slide; here, that of the options."""
        return self.options.threshold

    def mpp_for(self, slide: Slide) -> float:
        """The microns per pixel at which the model sees this slide; here, those of the options."""
        return self.options.mpp

    def predict(self, slide: Slide, scene: Scene | None = None) -> PredictionMap:
        """The model's output over the slide; memory grows with the map, not with the slide's pixels.

        Raises:
            MissingResolution: the slide's microns per pixel are not known.
            PluginError: the model fails, or its output cannot be understood.
        """
        with self._blamed():
            return self._predict(slide, scene)

    def _predict(self, slide: Slide, scene: Scene | None) -> PredictionMap:
        options = self.options
        grid = grid_for(
            slide.info,
            tile_px=options.tile_px,
            mpp=self.mpp_for(slide),
            stride_div=options.stride_div,
            tolerance=options.mpp_tolerance,
        )
        wanted = np.ones((grid.rows, grid.columns), bool)
        blend, tally = self.new_blend(grid), Tally()
        if not options.everywhere:
            share = tissue_share(slide, grid, inside=self.keeps_inside)
            wanted = share >= max(options.min_tissue, 1e-6)
            tally.sparse = int(((share >= _SOME_TISSUE) & ~wanted).sum())
        done, every = 0, max(1, int(wanted.sum()))
        for places, tiles in self._batches(slide, grid, wanted):
            if scene is not None:
                scene.tell(done / every)
            done += len(places)
            if isinstance(tiles, SlideError):
                tally.unreadable += len(places)
                continue
            scores = self._predictions(tiles)
            good = tally.counted(scores, may_miss=options.on_nan == "keep")
            if good.any():
                blend.add(places[good], scores[good])
        own = slide.info.mpp
        cell_um = (
            grid.step_x * own.x * grid.stride_px / blend.fine if own else options.mpp * grid.stride_px / blend.fine
        )
        notes = tally.notes(min_tissue=options.min_tissue)
        if min(grid.step_x, grid.step_y) < _ENLARGED:
            notes.append(
                f"the slide is coarser than the {options.mpp:g} microns per pixel that the model expects; "
                "it was enlarged, which may look out of focus to the model"
            )
        reach = tally.range if isinstance(blend, Blend) else None
        return PredictionMap(blend.values(), grid.extent, slide.info.box, cell_um, tuple(notes), reach)

    def new_blend(self, grid: StridedGrid) -> Blend | ClassBlend:
        """An empty map to which the scores of tiles are added."""
        return Blend(grid)

    def scores_for(self, tiles: RgbBatch) -> NDArray[np.float32]:
        """The scores of tiles that are already cut, for tests and for trying out a model.

        Args:
            tiles: (B, tile_px, tile_px, 3) uint8.

        Returns:
            (B,) or (B, h, w) float32; NaN where the model returned no number.

        Raises:
            PluginError: the model fails, or its output cannot be understood.
        """
        with self._blamed():
            return self._predictions(self.prepare(tiles, block=tiles.reshape(-1, *tiles.shape[2:])))

    def prepare(self, tiles: RgbBatch, *, block: Rgb) -> NDArray[np.generic]:
        """The model's input for tiles.

        Args:
            tiles: (B, H, W, 3) uint8.
            block: (h, w, 3) uint8, the part of the slide they were cut from.
        """
        kind = self.options.preprocess
        if kind == "uint8":
            return tiles
        unit = tiles.astype(np.float32) / np.float32(255)
        if kind == "symmetric":
            return unit * 2 - 1
        if kind == "imagenet":
            return (unit - _IMAGENET_MEAN) / _IMAGENET_STD
        if kind == "centred":
            return centred(unit)
        return unit

    def scores(self, output: NDArray[np.generic]) -> NDArray[np.float32]:
        """One value, or one small map, per tile, from the model's output.

        Args:
            output: (B,), (B, classes), (B, h, w), or with classes first or last.

        Returns:
            (B,) or (B, h, w) float32.

        Raises:
            ModelError: the shape is none of these; the step turns this into a PluginError that names the step.
        """
        return scores_of(
            output,
            channels_last=self._model.channels_last,
            activation=self.options.activation,
            index=self.options.index,
        )

    def _predictions(self, prepared: NDArray[np.generic]) -> NDArray[np.float32]:
        """`scores` of all tiles; the model always gets batches of one size."""
        size = self._model.fixed_batch or self.options.batch
        found = []
        for start in range(0, len(prepared), size):
            part = prepared[start : start + size]
            missing = size - len(part)
            # Exported models often have a fixed batch size; padding the batch also keeps kernels the same.
            full = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
            output = self._model(full)
            check_count(output, len(full))  # for the whole batch: truncating it would hide an excess of values
            scores = self.scores(output)
            check_count(scores, len(full))
            found.append(scores[: len(part)])
        return np.concatenate(found)

    def _batches(
        self, slide: Slide, grid: StridedGrid, wanted: Mask
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.generic] | SlideError]]:
        """(B, 2) rows and columns, with the model's input for them; or the reason why a tile cannot be read."""
        places: list[NDArray[np.int64]] = []
        pending: list[NDArray[np.generic]] = []
        size = self._model.fixed_batch or self.options.batch
        for block in blocks(grid):
            here = np.argwhere(wanted[block.row : block.row + block.rows, block.column : block.column + block.columns])
            if not len(here):
                continue
            here += np.array((block.row, block.column))
            for which, tiles in self._tiles(slide, grid, block, here):
                if isinstance(tiles, SlideError):
                    yield which, tiles
                    continue
                places.append(which)
                pending.append(tiles)
            while sum(map(len, pending)) >= size:
                all_places, all_tiles = np.concatenate(places), np.concatenate(pending)
                cut = len(all_tiles) - len(all_tiles) % size
                yield all_places[:cut], all_tiles[:cut]
                places, pending = [all_places[cut:]], [all_tiles[cut:]]
        if sum(map(len, pending)):
            yield np.concatenate(places), np.concatenate(pending)

    #: True if `prepare` needs the whole block, not only the part with requested tiles.
    needs_whole_blocks = False
    #: True if a tile that would reach past the slide's right or lower side is read so that it ends with the slide: for
    #: models that would judge the edge of the padding.
    keeps_inside = False

    def _tiles(
        self, slide: Slide, grid: StridedGrid, block: Block, here: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.generic] | SlideError]]:
        """The requested tiles of a block, prepared; one by one if the block cannot be read as a whole."""
        corners = grid.corners(here, inside=self.keeps_inside)
        first, last = corners.min(axis=0), corners.max(axis=0)
        if self.needs_whole_blocks:
            whole = np.array(
                [(block.row, block.column), (block.row + block.rows - 1, block.column + block.columns - 1)]
            )
            first, last = np.minimum(first, whole[0] * grid.stride_px), np.maximum(last, whole[1] * grid.stride_px)
        high, wide = (last - first + grid.tile_px).tolist()
        box = grid.box_px(int(first[1]), int(first[0]), wide, high)
        try:
            rgb = slide.read_at(box, Size(wide, high))
        except SlideError as error:
            if block.columns == block.rows == 1:
                yield here, error
                return
            for place in here:
                single = Block(int(place[1]), int(place[0]), 1, 1)
                yield from self._tiles(slide, grid, single, place[None])
            return
        if self.keeps_inside:
            rgb = mirrored_beyond(rgb, first, grid.whole)
        tiles = np.stack([rgb[y : y + grid.tile_px, x : x + grid.tile_px] for y, x in (corners - first).tolist()])
        yield here, self.prepare(tiles, block=rgb)


def within(mask: NDArray[_Cell], extent: Box, slide: Box) -> tuple[NDArray[_Cell], Box]:
    """The part of a mask or label map on the slide, to 1/8 of a cell; cells are not moved and nothing is stretched."""
    if extent.right <= slide.right and extent.bottom <= slide.bottom:
        return mask, extent
    fine_x, fine_y = extent.width / mask.shape[1] / _PARTS, extent.height / mask.shape[0] / _PARTS
    columns, rows = floor(slide.width / fine_x + 1e-6), floor(slide.height / fine_y + 1e-6)
    if not (columns and rows):
        return mask[:1, :1], slide  # a slide smaller than 1/8 of a cell
    fine = mask.repeat(_PARTS, axis=0)[:rows].repeat(_PARTS, axis=1)[:, :columns]
    width, height = min(columns * fine_x, slide.width), min(rows * fine_y, slide.height)
    return fine, Box(0, 0, width, height)
