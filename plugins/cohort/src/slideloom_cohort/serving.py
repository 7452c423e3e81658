"""Which TFRecords datasets use: those that a report confirms, and those of other programs.

A slide's file is used in three cases. The slide's report says that the slide is done, and names the file with its
present size. Or slideloom has never processed this slide in that folder, so another program made the file. Or the
report says that the file belongs to another program and that a run refused to replace it. Nothing else is used: not
the remains of a failed or interrupted run, and not a file that was emptied or cut short. If `manifest.json` counts
the tiles of another program's file, the file must hold that many.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from slideloom.base.errors import SlideloomError
from slideloom.base.files import FileState
from slideloom.base.parsing import parse_json
from slideloom.extraction.finished import difference, interrupted
from slideloom.extraction.output_folder import OutputFolder
from slideloom.plugins.discovery import registry
from slideloom.steps.reports import SlideReport
from slideloom.steps.store import TileStores


@cache
def tile_stores() -> TileStores:
    """The format of stored tiles that datasets read.

    Raises:
        PluginError: its plugin is not installed.
    """
    stores: TileStores = registry().find("store", registry().default("store"))().build()
    return stores


_reports: dict[Path, tuple[FileState, SlideReport | SlideloomError | None]] = {}


def report_of(folder: OutputFolder, slide: str) -> SlideReport | SlideloomError | None:
    """What the slide's report says of its outputs, None if there is none, or why it cannot be read.

    It is kept until the file changes. All reports of a cohort are asked for in turn, so one that is kept only until
    some thousand others were asked for would be of no use.
    """
    state = FileState.of(folder.report(slide))
    known = _reports.get(state.path)
    if known is None or known[0] != state:
        known = _reports[state.path] = state, _report(state.path)
    return known[1]


def _report(path: Path) -> SlideReport | SlideloomError | None:
    try:
        found = SlideReport.load(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError) as error:
        return SlideloomError(f"its report cannot be read ({error})")
    # A whole report takes 5 kB of memory, and a cohort may have a hundred thousand.
    return SlideReport(
        found.slide, found.path, found.status, error=found.error, outputs=found.outputs, foreign=found.foreign,
        tile_table=found.tile_table, sizes=found.sizes,
    )  # fmt: skip


def tiles_told(folder: OutputFolder, slide: str, path: Path) -> int:
    """Number of tiles in the slide's file by its report, which must have confirmed the file; 0 if it does not tell."""
    report = report_of(folder, slide)
    size = report.sizes.get(folder.relative(path)) if isinstance(report, SlideReport) else None
    return 0 if size is None else size.tiles


def record_problem(folder: OutputFolder, slide: str, path: Path, counts: Mapping[str, int]) -> str:
    """Why the slide's file of stored tiles cannot be used; "" if it can, or if there need be none.

    Args:
        folder: the output folder, for one tile size.
        slide: name of the slide.
        path: where the file is or should be.
        counts: tiles by slide, from `counted_in`.
    """
    name, is_there = folder.relative(path), path.exists()
    unfinished = interrupted(folder, slide)
    if unfinished is not None and (is_there or name in unfinished):
        return "a run was stopped while it gave the file its name"
    report = report_of(folder, slide)
    if report is None or (isinstance(report, SlideReport) and name in report.foreign):
        return _problem_of_other(path, counts.get(slide))
    if isinstance(report, SlideloomError):
        return str(report) if is_there else ""
    if report.status == "failed":
        return f"its last run failed: {report.error}" if is_there else ""
    if name in report.outputs:
        return difference(folder.root, name, report.sizes.get(name))
    return f"{name} is not in the slide's report, which is from a later run" if is_there else ""


def table_problem(folder: OutputFolder, slide: str) -> str:
    """Why the slide's tile table cannot be used; "" if it can, or if there is none."""
    report = report_of(folder, slide)
    if not isinstance(report, SlideReport):
        return ""
    if report.status == "failed":
        return f"its last run failed: {report.error}" if folder.tile_table(slide).exists() else ""
    if not report.tile_table:
        return ""
    return difference(folder.root, report.tile_table, report.sizes.get(report.tile_table))


def counted_in(folder: Path) -> dict[str, int]:
    """Tiles by slide, from the `manifest.json` in a folder of TFRecords; empty if it cannot be read."""
    try:
        table: Any = parse_json((folder / "manifest.json").read_text(encoding="utf-8"))
        return {
            Path(name).name.removesuffix(".tfrecords"): int(entry["total"])
            for name, entry in table.items()
            if "/" not in name.replace("\\", "/") and name.endswith(".tfrecords")
        }
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def _problem_of_other(path: Path, wanted: int | None) -> str:
    if not wanted:
        return ""
    if not path.exists():
        return f"{path.name} is gone, but manifest.json counts {wanted} tiles in it"
    found = _count(FileState.of(path))
    if isinstance(found, str):
        return found
    return "" if found == wanted else f"{path.name} holds {found} tiles, but manifest.json counts {wanted}"


@lru_cache(maxsize=1_000_000)
def _count(state: FileState) -> int | str:
    try:
        return len(tile_stores().open(state.path))
    except SlideloomError as error:
        return str(error)
