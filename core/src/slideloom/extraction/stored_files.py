"""The files of a slide, and those of a run, in its output folder: all that a copy of the folder elsewhere needs."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from slideloom.base.errors import OutputError, SlideloomError
from slideloom.base.storing import names_in
from slideloom.base.temporary import is_temporary
from slideloom.extraction.extras import places_of_pictures
from slideloom.extraction.finished import interrupted, reports_in
from slideloom.extraction.output_folder import OutputFolder
from slideloom.steps.reports import SlideReport

_ASIDE = re.compile(r"\.(foreign|damaged)-\d{8}T\d{6}(-\d+)?$")


def files_of_slide(folder: OutputFolder, report: SlideReport) -> list[str]:
    """Names of the files of a slide that are there, relative to the output folder, its report last."""
    slide = report.slide
    outputs = [folder.root / name for name in (*report.outputs, *report.left)]
    besides = [folder.tile_table(slide), folder.opened(slide), *places_of_pictures(folder, report)]
    files = [file for path in (*outputs, *besides) for file in _files_below(path)]
    return list(dict.fromkeys(folder.relative(file) for file in [*files, folder.report(slide)]))


def files_of_run(folder: OutputFolder, *, since_ns: int) -> list[str]:
    """Names of the files of a run in its output folder that are no slide's, relative to it.

    These are the pipeline, and what has been written since a time, by the clock of the disk, beside the outputs of
    slides and in the folder itself: other files that lie there are not the run's.

    Raises:
        OutputError: the report of a slide cannot be read, so that it is not known what is the slide's.
    """
    root = folder.root
    of_slides: set[str] = set()
    for state in sorted(path for path in (root / "slideloom").iterdir() if (path / "slides").is_dir()):
        of_slides |= _names_of_slides(OutputFolder(root, state.name))
    homes = {root, *((root / name).parent for name in of_slides)}
    files = [path for home in sorted(homes) if home.is_dir() for path in sorted(home.iterdir()) if path.is_file()]
    new = [path for path in files if path.stat().st_mtime_ns >= since_ns and _is_kept(path.name)]
    own = [path for path in (folder.pipeline, folder.mask_classes) if path.exists()]
    return [name for name in map(folder.relative, [*new, *own]) if name not in of_slides]


def _names_of_slides(folder: OutputFolder) -> set[str]:
    slides = names_in(folder.state / "publishing", ".json")
    found = {name for slide in slides for name in interrupted(folder, slide) or ()}
    for _, report in reports_in(folder):
        if isinstance(report, SlideloomError):
            raise OutputError(str(report))
        found.update(report.outputs, report.left, report.foreign)
    return found


def _is_kept(name: str) -> bool:
    return not is_temporary(name) and _ASIDE.search(name) is None


def _files_below(path: Path) -> Iterator[Path]:
    """A file that is there, or all in a folder."""
    if path.is_file():
        yield path
    for home, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not is_temporary(name)]
        yield from (Path(home, name) for name in names if not is_temporary(name))
