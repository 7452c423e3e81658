"""Reads TFRecord files of tiles without TensorFlow: in stored order, or any record directly."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from slideloom_tfrecord.example import parse_example
from slideloom_tfrecord.framing import HEAD, OVERHEAD, data_is_intact, data_length
from slideloom_tfrecord.index import damaged, index_of, read_exactly

_OWN = ("image_raw", "slide", "loc_x", "loc_y")


@frozen
class Record:
    """One stored tile.

    Attributes:
        image_raw: the encoded image, JPEG or PNG.
        slide: name of the slide.
        loc_x: x of the tile's centre in level-0 pixels; None if the file does not hold it.
        loc_y: y of the tile's centre in level-0 pixels; None if the file does not hold it.
        beside: further pictures by name, such as "mask", each an encoded image.
    """

    image_raw: bytes
    slide: str
    loc_x: int | None = None
    loc_y: int | None = None
    beside: Mapping[str, bytes] = field(factory=dict, hash=False)


def read_records(path: Path, *, verify: bool = True) -> Iterator[Record]:
    """All records of a file in stored order.

    Args:
        path: an uncompressed TFRecord file.
        verify: check the CRC of each record's data, which takes less than 0.1 ms per MB.

    Raises:
        DamagedRecord: a record is cut short, its CRC does not match, or it is not a tile; names file and record.
    """
    size = path.stat().st_size
    with path.open("rb", buffering=1 << 20) as file:
        number = 0
        while file.tell() < size:
            try:
                length = data_length(read_exactly(file, HEAD.size))
                if length > size:
                    raise ValueError("the file ends within it")
                yield _record(read_exactly(file, length + 4), verify=verify)
            except ValueError as error:
                raise damaged(path, number, str(error)) from error
            number += 1


def _record(data_and_crc: bytes, *, verify: bool) -> Record:
    data = data_and_crc[:-4]
    if verify and not data_is_intact(data, data_and_crc[-4:]):
        raise ValueError("the data's CRC does not match")
    features = parse_example(data)
    image, slide = _first(features.get("image_raw")), _first(features.get("slide"))
    if not isinstance(image, bytes):
        raise ValueError("it has no bytes feature 'image_raw'")
    loc_x, loc_y = _first(features.get("loc_x")), _first(features.get("loc_y"))
    return Record(
        image_raw=image,
        slide=slide.decode() if isinstance(slide, bytes) else "",
        loc_x=loc_x if isinstance(loc_x, int) else None,
        loc_y=loc_y if isinstance(loc_y, int) else None,
        beside={
            name: values[0]
            for name, values in features.items()
            if name not in _OWN and values and isinstance(values[0], bytes)
        },
    )


def _first(values: list[bytes] | list[int] | None) -> bytes | int | None:
    return values[0] if values else None


@define
class _OpenFile:
    """An open file and the number of its users: its owner, and every read in progress. The last user closes it.

    The operating system gives the descriptor of a closed file to the next file that is opened. A read that is still in
    progress would then get bytes of the wrong file.
    """

    file: BinaryIO
    users: int = 1

    def let_go(self) -> None:
        """Remove one user. The caller holds the owner's lock."""
        self.users -= 1
        if not self.users:
            self.file.close()


class TFRecordFile:
    """One TFRecord file as a sequence of `Record`s with random access.

    Uses `<slide>.index.npz` if it fits the file, else scans the file for its records. It can be pickled, and used by
    several threads and after a fork: the file is opened at the first read, and read at explicit positions. `close` may
    be called at any time: reads in progress finish first, and a later read opens the file again.
    """

    def __init__(self, path: Path | str, *, verify: bool = True) -> None:
        """Find the records.

        Args:
            path: an uncompressed TFRecord file.
            verify: check the CRC of each record that is read.

        Raises:
            DamagedRecord: no stored index fits, and the file is damaged.
            OSError: the file cannot be read.
        """
        self._file: _OpenFile | None = None
        self._lock = threading.Lock()
        self.path = Path(path)
        self.verify = verify
        self._index = index_of(self.path)
        self._locations = self._index.locations

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> Record:
        """Record `number` in stored order; a negative number counts from the end.

        Raises:
            IndexError: there is no such record.
            DamagedRecord: the record is damaged.
        """
        wanted = number + len(self) if number < 0 else number
        if not 0 <= wanted < len(self):
            raise IndexError(f"{self.path}: no record {number}; it has {len(self)}")
        start, total = self._index.spans[wanted].tolist()
        contents = self._read(start, total)
        try:
            if len(contents) != total or data_length(contents[: HEAD.size]) != total - OVERHEAD:
                raise ValueError("it is not where the index says")
            return _record(contents[HEAD.size :], verify=self.verify)
        except ValueError as error:
            raise damaged(self.path, wanted, str(error)) from error

    def __iter__(self) -> Iterator[Record]:
        return (self[number] for number in range(len(self)))

    @property
    def locations(self) -> NDArray[np.int64] | None:
        """(n, 2) int64, `loc_x` and `loc_y` in stored order, or None. Without an index, reads the whole file."""
        if self._locations is None:
            found = [(record.loc_x, record.loc_y) for record in self]
            if any(x is None or y is None for x, y in found):
                return None
            self._locations = np.array(found, np.int64).reshape(-1, 2)
        return self._locations

    def _read(self, start: int, count: int) -> bytes:
        with self._lock:
            if self._file is None:
                self._file = _OpenFile(self.path.open("rb", buffering=0))
            opened = self._file
            if not hasattr(os, "pread"):  # Windows
                opened.file.seek(start)
                return opened.file.read(count)
            opened.users += 1
        try:
            return os.pread(opened.file.fileno(), count, start)
        finally:
            with self._lock:
                opened.let_go()

    def close(self) -> None:
        """Close the file after reads in progress have finished. Another read opens it again."""
        with self._lock:
            if self._file is not None:
                self._file.let_go()
                self._file = None

    def __del__(self) -> None:
        self.close()  # a loader holds many files and has no place to close them

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())
