"""Options of the ROI sources."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from attrs import frozen
from slideloom import Address, RoiSource, Settings, at_least, option

BoundsRule = Literal["auto", "add", "none"]
NestedRule = Literal["auto", "holes", "keep"]


@frozen
class RegionFiles(Settings[RoiSource]):
    """Options that all region files share."""

    folder: Path | Address = option(
        help="folder with one file per slide, with the slide's name; or the address of the folder or of a file"
    )
    nested: NestedRule = option(
        "auto",
        help="a region within another of the same label is its hole (holes), a separate region (keep), or a hole "
        "only in formats that cannot store holes (auto)",
    )
    simplify_px: float = option(
        0.0, help="drop vertices that change the outline by less than this; 0 is off", unit="px", validator=at_least(0)
    )
    min_area_px: float = option(
        0.0, help="leave out regions smaller than this, in level-0 pixels", unit="px^2", validator=at_least(0)
    )


@frozen
class QuPathCsv(RegionFiles):
    """Regions from CSV files with the columns ROI_Name, X_base, Y_base and, optionally, label."""

    name: ClassVar[str] = "qupath-csv"
    step: ClassVar[str] = "slideloom_roi.sources:qupath_csv"

    suffix: str = option(".csv", help="ending that follows the slide's name in the file name")
    label: str = option("label", help="column with the label")
    bounds: BoundsRule = option(
        "auto", help="coordinates count from the scanned area (add) or the whole slide (none; so does auto)"
    )


@frozen
class GeoJson(RegionFiles):
    """Regions from GeoJSON files as QuPath writes them, or LabelMe's JSON."""

    name: ClassVar[str] = "geojson"
    step: ClassVar[str] = "slideloom_roi.sources:geojson"

    label: str = option("classification", help="property with the label")
    bounds: BoundsRule = option(
        "auto", help="coordinates count from the scanned area (add), the whole slide (none), or as QuPath does (auto)"
    )


@frozen
class Ndpa(RegionFiles):
    """Regions from Hamamatsu's annotation files (.ndpa), labelled by their title."""

    name: ClassVar[str] = "ndpa"
    step: ClassVar[str] = "slideloom_roi.sources:ndpa"


@frozen
class Xml(RegionFiles):
    """Regions from the XML of ASAP and ImageScope (.xml) and of HALO (.annotations), labelled by group or layer."""

    name: ClassVar[str] = "xml"
    step: ClassVar[str] = "slideloom_roi.sources:xml"

    bounds: BoundsRule = option(
        "auto", help="coordinates count from the scanned area (add) or the whole slide (none; so does auto)"
    )


@frozen
class RoiFolder(RegionFiles):
    """Regions from a folder with files in any of these formats, one per slide."""

    name: ClassVar[str] = "roi-folder"
    step: ClassVar[str] = "slideloom_roi.sources:any_format"

    bounds: BoundsRule = option(
        "auto",
        help="coordinates count from the scanned area (add), the whole slide (none), or as each format does (auto)",
    )
