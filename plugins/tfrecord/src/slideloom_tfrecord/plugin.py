"""The TFRecord sink, the store that loaders read, and the manifest that is written after a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from slideloom import OPENCV, Library, RunReport, Settings, Sink, TileStores, hookimpl

from slideloom_tfrecord.settings import TFRecordFiles, TFRecords


@hookimpl
def slideloom_sinks() -> Sequence[type[Settings[Sink]]]:
    """The sink of this package."""
    return [TFRecords]


@hookimpl
def slideloom_tile_stores() -> Sequence[type[Settings[TileStores]]]:
    """The store of this package."""
    return [TFRecordFiles]


@hookimpl
def slideloom_run_done(report: RunReport, out: Path) -> None:
    """Write `manifest.json` for the run's TFRecords, unless another shard will do so: one for each tile size."""
    if report.is_left:
        return
    folders = {
        out / slide.home_of(name) for slide in report.slides for name in slide.outputs if name.endswith(".tfrecords")
    }
    if not folders:
        return
    from slideloom_tfrecord.manifest import write_manifest  # numpy, so only when there is something to count

    slides = {slide.slide for slide in report.slides}
    sizes = {out / name: (size.bytes, size.tiles) for slide in report.slides for name, size in slide.sizes.items()}
    for folder in sorted(folders):
        if folder.is_dir():
            write_manifest(folder, slides=slides, sizes=sizes)


@hookimpl
def slideloom_libraries() -> Sequence[Library]:
    """The libraries that this package depends on."""
    return [
        Library("google_crc32c", "slideloom-tfrecord", "TFRecord checksums"),
        OPENCV,
    ]


@hookimpl
def slideloom_defaults() -> Mapping[str, str]:
    """The sink of a pipeline that names none, and the store that loaders read."""
    return {"sink": "tfrecord", "store": "tfrecord"}
