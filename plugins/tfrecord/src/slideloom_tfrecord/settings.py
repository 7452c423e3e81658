"""Options of the TFRecord sink and store."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import ImageOptions, Settings, Sink, TileStores, at_least, file_name, option


@frozen
class TFRecords(ImageOptions):
    """One TFRecord file per slide, for TensorFlow, PyTorch and Slideflow loaders."""

    name: ClassVar[str] = "tfrecord"
    folder: str = option("tfrecords", help="sub-folder of the output folder", validator=file_name)
    shuffle: bool = option(True, help="store the tiles of a slide in random order; false keeps the order of the grid")
    seed: int = option(0, help="another seed gives another random order", validator=at_least(0))

    def build(self) -> Sink:
        """The sink; imports OpenCV."""
        from slideloom_tfrecord.sink import TFRecordSink

        return TFRecordSink(self)


@frozen
class TFRecordFiles(Settings[TileStores]):
    """TFRecord files, for loaders."""

    name: ClassVar[str] = "tfrecord"

    def build(self) -> TileStores:
        """The store; imports OpenCV."""
        from slideloom_tfrecord.stores import TFRecordStores

        return TFRecordStores()
