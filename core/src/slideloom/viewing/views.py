"""What a `WSI` shows, as values that never change: tiles, the grid as an image, masks as small arrays, steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom.base.geometry import Box, Mask, Rgb, Size
from slideloom.drawing.pictures import LEGEND, Colour, colour_of, reason_colours, sampled
from slideloom.planning.ledger import Ledger
from slideloom.planning.record import QcFinding, SlideRecord
from slideloom.settings.options import Settings
from slideloom.slides.tiles import Tiles
from slideloom.steps.slide_qc import Labels, QcKind

KEPT = "kept"
_FIRST_CODE = 1  # of the ledger's that is no kept tile, less one: "candidate" and "written" are both kept


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


@frozen(kw_only=True)
class TileDetail:
    """Everything about one tile, also of one that was dropped.

    Attributes:
        index: its number in the slide's plan.
        x, y: its top left corner in level-0 pixels.
        footprint: what it covers, in level-0 pixels.
        loc_x, loc_y: its centre in level-0 pixels.
        grid_x, grid_y: column and row.
        label: of its region, or None.
        status: "kept", or the step that dropped it, such as "qc:otsu".
        rgb: (tile_px, tile_px, 3) uint8, as it is read.
        normalized: the same with its staining normalized; None without a normalizer, or if it cannot be normalized.
        is_normalizable: False if the normalizer would drop it.
        is_fallback: True if the normalizer used its fallback.
        scores: by step: the share of it that slide QC masks ("qc:otsu"), and what tile filters found
            ("filter:grayspace"), whether or not an earlier step dropped it.
        masks: by label of a QC step: (tile_px, tile_px) bool, True where the step discards.
    """

    index: int
    x: int
    y: int
    footprint: Size
    loc_x: int
    loc_y: int
    grid_x: int
    grid_y: int
    label: str | None
    status: str
    rgb: Rgb = field(eq=False, repr=False)
    normalized: Rgb | None = field(eq=False, repr=False)
    is_normalizable: bool
    is_fallback: bool
    scores: Mapping[str, float]
    masks: Mapping[str, Mask] = field(eq=False, repr=False)


@frozen
class TileMap:
    """The grid of tiles as an image, one pixel for each.

    Attributes:
        codes: (rows, columns) uint16, an index into `words`; 0 where there is no tile.
        index: (rows, columns) int32, number of the tile in the slide's plan, -1 where there is none.
        words: "" (no tile), "kept", "unreadable", and the reasons why tiles were dropped, such as "qc:otsu".
        colours: red, green and blue of each word but the first, 0-255.
    """

    codes: NDArray[np.uint16] = field(eq=False, repr=False)
    index: NDArray[np.int32] = field(eq=False, repr=False)
    words: tuple[str, ...]
    colours: Mapping[str, Colour]

    @classmethod
    def of(cls, record: SlideRecord, tiles: Tiles) -> TileMap:
        """The map of a slide's planned tiles."""
        shape = int(tiles.grid_y.max(initial=-1)) + 1, int(tiles.grid_x.max(initial=-1)) + 1
        codes, index = np.zeros(shape, np.uint16), np.full(shape, -1, np.int32)
        codes[tiles.grid_y, tiles.grid_x] = np.maximum(record.ledger.codes, _FIRST_CODE)
        index[tiles.grid_y, tiles.grid_x] = tiles.index
        words = ("", KEPT, *record.ledger.words[_FIRST_CODE + 1 :])
        known = reason_colours(record.qc_kinds, record.qc_classes)
        return cls(codes, index, words, {word: known.get(word) or colour_of(word) for word in words[1:]})


@frozen
class MaskClass:
    """What a value of a `MaskLayer` means.

    Attributes:
        value: in the layer.
        name: of the class, or the step's label where a step has no classes.
        kind: as that of a `QcResult`; None for what is not discarded.
        colour: red, green and blue, 0-255; of what is told but kept, that of its outline in overviews.
        is_told: True for what is told but kept; see `QcClass.threshold`.
    """

    value: int
    name: str
    kind: QcKind | None
    colour: Colour
    is_told: bool = False


@frozen
class MaskLayer:
    """What a QC step found, small enough to draw over a picture of the slide.

    Attributes:
        label: of the step.
        kind: "background", "blur" or "artifact".
        extent: the level-0 box that `values` covers.
        values: (h, w) uint8; of a step without classes, 1 where it discards and 0 elsewhere.
        classes: what the values mean; 0 of a step without classes has no entry.
    """

    label: str
    kind: QcKind
    extent: Box
    values: Labels = field(eq=False, repr=False)
    classes: tuple[MaskClass, ...]

    @classmethod
    def of(cls, finding: QcFinding, *, whole: Box, colours: Mapping[str, Colour], max_px: int) -> MaskLayer:
        """The layer of one finding, at most `max_px` along a side, each pixel with the value at its centre.

        Args:
            finding: of the step.
            whole: level 0 of the slide.
            colours: by reason, of classes that are discarded or told.
            max_px: largest width and height.
        """
        result, label = finding.result, finding.label
        extent = result.extent or whole
        full: Labels = result.mask.view(np.uint8) if result.labels is None else result.labels
        shrink = max(1.0, max(full.shape) / max_px)
        size = Size(max(1, int(full.shape[1] / shrink)), max(1, int(full.shape[0] / shrink)))
        if result.labels is None:
            known: tuple[MaskClass, ...] = (MaskClass(1, label, result.kind, LEGEND[result.kind]),)
        else:
            known = tuple(
                MaskClass(
                    one.value, one.name, one.kind, colours.get(f"qc:{label}:{one.name}", LEGEND["kept"]), one.is_told
                )
                for one in result.classes
            )
        return cls(label, result.kind, extent, sampled(full, extent=extent, box=extent, size=size), known)


StepKind = Literal["qc", "filter", "normalizer"]


@frozen
class LiveStep:
    """A step that a `WSI` has.

    Attributes:
        kind: "qc", "filter" or "normalizer".
        label: unique among the steps of its kind, such as "otsu" or "otsu-2".
        settings: its options.
        filter_threshold: of slide QC, else None.
        live: names of what can be changed without reading pixels: options, and "filter_threshold".
    """

    kind: StepKind
    label: str
    settings: Settings[Any]
    filter_threshold: float | None
    live: frozenset[str]

    @property
    def reason(self) -> str:
        """What accounts call it: "qc:otsu", "filter:grayspace", "normalizer"."""
        return self.kind if self.kind == "normalizer" else f"{self.kind}:{self.label}"


def counts_of(ledger: Ledger) -> dict[str, int]:
    """Number of tiles that are kept (maybe 0), that each step dropped, and that are unreadable, without zeros."""
    counts = {KEPT: len(ledger.candidates()) + ledger.written, **ledger.rejected}
    return {**counts, "unreadable": ledger.unreadable} if ledger.unreadable else counts
