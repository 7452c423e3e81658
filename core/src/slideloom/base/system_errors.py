"""Errors of the operating system in words: the file, what the system says, and what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slideloom.base.addresses import SlidePlace
from slideloom.base.errors import SlideError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_DENIED = {errno.EACCES, errno.EPERM, errno.EROFS}
_TOO_MANY = {errno.EMFILE, errno.ENFILE}
_GONE = {errno.ENOENT, errno.ENOTDIR}
_IN_THE_WAY = {errno.EEXIST, errno.ENOTDIR, errno.EISDIR}
_MORE_FILES = "allow more open files (ulimit -n), or use fewer jobs or threads"


@contextmanager
def reading_slide(path: SlidePlace) -> Iterator[None]:
    """Within it, what the system refuses becomes a `SlideError` that names the slide's file and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a library's own, such as one that cannot be loaded
            raise
        other = f" of {error.filename}" if _is_other(error.filename, path) else ""
        raise SlideError(f"{path.name}: cannot be read ({_reason(error)}{other}); {_reading_remedy(error)}") from error


def writing_trouble(error: OSError, *, at: Path | str) -> str:
    """What keeps a folder or file, named `at`, from being written."""
    return f"{at}: {_writing_trouble(error, at)}"


def _writing_trouble(error: OSError, at: Path | str) -> str:
    reason = _reason(error)
    if error.errno in _FULL:
        return f"no room left to write ({reason}); free some space or choose another output folder, then run again"
    if error.errno in _DENIED:
        return f"not writable ({reason}); change its permissions or choose another output folder"
    if error.errno == errno.ENAMETOOLONG:
        return f"a file name is too long ({reason}); give the slide a shorter name"
    if error.errno in _TOO_MANY:
        return f"cannot be written ({reason}); {_MORE_FILES}"
    where = f" ({error.filename})" if _is_other(error.filename, Path(at)) else ""
    if error.errno in _IN_THE_WAY:
        return (
            f"cannot be written: {reason}{where}; a file, a folder or a link to nowhere has its place: move that away, "
            "or choose another output folder"
        )
    return f"cannot be written: {reason}{where}; check the disk or choose another output folder"


def in_words(error: BaseException) -> str:
    """An error of anybody's code: of the system with its file and the remedy, else as Python tells it."""
    if not isinstance(error, OSError) or not (error.filename or error.errno == errno.EIO):
        return f"{type(error).__name__}: {error}"
    name = f"{error.filename}: " if error.filename else ""
    return f"{name}{_reason(error)}; {_reading_remedy(error)}"


def _reading_remedy(error: OSError) -> str:
    if error.errno in _TOO_MANY:
        return _MORE_FILES
    if error.errno in _GONE:
        return "look whether it is still there"
    return "check its permissions" if error.errno in _DENIED else "check its permissions and its disk"


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _is_other(name: object, path: SlidePlace) -> bool:
    return isinstance(name, str) and Path(name) != path
