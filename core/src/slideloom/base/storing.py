"""Safe writing: names that stay within their folder, files that are never half-written, errors with a remedy."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs

from slideloom.base.addresses import check_local
from slideloom.base.errors import OutputError
from slideloom.base.system_errors import writing_trouble
from slideloom.base.temporary import is_temporary, keep_aside, partial_path, remove_abandoned_at_times

log = logging.getLogger(__name__)

# On Windows a colon makes a name that of another drive, or of another stream of a file.
_SEPARATORS = {"/", "\\", "\0"} | ({":"} if os.name == "nt" else set())


@contextmanager
def storing_in(folder: Path) -> Iterator[None]:
    """Within it, an `OSError` becomes an `OutputError` that names `folder` and a remedy.

    Raises:
        ConfigError: the folder is an address such as `s3://bucket/out`: a local folder `s3:` would be written.
    """
    check_local(folder)
    try:
        yield
    except OSError as error:
        raise OutputError(writing_trouble(error, at=folder)) from error


def path_inside(folder: Path, *names: str) -> Path:
    """`folder / name`, or a path with several names; none may lead out of the folder or look like a temporary file.

    Raises:
        OutputError: a name is empty, "." or "..", holds a path separator, or has the form of a temporary name.
    """
    for name in names:
        if not _is_file_name(name):
            raise OutputError(f"{folder}: {name!r} cannot be used as a file name; rename the slide")
        folder = folder / name
    return folder


def path_of_name(folder: Path, name: str, *, ending: str = "") -> Path:
    """The path in a folder for a slide's name, whose folders, if it has any, are folders there, too.

    Args:
        folder: where it is.
        name: such as "slide" or "lab1/case7/slide".
        ending: what follows the name, such as ".json".

    Raises:
        OutputError: a part of the name cannot be the name of a file or folder; see `path_inside`.
    """
    *folders, own = name.split("/")
    return path_inside(folder, *folders, f"{own}{ending}")


def names_in(folder: Path, ending: str) -> dict[str, Path]:
    """Names and paths of the files that `path_of_name` makes in a folder with this ending, sorted by path."""
    found: dict[str, Path] = {}
    for home, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_temporary(name)]
        for file in files:
            if file.endswith(ending):
                path = Path(home, file)
                found[path.relative_to(folder).as_posix().removesuffix(ending)] = path
    return dict(sorted(found.items(), key=lambda item: item[1]))


def file_name(_instance: Any, attribute: attrs.Attribute[Any], value: str) -> None:
    """A validator for the name of one file or folder."""
    if not _is_file_name(value):
        raise ValueError(f"{attribute.name} must be one name without separators, not {value!r}")


def _is_file_name(name: str) -> bool:
    return name not in {"", ".", ".."} and not _SEPARATORS & set(name) and not is_temporary(name)


def sync_path(path: Path) -> None:
    """Wait until the content of a file, or the list of names in a folder, would survive a power cut."""
    if path.is_dir() and os.name == "nt":  # Windows cannot open folders, and writes their lists of names at once
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, content: bytes | Iterable[bytes]) -> None:
    """Write a file so that its final name never holds part of it. Its folder is made if missing.

    Args:
        path: of the file.
        content: all of it, or one part after the other, so that a large file need not be in memory.

    Raises:
        OSError: the file cannot be written; nothing is left behind.
        ConfigError: the path is an address.
    """
    check_local(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_abandoned_at_times(path.parent)
    partial = partial_path(path)
    try:
        with partial.open("wb") as file:
            file.writelines([content] if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def utf8(text: str) -> bytes:
    r"""Text as UTF-8.

    File names are bytes on some systems, and bytes that are not UTF-8 cannot be encoded. They are written as JSON
    escapes, such as `\udcfc`: JSON reads the same name back, and people can see the place.
    """
    return text.encode("utf-8", "backslashreplace")


def make_room(path: Path, is_ours: Callable[[bytes], bool]) -> Path | None:
    """Move another program's file out of the way of a file that is about to be written. Nothing is deleted.

    Args:
        path: the file that is about to be written; it may be missing.
        is_ours: returns True for the content of a file that slideloom made.

    Returns:
        The new name of the other program's file, or None if nothing was in the way.
    """
    try:
        if is_ours(path.read_bytes()):
            return None
    except FileNotFoundError:
        return None
    aside = keep_aside(path, "foreign")
    log.warning("%s was not made by slideloom; it was moved aside to %s", path, aside.name)
    return aside


def write_json(path: Path, table: Mapping[str, Any]) -> None:
    """Write a table as JSON, either completely or not at all.

    Raises:
        OutputError: the file cannot be written.
    """
    with storing_in(path.parent):
        write_whole(path, utf8(json_text(table) + "\n"))


def json_text(table: Mapping[str, Any]) -> str:
    """A table as JSON text, without the last line end."""
    return json.dumps(table, indent=2, ensure_ascii=False)
