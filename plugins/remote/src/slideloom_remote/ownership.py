"""To whom an address belongs: to one local folder, of which one run at a time puts files there.

slideloom/published.json      at the address and in the folder: that they belong together, and the last runs
slideloom/published.by.json   at the address, while a run works: which one
slideloom/published.copy.json in the folder: which copy of it this is, so that a run that was killed is known again
"""

from __future__ import annotations

import os
import shlex
import socket
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

from slideloom import (
    Address,
    OutputError,
    json_text,
    option_given,
    option_name,
    parse_json,
    storing_in,
    utf8,
    write_whole,
)

from slideloom_remote.prints import Print

T = TypeVar("T")

BOND, HOLDER, COPY = "slideloom/published.json", "slideloom/published.by.json", "slideloom/published.copy.json"
PRIVATE = (HOLDER, COPY)
"""Files of these that are not for the address."""


class Ownership:
    """The bond of an address and a local folder.

    Args:
        address: of the output.
        root: the local folder.
        content: gives the bytes of a file at the address, or None.
        put: puts a local file at the address, under its name in the folder; `is_new` if it must replace nothing.
        listed: tells whether anything is in a folder at the address.

    Attributes:
        id: of the bond.
    """

    def __init__(
        self,
        address: Address,
        root: Path,
        *,
        content: Callable[[str], bytes | None],
        put: Callable[[str, Print, bool], object],
        listed: Callable[[str], bool],
    ) -> None:
        self._place = str(address.without_slash())
        self._root = root
        self._content = content
        self._put = put
        self._listed = listed
        self._copy = self._copy_of_folder()
        self._run = uuid4().hex
        self._held()
        self._bond()
        self._take()
        bond = self._bond()  # again, as a run from another copy may have ended meanwhile
        self.id = str(bond["id"])
        self._write_and_put(BOND, {**bond, "runs": [*bond["runs"][-1:], uuid4().hex]}, is_new=False)

    def check(self) -> None:
        """Check that this run still has the address.

        Raises:
            OutputError: another run has taken it.
        """
        held = self._told(HOLDER)
        if held is None or held.get("run") != self._run:
            by = "nobody any more" if held is None else _who(held)
            raise OutputError(f"{self._place}: is held by {by}, not by this run; run again when no other does")

    def _bond(self) -> Mapping[str, Any]:
        """What the address and the folder say of each other; the address is bound to the folder if it is free."""
        mine, theirs = self._noted(BOND), self._told(BOND)
        if mine is not None and mine.get("address") != self._place:
            raise OutputError(
                f"{self._root}: what is here belongs to {mine.get('address')}; name another folder for {self._place} "
                f"with {option_name('run', 'staging')}"
            )
        if theirs is None:
            if self._listed("slideloom"):
                raise OutputError(
                    f"{self._place}: holds the output of a run, but no {BOND}, by which a run that puts its files "
                    "there is known again; use another address"
                )
            mine = mine or {"id": uuid4().hex, "address": self._place, "runs": [uuid4().hex]}
            self._write_and_put(BOND, mine, is_new=True)
            theirs = self._told(BOND)
        if theirs is None or mine is None or theirs.get("id") != mine.get("id"):
            raise OutputError(
                f"{self._place}: holds the output of a run in another folder, and {self._root} does not know what; "
                f"{self._copied()}, and run again, or use another address"
            )
        if theirs["runs"][-1] not in mine["runs"]:
            raise OutputError(
                f"{self._place}: a run from another copy of {self._root} has gone on with it, so what is here is out "
                f"of date; {self._copied('NEW')}, give {option_given('run', 'staging', 'NEW')}, and run again"
            )
        return theirs

    def _copied(self, to: str = "") -> str:
        there, here = shlex.quote(self._place), shlex.quote(to or str(self._root))
        if self._place.startswith("s3://"):
            return f"copy it (aws s3 sync {there} {here})"
        if self._place.startswith(("gs://", "gcs://")):
            return f"copy it (gcloud storage rsync -r {there} {here})"
        return f"copy all of it to {to or self._root}"

    def _copy_of_folder(self) -> str:
        """Which copy of the folder this is; another one at another place has another name."""
        known, place = self._noted(COPY), str(self._root.absolute())
        if known is not None and known.get("folder") == place and known.get("copy"):
            return str(known["copy"])
        copy = {"copy": uuid4().hex, "folder": place}
        self._write(COPY, copy)
        return copy["copy"]

    def _held(self) -> Mapping[str, Any] | None:
        """Which run of this folder has the address, or was killed while it had; None if none. Others are refused."""
        held = self._told(HOLDER)
        # One that this folder has left there is of a run that was killed: the folder is locked while one works.
        if held is not None and held.get("copy") != self._copy:
            raise OutputError(
                f"{self._place}: {_who(held)} puts files there; wait for it, or if it was killed, remove "
                f"{self._place}/{HOLDER} and run again"
            )
        return held

    def _take(self) -> None:
        held = self._held()
        holder = {
            "copy": self._copy,
            "run": self._run,
            "folder": str(self._root.absolute()),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._write_and_put(HOLDER, holder, is_new=held is None)
        self.check()

    def _told(self, name: str) -> Mapping[str, Any] | None:
        """The table in a file at the address; None if there is none."""
        content = self._content(name)
        if content is None:
            return None
        table = _table(content)
        if table is None or (name == BOND and not _is_bond(table)):
            raise OutputError(f"{self._place}/{name}: was not put there by slideloom; use another address")
        return table

    def _noted(self, name: str) -> Mapping[str, Any] | None:
        """The table in a local file; None if there is none."""
        with storing_in(self._root):
            try:
                table = _table((self._root / name).read_bytes())
            except FileNotFoundError:
                return None
        return None if table is None or (name == BOND and not _is_bond(table)) else table

    def _write(self, name: str, table: Mapping[str, Any]) -> None:
        with storing_in(self._root):
            write_whole(self._root / name, utf8(json_text(table) + "\n"))

    def _write_and_put(self, name: str, table: Mapping[str, Any], *, is_new: bool) -> None:
        self._write(name, table)
        self._put(name, Print.of(self._root / name), is_new)


def _table(content: bytes) -> Mapping[str, Any] | None:
    try:
        table = parse_json(content)
    except ValueError:
        return None
    return table if isinstance(table, dict) else None


def _is_bond(table: Mapping[str, Any]) -> bool:
    return bool(table.get("id")) and isinstance(table.get("runs"), list) and len(table["runs"]) > 0


def _who(held: Mapping[str, Any]) -> str:
    return (
        f"a run on {held.get('host')} (process {held.get('process')}, since {held.get('since')}, from "
        f"{held.get('folder')})"
    )
