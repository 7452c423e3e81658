"""Options of the TFRecord sink and store."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import ImageOptions, Settings, TileStores, at_least, file_name, option


@frozen
class TFRecords(ImageOptions):
    """One TFRecord file per slide, for TensorFlow, PyTorch and Slideflow loaders."""

    name: ClassVar[str] = "tfrecord"
    step: ClassVar[str] = "slideloom_tfrecord.sink:TFRecordSink"
    install: ClassVar[str] = "slideloom-tfrecord"
    folder: str = option("tfrecords", help="sub-folder of the output folder", validator=file_name)
    shuffle: bool = option(True, help="store the tiles of a slide in random order; false keeps the order of the grid")
    seed: int = option(0, help="another seed gives another random order", validator=at_least(0))


@frozen
class TFRecordFiles(Settings[TileStores]):
    """TFRecord files as loaders read them."""

    name: ClassVar[str] = "tfrecord"
    step: ClassVar[str] = "slideloom_tfrecord.stores:TFRecordStores"
    install: ClassVar[str] = "slideloom-tfrecord"
