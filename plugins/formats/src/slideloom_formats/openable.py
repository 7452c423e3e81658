"""What readers check before they open a file: that it is there, of their kind, and can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from slideloom import SlideError


def check_there(path: Path, *, may_be_folder: bool = False) -> None:
    """Refuse a file that is not there.

    Raises:
        SlideError: there is none, or only a folder.
    """
    if not (path.is_file() or (may_be_folder and path.is_dir())):
        raise SlideError(f"{path}: no such file; check the path")


def check_kind(path: Path, kind: str, recognises: Callable[[Path], bool]) -> None:
    """Refuse a file that is not there, cannot be read, or is of another kind.

    Args:
        path: of the file.
        kind: what it must be, such as "CZI", for the message.
        recognises: tells whether it is; False where it cannot be read.

    Raises:
        SlideError: it is refused.
    """
    check_there(path)
    if recognises(path):
        return
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise unreadable(path, error) from error
    raise SlideError(f"{path.name}: is no {kind} file, or is damaged; let another reader open it")


def unreadable(path: Path, error: OSError) -> SlideError:
    """What to raise of a file that the system does not read."""
    return SlideError(f"{path.name}: cannot be read ({error.strerror or error}); check its disk")
