"""Which version of a file it is, for what is kept of it in memory."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen


@frozen
class FileState:
    """A file as it is now; equal to an earlier state if nothing was written since.

    Attributes:
        path: without links.
        changed_ns: time of the last change, 0 where there is no such file.
        size: in bytes, 0 where there is no such file.
        number: of the file on its disk, which another file put in its place does not have; 0 where there is none.
    """

    path: Path
    changed_ns: int
    size: int
    number: int = 0

    @property
    def is_there(self) -> bool:
        """True if there is such a file."""
        return self != FileState(self.path, 0, 0)

    @classmethod
    def of(cls, path: Path) -> FileState:
        """The state of a file; a missing one has zeros, and fails where it is read."""
        where = path.resolve()
        try:
            found = where.stat()
        except OSError:
            return cls(where, 0, 0)
        return cls(where, found.st_mtime_ns, found.st_size, found.st_ino)
