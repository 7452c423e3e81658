"""Where each record of a file is: from `<slide>.index.npz` beside `<slide>.tfrecords`, or by scanning the file.

The index holds `arr_0` (n, 2) int64, start byte and total bytes of each record, and `locations` (n, 2) int64, `loc_x`
and `loc_y` of each tile. Slideflow reads and writes the same.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom import SlideloomError

from slideloom_tfrecord.framing import HEAD, OVERHEAD, data_length


class DamagedRecord(SlideloomError):
    """A TFRecord file is cut short or its content has changed."""


@frozen
class RecordIndex:
    """The positions of a file's records.

    Attributes:
        spans: (n, 2) int64, start byte and total bytes of each record.
        locations: (n, 2) int64, `loc_x` and `loc_y` of each tile in level-0 pixels, or None if they are not known.
    """

    spans: NDArray[np.int64] = field(eq=False)
    locations: NDArray[np.int64] | None = field(eq=False)

    def __len__(self) -> int:
        return len(self.spans)


def index_path(tfrecord: Path) -> Path:
    """The index that belongs to a TFRecord file."""
    return tfrecord.with_name(f"{tfrecord.stem}.index.npz")


def save_index(index: RecordIndex, file: BinaryIO) -> None:
    """Write an index; equal indexes give equal bytes."""
    locations = np.empty((0, 2), np.int64) if index.locations is None else index.locations
    np.savez(file, arr_0=index.spans, locations=locations)


def index_of(tfrecord: Path) -> RecordIndex:
    """The stored index if it fits the file, else one made from the file, which reads 12 bytes per record.

    Raises:
        DamagedRecord: no stored index fits, and the file is damaged.
    """
    stored = _stored_index(tfrecord)
    return scan(tfrecord) if stored is None else stored


def _stored_index(tfrecord: Path) -> RecordIndex | None:
    try:
        with index_path(tfrecord).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            spans = _whole_numbers(arrays["arr_0"])
            locations = _whole_numbers(arrays["locations"]) if "locations" in arrays else np.empty((0, 2), np.int64)
    except Exception:  # zipfile, zlib and numpy raise almost anything for damaged bytes; then the file is scanned
        return None
    # Feature files have an index of this name with other content, and an old index may lie beside a new file.
    is_ours = spans.ndim == 2 and spans.shape[1:] == (2,)
    if not is_ours or not np.array_equal(spans[:, 0], np.cumsum(spans[:, 1]) - spans[:, 1]):
        return None
    if int(spans[:, 1].sum()) != tfrecord.stat().st_size:
        return None
    return RecordIndex(spans, locations if locations.shape == spans.shape else None)


def _whole_numbers(array: NDArray[np.generic]) -> NDArray[np.int64]:
    """The array as int64; other writers may have stored it as floats.

    Raises:
        ValueError: it holds anything but whole numbers.
    """
    if array.dtype.kind not in "iuf" or not np.isfinite(array.astype(np.float64)).all():
        raise ValueError(f"holds {array.dtype}")
    return array.astype(np.int64)


def scan(tfrecord: Path) -> RecordIndex:
    """The index found by scanning the file record by record, without locations.

    Raises:
        DamagedRecord: the file ends within a record, or a length is damaged.
    """
    size = tfrecord.stat().st_size
    spans: list[tuple[int, int]] = []
    start = 0
    with tfrecord.open("rb", buffering=0) as file:
        while start < size:
            file.seek(start)
            try:
                total = data_length(read_exactly(file, HEAD.size)) + OVERHEAD
            except ValueError as error:
                raise damaged(tfrecord, len(spans), str(error)) from error
            if start + total > size:
                raise damaged(tfrecord, len(spans), "the file ends within it")
            spans.append((start, total))
            start += total
    return RecordIndex(np.array(spans, np.int64).reshape(-1, 2), None)


def read_exactly(file: BinaryIO, count: int) -> bytes:
    """The next `count` bytes of a file.

    Raises:
        ValueError: the file ends before.
    """
    contents = file.read(count)
    if len(contents) != count:
        raise ValueError("the file ends within it")
    return contents


def damaged(tfrecord: Path, number: int, reason: str) -> DamagedRecord:
    """The error for record `number`, counted from 0."""
    return DamagedRecord(f"{tfrecord}: record {number} is damaged: {reason}; extract the slide again")
