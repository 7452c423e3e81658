"""`slideloom check`: finds every mistake in a pipeline file, or all missing and damaged outputs in an output folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from slideloom.base.errors import ConfigError, PluginError, SlideloomError
from slideloom.extraction.finished import damage_of, damage_within, interrupted, reports_in
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import load_pipeline
from slideloom.plugins.discovery import registry
from slideloom.steps.reports import SlideReport
from slideloom.steps.store import TileStores


def configure_check(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom check`."""
    parser.add_argument("checked", type=Path, metavar="PIPELINE.toml|OUT", help="a pipeline file, or an output folder")
    parser.add_argument(
        "--deep", action="store_true", help="for an output folder: also read all files (records, CRCs, checksums)"
    )


def run_check(chosen: argparse.Namespace) -> int:
    """Check a pipeline file or an output folder."""
    if chosen.checked.is_dir():
        return _check_outputs(chosen.checked, deep=chosen.deep)
    if chosen.deep:
        raise ConfigError(f"{chosen.checked}: --deep needs an output folder")
    return _check_pipeline(chosen.checked)


def _check_pipeline(path: Path) -> int:
    """Find every mistake in a pipeline file, and count its slides."""
    from slideloom.running.checking import check_mpp_file, check_steps
    from slideloom.running.find_slides import slides_of

    pipeline = load_pipeline(path)
    slides = slides_of(pipeline, path.parent)
    check_mpp_file(pipeline, slides)
    check_steps(pipeline)
    steps = [use.step.name for use in pipeline.qc] + [step.name for step in pipeline.filters]
    count = f"{len(slides)} slide{'' if len(slides) == 1 else 's'}"
    print(f"{path}: correct; {count}; {pipeline.tiles.label}; steps: {', '.join(steps) or 'none'}")
    return 0


def _check_outputs(out: Path, *, deep: bool) -> int:
    """Print what is missing or damaged in an output folder; returns 1 if anything is."""
    folders = [OutputFolder(out, path.name) for path in sorted((out / "slideloom").glob("*")) if path.is_dir()]
    stores = _stores() if deep else None
    slides = tiles = seen = unseen = 0
    for folder in folders:
        for slide, report in reports_in(folder):
            slides += 1
            if isinstance(report, SlideReport) and report.status != "failed":
                tiles += report.written
                if report.unreadable:
                    print(f"{folder.label} {slide}: note: {report.unreadable} tiles were unreadable in the slide")
            found = list(_problems(folder, slide, report))
            within = () if found or not deep or isinstance(report, SlideloomError) else _within(folder, report, stores)
            seen += len(found)
            for problem in (*found, *within):
                unseen += not found
                print(f"{folder.label} {slide}: {problem}", file=sys.stderr)
    if not slides:
        raise ConfigError(f"{out}: no run has finished a slide here, so there is nothing to check")
    problems = seen + unseen
    repair = f"run again{' with --redo' if unseen else ''} to repair"  # without, a run compares sizes only
    state = f"{problems} problem{'' if problems == 1 else 's'}; {repair}" if problems else "whole"
    print(f"{out}: {slides} slide{'' if slides == 1 else 's'}, {tiles} tiles: {state}")
    return 1 if problems else 0


def _stores() -> TileStores | None:
    try:
        stores: TileStores = registry().find("store", registry().default("store"))().build()
    except PluginError as error:  # checksums are compared all the same
        print(f"records are not read one by one: {error}", file=sys.stderr)
        return None
    return stores


def _problems(folder: OutputFolder, slide: str, report: SlideReport | SlideloomError) -> Iterator[str]:
    """What a run sees and repairs."""
    if interrupted(folder, slide) is not None:
        yield "a run was stopped while it gave its files their names"
        return
    if isinstance(report, SlideloomError):
        yield str(report)
        return
    if report.status == "failed":
        yield f"failed: {report.error}"
        return
    yield from damage_of(folder.root, report)


def _within(folder: OutputFolder, report: SlideReport, stores: TileStores | None) -> Iterator[str]:
    """What only shows when all is read."""
    yield from damage_within(folder.root, report)
    if stores is not None:
        yield from _damaged_tiles(folder, report, stores)


def _damaged_tiles(folder: OutputFolder, report: SlideReport, stores: TileStores) -> Iterator[str]:
    for output in report.outputs:
        if not output.endswith(stores.suffix):
            continue
        try:
            found = stores.verify(folder.root / output)
        except SlideloomError as error:
            yield str(error)
            continue
        if found != report.written:
            yield f"{output} holds {found} tiles instead of {report.written}"
