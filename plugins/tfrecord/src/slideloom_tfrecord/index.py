"""Where each record of a file is: `<slide>.index.npz` beside `<slide>.tfrecords`, or a look through the file.

The index holds `arr_0` (n, 2) int64, start byte and total bytes of each record, and `locations` (n, 2) int64,
`loc_x` and `loc_y`; it is what Slideflow reads and writes.
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
    """Where records are.

    Attributes:
        spans: (n, 2) int64, start byte and total bytes of each record.
        locations: (n, 2) int64, `loc_x` and `loc_y` of each, or None if they are not known.
    """

    spans: NDArray[np.int64] = field(eq=False)
    locations: NDArray[np.int64] | None = field(eq=False)

    def __len__(self) -> int:
        return len(self.spans)


def index_path(tfrecord: Path) -> Path:
    """The index that belongs to a TFRecord file."""
    return tfrecord.with_name(f"{tfrecord.stem}.index.npz")


def save_index(index: RecordIndex, file: BinaryIO) -> None:
    """Write the index; equal indexes give equal bytes."""
    locations = np.empty((0, 2), np.int64) if index.locations is None else index.locations
    np.savez(file, arr_0=index.spans, locations=locations)


def index_of(tfrecord: Path) -> RecordIndex:
    """The stored index if it fits the file, else one made from the file (which reads 12 bytes per record).

    Raises:
        DamagedRecord: there is no index that fits, and the file is damaged.
    """
    stored = _stored_index(tfrecord)
    return scan(tfrecord) if stored is None else stored


def _stored_index(tfrecord: Path) -> RecordIndex | None:
    try:
        with index_path(tfrecord).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            spans = _whole_numbers(arrays["arr_0"])
            locations = _whole_numbers(arrays["locations"]) if "locations" in arrays else np.empty((0, 2), np.int64)
    except Exception:  # on damaged bytes zipfile, zlib and numpy raise nearly anything; the file itself tells then
        return None
    # The name is also used beside feature files with other content, and an old index may lie beside a new file.
    is_ours = spans.ndim == 2 and spans.shape[1:] == (2,)
    if not is_ours or not np.array_equal(spans[:, 0], np.cumsum(spans[:, 1]) - spans[:, 1]):
        return None
    if int(spans[:, 1].sum()) != tfrecord.stat().st_size:
        return None
    return RecordIndex(spans, locations if locations.shape == spans.shape else None)


def _whole_numbers(array: NDArray[np.generic]) -> NDArray[np.int64]:
    """The array as int64; other writers may have stored it as floats.

    Raises:
        ValueError: it holds something else.
    """
    if array.dtype.kind not in "iuf" or not np.isfinite(array.astype(np.float64)).all():
        raise ValueError(f"holds {array.dtype}")
    return array.astype(np.int64)


def scan(tfrecord: Path) -> RecordIndex:
    """The index made by going from record to record; locations stay unknown.

    Raises:
        DamagedRecord: the file ends within a record or a length is damaged.
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
    """`count` bytes.

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
