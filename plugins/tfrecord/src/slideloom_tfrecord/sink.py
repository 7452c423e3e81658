"""The sink that stores the tiles of a slide in one TFRecord file."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import (
    Draft,
    ImageEncoder,
    Prepared,
    Scene,
    Sink,
    SlideInfo,
    TileBatch,
    Tiles,
    Writer,
    check_size,
    discard_path,
    partial_path,
    path_inside,
    path_of_name,
    storing_in,
    sync_path,
    utf8,
)

from slideloom_tfrecord.example import bytes_entry, example_head
from slideloom_tfrecord.framing import framed
from slideloom_tfrecord.index import RecordIndex, index_path, save_index
from slideloom_tfrecord.order import shuffled
from slideloom_tfrecord.settings import HERE, TFRecords

_BUFFER = 1 << 20


class TFRecordSink(Sink):
    """Encodes tiles as complete records and writes them to one file per slide."""

    keeps_pixels = False
    stores_companions = True

    def __init__(self, settings: TFRecords) -> None:
        self._settings = settings
        self._image = ImageEncoder(cv2, settings)

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/<slide>.tfrecords`."""
        within = [name for name in (self._settings.folder, scene.geometry.label) if name != HERE]
        path = path_of_name(path_inside(folder, *within), info.name, ending=".tfrecords")
        return TFRecordWriter(path, slide=info.name, settings=self._settings)

    def encode(self, batch: TileBatch) -> Sequence[bytes]:
        """Each tile as a record with its CRCs, ready to be appended to a file."""
        slide = bytes_entry("slide", utf8(batch.slide))
        records = []
        places = zip(batch.tiles.loc_x.tolist(), batch.tiles.loc_y.tolist(), strict=True)
        companions = self._image.companions(batch)
        for rgb, (loc_x, loc_y), beside in zip(batch.rgb, places, companions, strict=True):
            image = self._image(rgb)
            about = slide + b"".join(bytes_entry(name, contents) for name, contents in beside.items())
            records.append(framed(example_head(about, loc_x=loc_x, loc_y=loc_y, image_bytes=len(image)), image))
        return records


class TFRecordWriter(Writer):
    """Appends records to a temporary file. `prepare` puts them in their final order; `commit` gives files their names.

    At every moment the folder holds, for this slide, either nothing, or a complete file without an index (readers make
    one), or a complete file with its own index. So the old index is removed before the new file gets its name.
    """

    def __init__(self, path: Path, *, slide: str, settings: TFRecords) -> None:
        self._path = path
        self._slide = slide
        self._settings = settings
        self._ordered = partial_path(path)
        self._sizes: list[int] = []
        self._numbers: list[NDArray[np.int64]] = []
        self._locations: list[NDArray[np.int64]] = []
        self._prepared: tuple[Prepared, ...] | None = None
        with storing_in(path.parent):
            self._records, self._index = Draft(path), Draft(index_path(path))
            self._file: BinaryIO | None = self._records.partial.open("wb", buffering=_BUFFER)

    def write(self, tiles: Tiles, encoded: Sequence[bytes]) -> None:
        """Append records in the order in which they arrive."""
        if self._file is None:
            raise ValueError(f"{self._path}: the writer is closed")
        with storing_in(self._path.parent):
            for record in encoded:
                self._file.write(record)
        self._sizes.extend(map(len, encoded))
        self._numbers.append(tiles.index)
        self._locations.append(np.stack((tiles.loc_x, tiles.loc_y), axis=1))

    def targets(self) -> Sequence[Path]:
        """The slide's file and its index."""
        return (self._records.path, self._index.path)

    def prepare(self) -> Sequence[Prepared]:
        """Put the records in order, and write them and their index to the disk."""
        with storing_in(self._path.parent):
            self._prepared = self._prepare()
        return self._prepared

    def commit(self) -> Sequence[Path]:
        """Give the file and its index their names.

        If no tile was written, the results of an earlier run for this slide are removed.
        """
        try:
            with storing_in(self._path.parent):
                return self._commit()
        finally:
            self.abort()  # so that nothing temporary is left, whatever happened

    def _prepare(self) -> tuple[Prepared, ...]:
        self._close()
        if not self._sizes:
            return ()
        order = self._order()
        sizes = np.array(self._sizes, np.int64)
        check_size(self._records.partial, int(sizes.sum()))
        if not (order[1:] > order[:-1]).all():
            self._copy_in(order, sizes)
        spans = np.stack((np.cumsum(sizes[order]) - sizes[order], sizes[order]), axis=1)
        with self._index.partial.open("wb") as file:
            save_index(RecordIndex(spans, np.concatenate(self._locations)[order]), file)
        sync_path(self._records.partial)
        sync_path(self._index.partial)
        return (
            Prepared(self._records.path, self._records.partial, tiles=len(sizes)),
            Prepared(self._index.path, self._index.partial),
        )

    def _commit(self) -> Sequence[Path]:
        if self._prepared is None:
            self._prepared = self._prepare()
        if not self._prepared:
            self._index.withdraw()
            self._records.withdraw()
            return ()
        self._records.check_untouched()
        self._index.withdraw()
        made = (self._records.publish(), self._index.publish())
        sync_path(self._path.parent)
        return made

    def _order(self) -> NDArray[np.intp]:
        numbers = np.concatenate(self._numbers)
        if self._settings.shuffle:
            return shuffled(numbers, slide=self._slide, seed=self._settings.seed)
        return np.argsort(numbers, kind="stable")

    def _copy_in(self, order: NDArray[np.intp], sizes: NDArray[np.int64]) -> None:
        starts = (np.cumsum(sizes) - sizes)[order]
        ends = starts + sizes[order]
        # Records that are adjacent in both orders, such as those of a row of tiles, are copied in one piece.
        breaks = np.flatnonzero(starts[1:] != ends[:-1])
        first, last = starts[np.append(0, breaks + 1)], ends[np.append(breaks, len(ends) - 1)]
        # Through memory of our own: the files' own buffers would copy each record twice more.
        memory, used = memoryview(bytearray(_BUFFER)), 0
        with self._records.partial.open("rb", buffering=0) as source, self._ordered.open("wb") as target:
            for start, end in zip(first.tolist(), last.tolist(), strict=True):
                at = source.seek(start)
                while at < end:
                    if used == len(memory):
                        target.write(memory)
                        used = 0
                    got = source.readinto(memory[used : used + end - at])
                    if not got:  # the file became shorter, as the check of its size says
                        break
                    at, used = at + got, used + got
            target.write(memory[:used])
        check_size(self._ordered, int(sizes.sum()))
        self._ordered.replace(self._records.partial)

    def abort(self) -> None:
        """Remove the temporary files."""
        with suppress(OSError):  # the file is thrown away, so it does not matter if the disk is full
            self._close()
        self._records.discard()
        self._index.discard()
        discard_path(self._ordered)

    def _close(self) -> None:
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
