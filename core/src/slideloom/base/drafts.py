"""Files and folders that are made under a private name and then replace the result of an earlier run, nothing else."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from slideloom.base.errors import OutputError
from slideloom.base.files import FileState
from slideloom.base.temporary import aside_path, discard_path, partial_path, remove_abandoned_at_times

# The errors of link on file systems without hard links: FAT, some FUSE and network file systems.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EINVAL}


class Draft:
    """An unfinished file or folder, and its final name.

    A file that already has this name when the draft begins is from an earlier run and may be replaced. A file that
    gets the name later is from another run, which the lock failed to keep out. It is left alone: the run that comes
    second fails.

    Args:
        path: the final name. Its folder is made, and temporary files that dead processes left there are removed.

    Attributes:
        path: the final name.
        partial: path to write to; nothing is there yet.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_abandoned_at_times(path.parent)
        self.partial = partial_path(path)
        self._aside = aside_path(path)
        self._before = FileState.of(path)

    def publish(self) -> Path:
        """Give the draft its final name, and return the name.

        Raises:
            OutputError: another run has written there since the draft began.
            OSError: the draft cannot be renamed.
        """
        self.check_untouched()
        if self.partial.is_dir():
            self._publish_folder()
        elif self.path.exists():
            self.partial.replace(self.path)
        else:
            self._publish_new()
        return self.path

    def withdraw(self) -> None:
        """Remove what an earlier run left under the final name.

        Raises:
            OutputError: another run has written there since the draft began.
        """
        self.check_untouched()
        discard_path(self.path)

    def discard(self) -> None:
        """Remove the draft. If an earlier file was moved aside for it, that file gets its name back."""
        discard_path(self.partial)
        if self._aside.exists() and not self.path.exists():
            self._aside.rename(self.path)
        discard_path(self._aside)

    def check_untouched(self) -> None:
        """Check that the file with the final name is still the one that was there when the draft began.

        Raises:
            OutputError: it is another one.
        """
        now, before = FileState.of(self.path), self._before
        # The inode number is not compared: on some network file systems it changes at every call.
        if now.is_there and (now.changed_ns, now.size) != (before.changed_ns, before.size):
            raise self._taken()

    def _publish_new(self) -> None:
        if os.name == "nt":  # where renaming never replaces
            self._rename_to_free_place()
            return
        try:
            self.path.hardlink_to(self.partial)
        except FileExistsError as error:
            # A server may have made the link although its answer was lost.
            if not self.path.samefile(self.partial):
                raise self._taken() from error
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            self.check_untouched()
            self.partial.rename(self.path)
            return
        self.partial.unlink()

    def _publish_folder(self) -> None:
        if self.path.exists():
            self.path.rename(self._aside)
        self._rename_to_free_place()
        discard_path(self._aside)

    def _rename_to_free_place(self) -> None:
        """Rename where the system itself refuses to replace: folders that are not empty, and anything on Windows."""
        try:
            self.partial.rename(self.path)
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise self._taken() from error
            raise

    def _taken(self) -> OutputError:
        return OutputError(
            f"{self.path}: another run has written it meanwhile, and it is left as it is; "
            "let one run at a time work in a folder"
        )


def check_size(path: Path, wanted: int) -> None:
    """Check that a file holds as many bytes as were written to it.

    Raises:
        OutputError: it does not.
    """
    found = path.stat().st_size
    if found != wanted:
        raise OutputError(f"{path}: holds {found} bytes where {wanted} were written; check the disk, then run again")
