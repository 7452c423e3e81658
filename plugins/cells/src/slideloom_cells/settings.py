"""Options of the placements."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from attrs import frozen
from slideloom import Placement, Settings, at_least, in_range, option, positive

Unit = Literal["px", "um"]
Edge = Literal["pad", "drop"]
BoundsRule = Literal["auto", "add", "none"]


@frozen
class AroundCells(Settings[Placement]):
    """Options that all placements by cells share."""

    edge: Edge = option(
        "pad", help="tiles that reach over the slide's side: fill with background (pad) or leave out (drop)"
    )


@frozen
class QuPathCells(AroundCells):
    """A tile around each cell that QuPath found, from its measurement tables or GeoJSON."""

    name: ClassVar[str] = "cells-qupath"
    step: ClassVar[str] = "slideloom_cells.files:QuPathPlacement"

    folder: Path = option(help="folder with one file per slide, or with one table of all slides, or such a file itself")
    classes: tuple[str, ...] = option((), help="take cells of these classes only, such as Tumor; by default all")
    bounds: BoundsRule = option(
        "auto",
        help="coordinates count from the scanned area (add; auto: if the slide has one) or the whole slide (none)",
    )
    unit: Unit | None = option(
        None, help="unit of tables whose columns name none: level-0 pixels (px) or microns (um); refused if not given"
    )
    pixel_um: float | None = option(
        None, help="pixel width QuPath used for microns; by default the slide's own", unit="um", validator=positive
    )


@frozen
class CsvCells(AroundCells):
    """A tile around each point of a CSV table."""

    name: ClassVar[str] = "cells-csv"
    step: ClassVar[str] = "slideloom_cells.files:CsvPlacement"

    folder: Path = option(help="folder with one CSV per slide, or one CSV of all slides with a column `slide`")
    x: str = option("x", help="name of the column with x")
    y: str = option("y", help="name of the column with y")
    unit: Unit = option("px", help="level-0 pixels (px) or microns (um)")
    bounds: Literal["add", "none"] = option(
        "none", help="coordinates count from the whole slide (none) or the scanned area (add)"
    )


@frozen
class Nuclei(AroundCells):
    """A tile around each nucleus, found by its haematoxylin."""

    name: ClassVar[str] = "nuclei"
    step: ClassVar[str] = "slideloom_cells.nuclei:NucleiPlacement"

    mpp: float = option(0.5, help="resolution nuclei are looked for at", unit="um/px", validator=in_range(0.2, 1.0))
    radius_um: float = option(3.0, help="usual radius of a nucleus", unit="um", validator=in_range(0.5, 20))
    max_radius_um: float = option(
        7.0, help="dark bodies with more than this around their middle are no nuclei", unit="um", validator=positive
    )
    density: float | None = option(
        None, help="least haematoxylin density of a nucleus; by default from the slide (Otsu)", validator=positive
    )
    min_distance_um: float = option(2.5, help="centres are at least this far apart", unit="um", validator=positive)


@frozen
class Cellpose(AroundCells):
    """A tile around each cell that Cellpose segments; Cellpose must be installed."""

    name: ClassVar[str] = "cellpose"
    step: ClassVar[str] = "slideloom_cells.cellpose:CellposePlacement"
    install: ClassVar[str] = "slideloom-cells[cellpose]"

    model: str = option("cpsam", help="name of a model of Cellpose, or path of one you trained")
    mpp: float = option(0.5, help="resolution of the pixels that Cellpose gets", unit="um/px", validator=positive)
    diameter_um: float = option(8.0, help="expected diameter of a cell", unit="um", validator=positive)
    flow_threshold: float = option(0.4, help="more finds more cells, also of odd shape", validator=at_least(0))
    cell_threshold: float = option(0.0, help="less finds more cells", validator=in_range(-6, 6))
    gpu: bool = option(False, help="use the graphics card", affects_output=False)
