"""Sources of regions of interest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from slideloom import RoiSource, Settings, hookimpl

from slideloom_roi.settings import GeoJson, Ndpa, QuPathCsv, RoiFolder, Xml


@hookimpl
def slideloom_roi_sources() -> Sequence[type[Settings[RoiSource]]]:
    """A source for each file format, and one for a folder with any of them."""
    return [QuPathCsv, GeoJson, Ndpa, Xml, RoiFolder]


@hookimpl
def slideloom_defaults() -> Mapping[str, str]:
    """The reader of a folder of regions."""
    return {"roi-folder": "roi-folder"}
