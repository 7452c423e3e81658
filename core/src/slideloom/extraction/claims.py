"""Claims: of several runs in one output folder, the one that makes a slide says so in a file.

The claims to a slide are numbered files, made one after the other and never renamed: `NAME.1.claim`, `NAME.2.claim`.
The last one counts. The next one may be made when the run of the last has settled the slide, or has died; of several
runs that try, one succeeds. So a claim cannot be taken over twice, however slow a run is that tries.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path

from attrs import frozen

from slideloom.base.errors import OutputError
from slideloom.base.parsing import parse_json
from slideloom.base.storing import storing_in, utf8
from slideloom.extraction.output_folder import OutputFolder


class ClaimLost(OutputError):
    """Another run has taken the slide over."""


@frozen
class Claim:
    """The claim of a run to a slide; can be pickled.

    Attributes:
        folder: the output folder.
        slide: name of the slide.
        number: which of the slide's claims it is, from 1.
        run: name of the run's sign of life; "" while another run writes it.
        is_settled: True once the run is done with the slide.
        written_ns: when the file was written, on the clock of the file system.
    """

    folder: OutputFolder
    slide: str
    number: int
    run: str
    is_settled: bool = False
    written_ns: int = 0

    @property
    def path(self) -> Path:
        """The file of the claim."""
        return self.folder.claim(self.slide, self.number)

    @property
    def is_held(self) -> bool:
        """True if it is still there, and no later one is."""
        try:
            return _read(self).run == self.run and not self.folder.claim(self.slide, self.number + 1).exists()
        except FileNotFoundError:
            return False

    def check(self) -> None:
        """Check that no other run has taken the slide over.

        Raises:
            ClaimLost: one has.
            OutputError: the claim cannot be read.
        """
        with storing_in(self.folder.root):
            is_held = self.is_held
        if not is_held:
            raise ClaimLost(
                f"{self.slide}: another run took this one for dead and makes the slide; what it makes is left as it is"
            )

    def settle(self) -> None:
        """Tell others that the run is done with the slide, unless one of them has taken it over.

        Raises:
            OSError: the file cannot be written; others wait until the run has ended.
        """
        if self.is_held:
            with self.path.open("r+b") as file:  # in place: its length does not change
                file.write(_content(self.run, is_settled=True))


def take_claim(folder: OutputFolder, slide: str, run: str, *, is_free: Callable[[Claim], bool]) -> tuple[Claim, bool]:
    """The last claim to a slide, and whether it is this run's new one.

    Args:
        folder: the output folder.
        slide: name of the slide.
        run: name of this run's sign of life.
        is_free: whether a claim may be followed by another one.

    Raises:
        OSError: the claim cannot be written.
    """
    number = 1
    while True:
        claim = Claim(folder, slide, number, run)
        try:
            if _is_made(claim.path, _content(run, is_settled=False)):
                return claim, True
        except FileNotFoundError:
            claim.path.parent.mkdir(parents=True, exist_ok=True)
            continue
        try:
            last = _read(claim)
        except FileNotFoundError:  # the last run that worked here has just removed all claims
            number = 1
            continue
        if not is_free(last):
            return last, False
        number += 1


def last_claim(folder: OutputFolder, slide: str) -> Claim | None:
    """The last claim to a slide, if there is any.

    Raises:
        OSError: it cannot be read.
    """
    last = None
    for number in count(1):
        try:
            last = _read(Claim(folder, slide, number, ""))
        except FileNotFoundError:
            break
    return last


def _content(run: str, *, is_settled: bool) -> bytes:
    return utf8(json.dumps({"run": run, "settled": int(is_settled)}) + "\n")


def _is_made(path: Path, content: bytes) -> bool:
    """Make a file with this content; False if there is one. Of several processes, on any machine, one succeeds."""
    try:
        with path.open("xb") as file:
            try:
                file.write(content)
                file.flush()
            except BaseException:  # a full disk
                path.unlink()
                raise
    except FileExistsError:
        return False
    return True


def _read(claim: Claim) -> Claim:
    """A claim as it is in its file now."""
    with claim.path.open("rb") as file:
        content, written_ns = file.read(), os.fstat(file.fileno()).st_mtime_ns
    try:
        table = parse_json(content)
        run, is_settled = str(table["run"]), bool(table["settled"])
    except (ValueError, KeyError, TypeError):  # its content comes after its name
        run, is_settled = "", False
    return Claim(claim.folder, claim.slide, claim.number, run, is_settled, written_ns)
