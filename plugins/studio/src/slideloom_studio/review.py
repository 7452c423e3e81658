"""What people noted of slides: `review.csv`, which a project takes as annotations and filters by."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from attrs import frozen
from slideloom.base.csv_tables import csv_text, open_table, unguarded
from slideloom.base.errors import ConfigError
from slideloom.base.files import FileState
from slideloom.base.storing import storing_in, utf8, write_whole

from slideloom_studio.calls import Refused

Status = Literal["untouched", "reviewed", "excluded"]
FILE = "review.csv"
COLUMNS = ("patient", "slide", "review", "note")
_LONGEST_NOTE = 10_000


@frozen
class Remark:
    """What is noted of a slide."""

    status: Status = "untouched"
    note: str = ""


class Review:
    """The remarks of a session's slides, kept in a file. Thread-safe.

    The file has the columns `patient` and `slide`, which annotations of a project need, and `review` and `note`. Other
    columns that somebody added stay, and so do slides that are not in the session.

    Args:
        path: of the file; it is made with the first remark.
        patients: of slides, where they are known; else a slide is its own patient.
        can_write: False to refuse remarks.
    """

    def __init__(self, path: Path, *, patients: Mapping[str, str] | None = None, can_write: bool = True) -> None:
        self.path = path
        self._patients = patients or {}
        self._can_write = can_write
        self._lock = threading.Lock()
        self._state: FileState | None = None
        self._rows: dict[str, dict[str, str]] = {}

    def of(self, slide: str) -> Remark:
        """What is noted of a slide.

        Raises:
            ConfigError: the file is no table of remarks.
        """
        with self._lock:
            row = self._read().get(slide, {})
        status: Any = row.get("review", "")
        return Remark(status if status in get_args(Status) else "untouched", row.get("note", ""))

    def note(self, slide: str, status: Any, note: Any) -> None:
        """Note something of a slide.

        Raises:
            Refused: it is no remark, or nothing may be written.
            OutputError: the file cannot be written; it is as before.
        """
        if not self._can_write:
            raise Refused(403, "nothing can be noted: the studio was opened with --read-only")
        if status not in get_args(Status):
            raise Refused(422, f"status must be one of {', '.join(get_args(Status))}, not {status!r:.40}")
        if not isinstance(note, str) or len(note) > _LONGEST_NOTE:
            raise Refused(422, f"note must be text of at most {_LONGEST_NOTE} letters")
        with self._lock:
            rows = dict(self._read())
            known = rows.get(slide, {"patient": self._patients.get(slide, slide), "slide": slide})
            rows[slide] = {**known, "review": status, "note": note.strip()}
            columns = list(dict.fromkeys([*COLUMNS, *(name for row in rows.values() for name in row)]))
            cells = [[row.get(name, "") for name in columns] for row in rows.values()]
            with storing_in(self.path.parent):
                write_whole(self.path, utf8(csv_text(columns, cells)))

    def _read(self) -> dict[str, dict[str, str]]:
        """The rows of the file by slide, read again where it has changed."""
        state = FileState.of(self.path)
        if state == self._state:
            return self._rows
        rows: dict[str, dict[str, str]] = {}
        if state.is_there:
            with open_table(self.path, fits=lambda header: "slide" in header) as table:
                if "slide" not in table.header:
                    raise ConfigError(f"{self.path}: has no column 'slide'; move it away, or choose another --out")
                for _, cells in table.rows():
                    row = dict(zip(table.header, map(unguarded, cells), strict=False))
                    rows[row["slide"]] = row
        self._state, self._rows = state, rows
        return rows
