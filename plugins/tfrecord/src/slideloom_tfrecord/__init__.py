"""TFRecord files of tiles, written and read without TensorFlow.

`TFRecords` are the sink's settings; `slideloom_tfrecord.reader` reads files, `slideloom_tfrecord.manifest` counts tiles
in them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

_HOME_OF = {
    "DamagedRecord": "index",
    "Record": "reader",
    "TFRecordFile": "reader",
    "TFRecords": "settings",
    "read_records": "reader",
    "write_manifest": "manifest",
}

__all__ = ["DamagedRecord", "Record", "TFRecordFile", "TFRecords", "read_records", "write_manifest"]

if TYPE_CHECKING:
    from slideloom_tfrecord.index import DamagedRecord
    from slideloom_tfrecord.manifest import write_manifest
    from slideloom_tfrecord.reader import Record, TFRecordFile, read_records
    from slideloom_tfrecord.settings import TFRecords


def __getattr__(name: str) -> Any:  # Any: a module attribute of any kind
    if name not in _HOME_OF:
        raise AttributeError(f"module 'slideloom_tfrecord' has no attribute {name!r}")
    return getattr(import_module(f"slideloom_tfrecord.{_HOME_OF[name]}"), name)
