"""Files and folders that are made under a private name, and take the place of what was there before and of no more."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from slideloom.base.errors import OutputError
from slideloom.base.files import FileState
from slideloom.base.temporary import aside_path, discard_path, partial_path, remove_abandoned_at_times

# What link says where a file system has no second names for files: FAT, some FUSE and network ones.
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EINVAL}


class Draft:
    """A file or folder in the making, and its final name.

    What has this name when the draft begins is of an earlier run and may be replaced. What gets it later is of another
    run, which a lock did not keep away, and is left alone: whoever comes second fails.

    Args:
        path: the final name. Its folder is made, and what dead processes left there is removed.

    Attributes:
        path: the final name.
        partial: where to make it; nothing is there yet.

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
        """Give the draft its final name, and return that.

        Raises:
            OutputError: another run has written there since the draft began.
            OSError: it cannot be renamed.
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
        """Remove the draft; what made room for it goes back to its place."""
        discard_path(self.partial)
        if self._aside.exists() and not self.path.exists():
            self._aside.rename(self.path)
        discard_path(self._aside)

    def check_untouched(self) -> None:
        """Raise if what has the final name is not what the draft found there.

        Raises:
            OutputError: it is not.
        """
        now, before = FileState.of(self.path), self._before
        # Not its number: some network file systems give a file another one at every look.
        if now.is_there and (now.changed_ns, now.size) != (before.changed_ns, before.size):
            raise self._taken()

    def _publish_new(self) -> None:
        if os.name == "nt":  # where renaming never replaces
            self._rename_to_free_place()
            return
        try:
            self.path.hardlink_to(self.partial)
        except FileExistsError as error:
            # A server may have linked and lost its answer on the way.
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
        """Rename where the system itself refuses to replace: folders that hold something, and anything on Windows."""
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
    """Raise if a file does not hold as many bytes as were written to it.

    Raises:
        OutputError: it does not.
    """
    found = path.stat().st_size
    if found != wanted:
        raise OutputError(f"{path}: holds {found} bytes where {wanted} were written; check the disk, then run again")
