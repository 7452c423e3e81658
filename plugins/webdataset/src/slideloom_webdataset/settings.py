"""Options of the WebDataset sink."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import ImageOptions, Sink, file_name, in_range, option


@frozen
class WebDataset(ImageOptions):
    """Tar shards for the webdataset library: an image and a JSON file per tile."""

    name: ClassVar[str] = "webdataset"
    folder: str = option("webdataset", help="sub-folder of the output folder", validator=file_name)
    shard_tiles: int = option(10_000, help="tiles per shard at most", validator=in_range(1, 10_000_000))

    def build(self) -> Sink:
        """The sink; imports OpenCV."""
        from slideloom_webdataset.sink import WebDatasetSink

        return WebDatasetSink(self)
