"""An HDF5 file whose rows come one after another, and which gets its name when it is whole."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from slideloom import Draft, OutputError, PatientFile, Prepared, storing_in, sync_path

_CACHE_BYTES = 1 << 20  # as HDF5 1 has it; more would hide a full disk until the end of a small slide
_CHUNK_BYTES = 1 << 16

Rows = NDArray[np.float32]  # (N, D)


class RowsFile:
    """A data set of rows in an HDF5 file. Its bytes do not depend on how many rows are added at a time.

    Args:
        path: the final name.
        dataset: name of the rows' data set.
        finish: writes all else, when the rows are there; it is called with the open file.
    """

    def __init__(self, path: Path, *, dataset: str, finish: Callable[[h5py.File], None]) -> None:
        self._path = path
        self._name = dataset
        self._finish = finish
        self._waiting: list[Rows] = []
        self._rows: h5py.Dataset | None = None
        self._stream: PatientFile | None = None
        self._file: h5py.File | None = None
        with storing_in(path.parent):
            self.draft = Draft(path)
            self._stream = PatientFile(self.draft.partial)
            self._file = h5py.File(self._stream, "w", rdcc_nbytes=_CACHE_BYTES)

    def add(self, rows: Rows) -> None:
        """Append rows (B, D), of the same D each time."""
        if self._file is None or self._stream is None:
            raise ValueError(f"{self._path} is closed")
        with storing_in(self._path.parent):
            if self._rows is None:
                width = rows.shape[1]
                chunk = (max(1, _CHUNK_BYTES // (4 * width)), width)
                self._rows = self._file.create_dataset(
                    self._name, shape=(0, width), maxshape=(None, width), chunks=chunk, dtype=np.float32
                )
            self._waiting.append(rows)
            self._flush(whole=self._rows.chunks[0])
            self._stream.check()

    def _flush(self, *, whole: int) -> None:
        """Store what waits in pieces of `whole` rows; a rest waits for more, unless `whole` is 1."""
        count = sum(map(len, self._waiting)) // whole * whole
        if not count or self._rows is None:
            return
        rows = np.concatenate(self._waiting)
        self._waiting = [rows[count:]]
        for start in range(0, count, self._rows.chunks[0]):
            part = rows[start : min(start + self._rows.chunks[0], count)]
            self._rows.resize(len(self._rows) + len(part), axis=0)
            self._rows[-len(part) :] = part

    def prepare(self, tiles: int) -> Prepared:
        """Write the rest, make the file durable, and count its rows.

        Raises:
            OutputError: the disk is full, or the file does not hold what was written.
        """
        with storing_in(self._path.parent):
            if self._file is None:
                raise ValueError(f"{self._path} is closed")
            self._flush(whole=1)
            self._finish(self._file)
            self._close()
            # Opened here: the library would ask for a lock, which some file systems do not have.
            with self.draft.partial.open("rb") as stored, h5py.File(stored, "r") as file:
                found = len(file[self._name])
            if found != tiles:
                raise OutputError(
                    f"{self._path}: holds {found} rows where {tiles} tiles were written; check the disk, then run again"
                )
            sync_path(self.draft.partial)
        return Prepared(self._path, self.draft.partial, tiles=tiles)

    def _close(self) -> None:
        file, stream, self._file, self._stream, self._rows = self._file, self._stream, None, None, None
        if file is not None and stream is not None:
            file.close()
            stream.close()
            stream.check()

    def abort(self) -> None:
        """Remove the unfinished file."""
        with suppress(OSError):  # the file is discarded, so a full disk does not matter here
            self._close()
        self.draft.discard()


def read_rows(path: Path, dataset: str) -> Rows:
    """All rows of a data set, (N, D) float32."""
    with path.open("rb") as stored, h5py.File(stored, "r") as file:
        rows: Rows = file[dataset][:]
    return rows
