"""Options of the ROI sources; nothing heavy is imported before `build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

from attrs import evolve, frozen
from slideloom import ConfigError, RoiSource, Settings, at_least, option

if TYPE_CHECKING:
    from slideloom_roi.sources import FolderOfRegions

BoundsRule = Literal["auto", "add", "none"]
NestedRule = Literal["holes", "keep"]


@frozen
class RegionFiles(Settings[RoiSource]):
    """Options that all files of regions share."""

    folder: Path = option(help="folder with one file per slide, named as the slide")
    nested: NestedRule = option(
        "holes", help="a region within one of the same label is its hole (holes), or a region of its own (keep)"
    )
    simplify_px: float = option(
        0.0, help="drop vertices that move the outline less than this; 0 is off", unit="px", validator=at_least(0)
    )
    min_area_px: float = option(
        0.0, help="leave out regions smaller than this, in level-0 pixels", unit="px^2", validator=at_least(0)
    )

    def check_folder(self) -> None:
        """Raise ConfigError unless the folder is there."""
        if not self.folder.is_dir():
            raise ConfigError(f"{self.folder}: no such folder of regions; set `folder` of {self.name!r}")


@frozen
class QuPathCsv(RegionFiles):
    """Regions from CSV files with the columns ROI_Name, X_base, Y_base and perhaps label."""

    name: ClassVar[str] = "qupath-csv"

    suffix: str = option(".csv", help="what follows the slide's name in the file name")
    label: str = option("label", help="column that holds the label")
    bounds: BoundsRule = option(
        "auto", help="coordinates count from the scanned area (add) or the whole slide (none; so does auto)"
    )

    def build(self) -> FolderOfRegions:
        """The source."""
        from slideloom_roi.csv_reader import parse_csv
        from slideloom_roi.sources import FolderOfRegions

        self.check_folder()
        return FolderOfRegions(self, (self.suffix,), lambda text, _info: parse_csv(text, label_column=self.label))


@frozen
class GeoJson(RegionFiles):
    """Regions from GeoJSON files as QuPath writes them, or LabelMe's JSON."""

    name: ClassVar[str] = "geojson"

    label: str = option("classification", help="property that holds the label")
    bounds: BoundsRule = option(
        "auto", help="coordinates count from the scanned area (add), the whole slide (none), or as QuPath does (auto)"
    )

    def build(self) -> FolderOfRegions:
        """The source."""
        from slideloom_roi.geojson_reader import parse_geojson
        from slideloom_roi.sources import FolderOfRegions

        self.check_folder()
        suffixes = (".geojson", ".json")
        return FolderOfRegions(self, suffixes, lambda text, _info: parse_geojson(text, label_property=self.label))


@frozen
class Ndpa(RegionFiles):
    """Regions from Hamamatsu's annotation files (.ndpa), labelled by their title."""

    name: ClassVar[str] = "ndpa"

    bounds: ClassVar[BoundsRule] = "none"

    def build(self) -> FolderOfRegions:
        """The source."""
        from slideloom_roi.ndpa_reader import parse_ndpa
        from slideloom_roi.sources import FolderOfRegions

        self.check_folder()
        return FolderOfRegions(self, (".ndpa",), parse_ndpa)


@frozen
class RoiFolder(RegionFiles):
    """Regions from a folder that holds files of any of these formats, one per slide."""

    name: ClassVar[str] = "roi-folder"

    bounds: BoundsRule = option(
        "auto",
        help="coordinates count from the scanned area (add), the whole slide (none), or as each format does (auto)",
    )

    def build(self) -> RoiSource:
        """The source."""
        from slideloom_roi.sources import FolderOfAnyFormat

        formats: list[QuPathCsv | GeoJson | Ndpa] = [
            QuPathCsv(folder=self.folder, bounds=self.bounds),
            GeoJson(folder=self.folder, bounds=self.bounds),
            Ndpa(folder=self.folder),
        ]
        sources = [
            evolve(chosen, nested=self.nested, simplify_px=self.simplify_px, min_area_px=self.min_area_px).build()
            for chosen in formats
        ]
        return FolderOfAnyFormat(sources)
