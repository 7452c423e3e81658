"""Options of the TFRecord sink and store."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
from attrs import frozen
from slideloom import ImageOptions, Settings, TileStores, at_least, file_name, option

HERE = "."  # the output folder itself


def _file_name_or_here(instance: Any, attribute: attrs.Attribute[str], value: str) -> None:
    if value != HERE:
        file_name(instance, attribute, value)


@frozen
class TFRecords(ImageOptions):
    """One TFRecord file per slide, for TensorFlow, PyTorch and Slideflow loaders."""

    name: ClassVar[str] = "tfrecord"
    step: ClassVar[str] = "slideloom_tfrecord.sink:TFRecordSink"
    install: ClassVar[str] = "slideloom-tfrecord"
    folder: str = option(
        "tfrecords",
        help='sub-folder of the output folder; "." is the output folder itself',
        validator=_file_name_or_here,
    )
    shuffle: bool = option(True, help="store the tiles of a slide in random order; false keeps the order of the grid")
    seed: int = option(0, help="another seed gives another random order", validator=at_least(0))


@frozen
class TFRecordFiles(Settings[TileStores]):
    """TFRecord files as loaders read them."""

    name: ClassVar[str] = "tfrecord"
    step: ClassVar[str] = "slideloom_tfrecord.stores:TFRecordStores"
    install: ClassVar[str] = "slideloom-tfrecord"
