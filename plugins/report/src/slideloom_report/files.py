"""Which files a report may replace: only a report that is unchanged since it was written."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

from slideloom import OutputError, storing_in, write_whole

# The last line of a report, after the end of the PDF or page: the hash of everything before it. No other program writes
# such a line, and a report that somebody has edited, for example with remarks, no longer matches it.
PDF, HTML = (b"%slideloom-report sha256 ", b"\n"), (b"<!--slideloom-report sha256 ", b"-->\n")


def sealed(content: bytes, kind: tuple[bytes, bytes]) -> bytes:
    """The content of a report with its seal; `kind` is `PDF` or `HTML`."""
    before, after = kind
    return b"".join([content, before, hashlib.sha256(content).hexdigest().encode(), after])


def is_sealed(path: Path) -> bool:
    """True for a report that is unchanged since it was written, to the last byte."""
    return any(_is_sealed(path, *kind) for kind in (PDF, HTML))


def _is_sealed(path: Path, before: bytes, after: bytes) -> bool:
    length = len(before) + 64 + len(after)
    with path.open("rb") as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(max(0, size - length))
        line = file.read()
        if not (line.startswith(before) and line.endswith(after)):  # decided without reading a file that may be huge
            return False
        file.seek(0)
        return hashlib.sha256(file.read(size - length)).hexdigest().encode() == line[len(before) : -len(after)]


def refuse_to_replace(path: Path) -> None:
    """Check that a report may be written to `path`.

    Raises:
        OutputError: there is another file.
    """
    with storing_in(path.parent):
        if (path.exists() or path.is_symlink()) and not (path.is_file() and is_sealed(path)):
            raise OutputError(
                f"{path}: already exists and is not a report as slideloom wrote it; move it away or choose another name"
            )


def put_beside(path: Path, folder: Path) -> Path:
    """The report also in another folder: the same file by another name, or a copy where that cannot be.

    Nothing is replaced: where its name is taken, it gets a number.

    Raises:
        OutputError: it cannot be written.
    """
    with storing_in(folder):
        while True:
            target = unused(folder / path.name)
            try:
                target.hardlink_to(path)
            except FileExistsError:  # another run was faster
                continue
            except OSError:  # a file system without links
                write_whole(target, path.read_bytes())
            return target


def unused(path: Path) -> Path:
    """`path`, or if it or its HTML page is there, the first free name with -2, -3 and so on."""
    free, number = path, 1
    while free.exists() or free.with_suffix(".html").exists():
        number += 1
        free = path.with_stem(f"{path.stem}-{number}")
    return free
