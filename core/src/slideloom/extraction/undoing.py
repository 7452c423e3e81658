"""Undoes what a process that died had published of a slide."""

from __future__ import annotations

import logging
from pathlib import Path

from slideloom.base.errors import OutputError
from slideloom.base.storing import storing_in
from slideloom.base.temporary import discard_path, remove_abandoned
from slideloom.extraction.finished import Earlier, measured
from slideloom.extraction.output_folder import OutputFolder
from slideloom.steps.reports import OutputSize

log = logging.getLogger(__name__)


def take_back(folder: OutputFolder, slide: str) -> None:
    """Remove what got its final name while a process published a slide and died; what was there before comes back.

    Only where that process is known to be dead. What cannot be removed is logged: loaders do not believe it, and the
    next run makes it anew.
    """
    try:
        earlier = Earlier.of(folder, slide)
        if earlier.interrupted is None:
            return
        problems = []
        for name, size in earlier.interrupted.items():
            try:
                _take_back(folder.root / name, size, earlier.report.sizes.get(name) if earlier.report else None)
            except OSError as error:  # what can be taken back still is
                problems.append(error)
        with storing_in(folder.root):
            if problems:
                raise problems[0]
            discard_path(folder.publishing(slide))
    except OutputError as error:
        log.warning("slide %s was lost, and what it published cannot be taken back: %s", slide, error)


def _take_back(path: Path, size: OutputSize, before: OutputSize | None) -> None:
    """Remove an output if it is the one that was published, not the one before it or another program's."""
    # What was moved aside goes back; it may be of a process that died in the same way before this one.
    for _ in range(2):
        if path.exists():
            found = measured(path)
            if not _is(found, before) and _is(found, size):
                discard_path(path)
        remove_abandoned(path.parent)


def _is(found: OutputSize, said: OutputSize | None) -> bool:
    return said is not None and (found.bytes, found.files, found.crc32) == (said.bytes, said.files, said.crc32)
