"""A file that delays write errors until a library that cannot bear them is done, as HDF5."""

from __future__ import annotations

import io
from pathlib import Path


class PatientFile(io.RawIOBase):
    """A new file for HDF5 to write to, which keeps the first error of a write instead of raising it.

    The HDF5 library cannot close a file whose last writes fail, and then crashes the process. So it is told that all is
    well: data that could not be written is kept in memory (no more than its caches hold, because `check` is called
    after every tile), and the caller asks for the error.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._file = path.open("w+b", buffering=0)
        self._position = 0
        self._error: OSError | None = None
        self._unwritten: list[tuple[int, bytes]] = []

    def check(self) -> None:
        """Raise the error of an earlier write, if any.

        Raises:
            OSError: for example of a full disk.
        """
        if self._error is not None:
            raise self._error

    def readable(self) -> bool:
        """True."""
        return True

    def writable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Set the position."""
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._end()}[whence]
        self._position = start + offset
        return self._position

    def _end(self) -> int:
        written = self._file.seek(0, io.SEEK_END)
        return max(written, *(start + len(part) for start, part in self._unwritten), 0)

    def tell(self) -> int:
        """The position."""
        return self._position

    def write(self, contents: bytes | bytearray | memoryview, /) -> int:  # type: ignore[override]  # h5py's buffers
        """Write everything, or remember the error."""
        part = bytes(contents)
        if self._error is None:
            try:
                self._file.seek(self._position)
                done = 0
                while done < len(part):
                    done += self._file.write(memoryview(part)[done:])
            except OSError as error:
                self._error = error
        if self._error is not None:
            self._unwritten.append((self._position, part))
        self._position += len(part)
        return len(part)

    def readinto(self, buffer: bytearray | memoryview, /) -> int:  # type: ignore[override]
        """Read what was written, including data that did not reach the disk."""
        view = memoryview(buffer).cast("B")
        start, count = self._position, min(len(view), max(0, self._end() - self._position))
        self._file.seek(start)
        stored = self._file.read(count)
        view[: len(stored)] = stored
        view[len(stored) : count] = bytes(count - len(stored))
        for place, part in self._unwritten:
            first, last = max(place, start), min(place + len(part), start + count)
            if first < last:
                view[first - start : last - start] = part[first - place : last - place]
        self._position += count
        return count

    def truncate(self, size: int | None = None, /) -> int:
        """Set the length of the file, or remember the error."""
        wanted = self._position if size is None else size
        if self._error is None:
            try:
                self._file.truncate(wanted)
            except OSError as error:
                self._error = error
        return wanted

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
