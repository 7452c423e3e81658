"""Options of the WebDataset sink."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import ImageOptions, file_name, in_range, option


@frozen
class WebDataset(ImageOptions):
    """Tar shards for the webdataset library: an image and a JSON file per tile."""

    name: ClassVar[str] = "webdataset"
    step: ClassVar[str] = "slideloom_webdataset.sink:WebDatasetSink"
    install: ClassVar[str] = "slideloom-webdataset"
    folder: str = option("webdataset", help="sub-folder of the output folder", validator=file_name)
    shard_tiles: int = option(10_000, help="most tiles per shard", validator=in_range(1, 10_000_000))
