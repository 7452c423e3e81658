"""Signs of life: files by which processes on any machine tell each other that they still work.

On one machine, the number of a process tells whether it runs. From another machine the sign is watched: its process
renews it all the time, and one that stays unchanged for long is that of a dead process. Only changes count, seen on the
watcher's own clock, because the clocks of two machines may differ.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from attrs import frozen

from slideloom.base.live_processes import runs_here, this_boot, word_of
from slideloom.base.parsing import parse_json
from slideloom.base.storing import json_text, utf8, write_whole

log = logging.getLogger(__name__)

BEAT_S = 20.0
# Network file systems show a change up to a minute later, and a machine that is out of memory may stand still as long.
SILENCE_S = 300.0


@frozen
class Told:
    """What a sign of life tells of its process.

    Attributes:
        boot: the machine, see `this_boot`.
        host: its name, for people.
        process: number of the process.
        word: which of the processes with this number.
        about: what else its process wrote into it.
    """

    boot: str
    host: str
    process: int
    word: str
    about: Mapping[str, Any]

    @classmethod
    def by(cls, path: Path) -> Told | None:
        """What the sign at `path` tells; None if it is gone, or tells nothing that can be understood.

        Raises:
            OSError: it is there and cannot be read.
        """
        try:
            table = parse_json(path.read_text(encoding="utf-8"))
            boot, host, word = (str(table[key]) for key in ("boot", "host", "word"))
            return cls(boot, host, int(table["process"]), word, dict(table["about"]))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):  # the disk was full
            return None

    def __str__(self) -> str:
        return f"process {self.process} on {self.host}"


class SignOfLife:
    """The sign of this process, shown and renewed while it is held as a context manager.

    Args:
        folder: where all signs are.
        about: what to tell others.

    Attributes:
        path: the sign. No other has its name.
        since_ns: when it was first shown, on the clock of the file system.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        own = f"{this_boot()[:8]}-{os.getpid()}-{word_of(os.getpid())}-{secrets.token_hex(4)}"
        self.path = folder / own
        self.since_ns = 0
        self._about = dict(about)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="slideloom-life", daemon=True)

    def __enter__(self) -> Self:
        self._show()
        self.since_ns = self.path.stat().st_mtime_ns
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        try:
            self.path.unlink(missing_ok=True)
        except OSError as problem:  # others see that this process has ended
            log.warning("%s: cannot be removed (%s)", self.path, problem.strerror)

    def _show(self) -> None:
        table = {
            "boot": this_boot(),
            "host": socket.gethostname(),
            "process": os.getpid(),
            "word": word_of(os.getpid()),
            "about": self._about,
        }
        write_whole(self.path, utf8(json_text(table)))

    def _beat(self) -> None:
        while not self._over.wait(BEAT_S):
            try:
                self.renew()
            except OSError as error:  # the disk may answer again before the others give up on this process
                log.warning("%s: cannot be renewed (%s)", self.path, error.strerror)

    def renew(self) -> None:
        """Show that this process lives, also if others took it for dead and removed the sign."""
        try:
            os.utime(self.path)
        except FileNotFoundError:
            log.warning("%s: was removed by a run that took this one for dead", self.path)
            self._show()


class Watcher:
    """Judges whether other processes live by their signs.

    Args:
        clock: seconds that pass, from any beginning.
        silence_s: so long a sign of another machine is unchanged before its process counts as dead.

    Attributes:
        silence_s: the same.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic, silence_s: float | None = None) -> None:
        self._clock = clock
        self.silence_s = SILENCE_S if silence_s is None else silence_s
        self._seen: dict[Path, tuple[object, float, bool]] = {}

    def is_alive(self, path: Path) -> bool | None:
        """Whether the process of a sign lives; None if that is not known yet: ask again later.

        Raises:
            OSError: the sign is there and cannot be read.
        """
        told = Told.by(path)
        if told is not None and told.boot == this_boot():
            runs = runs_here(told.process, told.word)
            if runs is not None:
                return runs
        return self.is_changing(path)

    def is_changing(self, path: Path) -> bool | None:
        """Whether a file was written since it was first looked at; False if it is gone, or unchanged for too long."""
        try:
            with path.open("rb") as file:  # opened, because network file systems then look at the server
                found = os.fstat(file.fileno())
        except FileNotFoundError:
            return False
        state, now = (found.st_mtime_ns, found.st_size), self._clock()
        before, since, has_changed = self._seen.get(path, (state, now, False))
        if state != before:
            since, has_changed = now, True
        self._seen[path] = state, since, has_changed
        if now - since > self.silence_s:
            return False
        return True if has_changed else None
