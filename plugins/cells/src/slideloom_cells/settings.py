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
    """Options that all cell placements share."""

    edge: Edge = option(
        "pad", help="tiles that extend beyond the slide: fill with background (pad) or leave out (drop)"
    )


@frozen
class QuPathCells(AroundCells):
    """A tile around each cell found by QuPath, from its measurement tables or GeoJSON."""

    name: ClassVar[str] = "cells-qupath"
    step: ClassVar[str] = "slideloom_cells.files:QuPathPlacement"

    folder: Path = option(help="folder with one file per slide or with one table for all slides, or such a file itself")
    classes: tuple[str, ...] = option((), help="use only cells of these classes, such as Tumor; by default all")
    bounds: BoundsRule = option(
        "auto",
        help="coordinates count from the scanned area (add; auto: if the slide has one) or the whole slide (none)",
    )
    unit: Unit | None = option(
        None, help="unit if a table's columns name none: level-0 pixels (px) or microns (um); required in that case"
    )
    pixel_um: float | None = option(
        None, help="pixel width that QuPath used for microns; by default the slide's own", unit="um", validator=positive
    )


@frozen
class CsvCells(AroundCells):
    """A tile around each point of a CSV table."""

    name: ClassVar[str] = "cells-csv"
    step: ClassVar[str] = "slideloom_cells.files:CsvPlacement"

    folder: Path = option(help="folder with one CSV per slide, or one CSV for all slides with a column `slide`")
    x: str = option("x", help="name of the x column")
    y: str = option("y", help="name of the y column")
    unit: Unit = option("px", help="level-0 pixels (px) or microns (um)")
    bounds: Literal["add", "none"] = option(
        "none", help="coordinates count from the whole slide (none) or the scanned area (add)"
    )


@frozen
class Nuclei(AroundCells):
    """A tile around each nucleus, found by its haematoxylin."""

    name: ClassVar[str] = "nuclei"
    step: ClassVar[str] = "slideloom_cells.nuclei:NucleiPlacement"
    reads_slide: ClassVar[bool] = True
    revision: ClassVar[int] = 2  # dense eosin is no nucleus

    mpp: float = option(0.5, help="resolution at which nuclei are detected", unit="um/px", validator=in_range(0.2, 1.0))
    radius_um: float = option(3.0, help="typical radius of a nucleus", unit="um", validator=in_range(0.5, 20))
    max_radius_um: float = option(
        7.0, help="dark areas with a larger inner radius are not nuclei", unit="um", validator=positive
    )
    density: float | None = option(
        None, help="lowest haematoxylin density of a nucleus; by default from the slide (Otsu)", validator=positive
    )
    min_distance_um: float = option(2.5, help="smallest distance between two centres", unit="um", validator=positive)


@frozen
class Cellpose(AroundCells):
    """A tile around each cell that Cellpose segments; Cellpose must be installed."""

    name: ClassVar[str] = "cellpose"
    step: ClassVar[str] = "slideloom_cells.cellpose:CellposePlacement"
    reads_slide: ClassVar[bool] = True
    install: ClassVar[str] = "slideloom-cells[cellpose]"
    needs: ClassVar[tuple[str, ...]] = ("cellpose",)

    model: str = option("cpsam", help="name of a Cellpose model, or path of one you trained")
    mpp: float = option(0.5, help="resolution of the input to Cellpose", unit="um/px", validator=positive)
    diameter_um: float = option(8.0, help="expected diameter of a cell", unit="um", validator=positive)
    flow_threshold: float = option(
        0.4, help="higher values find more cells, including irregular ones", validator=at_least(0)
    )
    cell_threshold: float = option(0.0, help="lower values find more cells", validator=in_range(-6, 6))
    gpu: bool = option(False, help="use the GPU", affects_output=False)
