"""Recognises that a file has changed, so that values cached from it are dropped."""

from __future__ import annotations

from pathlib import Path

from attrs import frozen


@frozen
class FileState:
    """The present state of a file; equal to an earlier state if nothing has been written since.

    Attributes:
        path: path without symbolic links.
        changed_ns: time of the last change in nanoseconds, 0 if there is no such file.
        size: size in bytes, 0 if there is no such file.
        number: inode number, which differs for a file put in its place; 0 if there is no such file.
    """

    path: Path
    changed_ns: int
    size: int
    number: int = 0

    @property
    def is_there(self) -> bool:
        """True if the file exists."""
        return self != FileState(self.path, 0, 0)

    @classmethod
    def of(cls, path: Path) -> FileState:
        """The state of a file; all zeros if it is missing."""
        where = path.resolve()
        try:
            found = where.stat()
        except OSError:
            return cls(where, 0, 0)
        return cls(where, found.st_mtime_ns, found.st_size, found.st_ino)
