"""`slideloom project`: make a project, cut its slides into tiles, and look at what it has."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from slideloom.base.errors import ConfigError
from slideloom.base.storing import storing_in, utf8, write_whole
from slideloom.plugins.shorthand import step_settings, step_table
from slideloom.settings.options import Settings
from slideloom_cli.options import tile_share, tile_width

from slideloom_cohort.project import Project

# Options of `project extract` that are handed to `Project.extract_tiles` under the same name.
_NUMBERS: dict[str, tuple[type, str]] = {
    "stride_div": (float, "stride is the tile's size divided by this (1)"),
    "max_tiles": (int, "keep at most so many tiles of a slide, drawn at random"),
    "seed": (int, "of everything drawn at random (0)"),
    "filter_threshold": (float, "drop tiles masked by more than this (0.6)"),
    "grayspace_fraction": (float, "drop tiles of which more than this is gray; 1 is off (0.6)"),
    "grayspace_threshold": (float, "HSV saturation below which a pixel is gray (0.05)"),
    "whitespace_fraction": (float, "drop tiles of which more than this is white; 1 is off (1)"),
    "whitespace_threshold": (float, "brightness above which a pixel is white (230)"),
    "mpp": (float, "microns per pixel of every slide"),
    "jobs": (int, "processes, one slide each"),
    "threads": (int, "threads within a slide"),
}
_TEXTS = {
    "normalizer_source": "target of the normalizer: a preset, an image or a fit file",
    "mpp_file": "microns per pixel by slide (CSV of slide,mpp)",
    "reader": "name of the reader to use",
    "params": "params.json of a model, or its folder: tiles must be as it was trained on",
    "buffer": "copy slides ahead to this folder on a fast disk",
}
_FLAGS = {
    "save_tiles": "also loose images",
    "use_edge_tiles": "also padded tiles at the far sides",
    "randomize_origin": "start the grid at a random place",
    "use_bounds": "stay within the scanned bounds",
    "redo_updated": "run again what other versions of slideloom or its plugins made",
    "redo": "run again what is finished or was made with other settings",
    "dry_run": "decide all that needs no tile pixels, write no tile",
    "save_masks": "store QC masks",
    "overview": "store a picture of kept and rejected tiles of each slide",
}


def configure_project(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom project`."""
    actions = parser.add_subparsers(title="actions", metavar="ACTION", dest="action", required=True)
    create = actions.add_parser("create", help="make a project")
    create.add_argument("root", type=Path, metavar="DIR", help="the project's folder")
    create.add_argument("--slides", nargs="+", default=[], metavar="SLIDES", help="folder, files or patterns")
    create.add_argument("--annotations", type=Path, metavar="CSV", help="columns patient, slide and any others")
    create.add_argument("--roi", type=Path, metavar="DIR", help="folder of ROI files")
    create.add_argument("--name", help="of the project (the folder's)")
    extract = actions.add_parser("extract", help="cut the project's slides into tiles")
    _add_dataset_options(extract, required=False)
    _add_extract_options(extract)
    summary = actions.add_parser("summary", help="count slides, patients and tiles")
    _add_dataset_options(summary, required=True)
    thumbnails = actions.add_parser("thumbnails", help="write a small PNG of each slide")
    _add_dataset_options(thumbnails, required=False)
    thumbnails.add_argument("--out", type=Path, metavar="DIR", help="folder (DIR/thumbnails)")
    thumbnails.add_argument("--max-px", type=int, default=512, metavar="PX", help="width and height at most (512)")
    tiles = actions.add_parser("tiles", help="list the tiles of all slides as CSV")
    _add_dataset_options(tiles, required=True)
    tiles.add_argument("--every", action="store_true", help="also dropped tiles, with what dropped them")
    tiles.add_argument("--planned", action="store_true", help="the tiles of the grid that regions leave; needs no run")
    tiles.add_argument("--out", type=Path, metavar="FILE.csv", help="standard output if not given")


def _add_dataset_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument("root", type=Path, metavar="DIR", help="the project's folder")
    parser.add_argument("--tile-px", type=int, required=required, metavar="PX", help="width and height of a tile image")
    parser.add_argument("--tile-um", required=required, metavar="UM", help='microns, or a magnification such as "10x"')
    parser.add_argument(
        "--filter", action="append", default=[], metavar="COLUMN=VALUE", help="only slides annotated so"
    )
    parser.add_argument("--source", action="append", metavar="NAME", help="only these sources")


def _add_extract_options(parser: argparse.ArgumentParser) -> None:
    for name, (kind, text) in _NUMBERS.items():
        parser.add_argument(_flag(name), type=kind, metavar="N", help=text)
    for name, text in _TEXTS.items():
        parser.add_argument(_flag(name), metavar="X", help=text)
    for name, text in _FLAGS.items():
        parser.add_argument(_flag(name), action="store_true", help=text)
    parser.add_argument("--qc", action="append", metavar="STEP", help="slide QC, as NAME or NAME:option=value")
    parser.add_argument("--normalizer", metavar="STEP", help="stain normalizer, as NAME or NAME:option=value")
    parser.add_argument(
        "--roi-method", choices=["auto", "inside", "outside", "ignore"], help="how regions choose (auto)"
    )
    parser.add_argument("--roi-filter", metavar="center|SHARE", help="test a tile's centre, or the share of its area")
    parser.add_argument("--roi-artifact", action="append", metavar="LABEL", help="cut out regions with this label")
    parser.add_argument("--no-tfrecords", action="store_true", help="store no TFRecords")
    parser.add_argument("--no-report", action="store_true", help="write no PDF report")
    parser.add_argument("--quiet", action="store_true", help="print the summary only")
    parser.add_argument("--json", action="store_true", help="print the run's report as JSON on standard output")


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def run_project(chosen: argparse.Namespace) -> int:
    """Do the action."""
    if chosen.action == "create":
        made = Project.create(
            chosen.root, slides=chosen.slides, annotations=chosen.annotations, roi=chosen.roi, name=chosen.name
        )
        print(f"made {made.root / 'project.toml'}", file=sys.stderr)
        return 0
    project = Project(chosen.root)
    actions = {"extract": _extract, "summary": _summary, "thumbnails": _thumbnails, "tiles": _tiles}
    return actions[chosen.action](project, chosen)


def _extract(project: Project, chosen: argparse.Namespace) -> int:
    from slideloom_cli.display import RunDisplay, print_json, print_summary
    from slideloom_cli.extract import exit_code

    options: dict[str, Any] = {name: getattr(chosen, name) for name in (*_NUMBERS, *_TEXTS)}
    options.update({name: True for name in _FLAGS if getattr(chosen, name)})
    options["qc"] = None if chosen.qc is None else [_step("qc", text) for text in chosen.qc]
    options["normalizer"] = None if chosen.normalizer is None else _step("normalizer", chosen.normalizer)
    if chosen.normalizer_source is not None and chosen.normalizer is not None:
        options["normalizer"] = chosen.normalizer
    options["roi_method"] = chosen.roi_method
    options["artifact_labels"] = chosen.roi_artifact
    if chosen.roi_filter is not None:
        options["roi_filter_method"] = tile_share(chosen.roi_filter)
    given = {name: value for name, value in options.items() if value is not None}
    count = len(_dataset(project, chosen, tile_px=1, tile_um=1.0).slide_paths())
    display = RunDisplay(count, quiet=chosen.quiet)
    with display.shown():
        report = project.extract_tiles(
            chosen.tile_px,
            _tile_um(chosen),
            save_tfrecords=not chosen.no_tfrecords,
            report=not chosen.no_report,
            filters=_filters(chosen.filter),
            sources=chosen.source,
            progress=display.tiles,
            on_slide=display.slide,
            **given,
        )
    print_summary(report)
    if chosen.json:
        print_json(report.as_table())
    return exit_code(report)


def _summary(project: Project, chosen: argparse.Namespace) -> int:
    print(_dataset(project, chosen).summary())
    return 0


def _thumbnails(project: Project, chosen: argparse.Namespace) -> int:
    folder = chosen.out or project.root / "thumbnails"
    # The size of tiles does not matter here.
    done = _dataset(project, chosen, tile_px=1, tile_um=1.0).thumbnails(folder, max_px=chosen.max_px)
    failed = {name: error for name, error in done.items() if not isinstance(error, Path)}
    for name, error in failed.items():
        print(f"failed {name}: {error}", file=sys.stderr)
    print(f"{len(done) - len(failed)} thumbnails in {folder}", file=sys.stderr)
    return 1 if failed else 0


def _tiles(project: Project, chosen: argparse.Namespace) -> int:
    frame = _dataset(project, chosen).tile_dataframe(every=chosen.every, planned=chosen.planned)
    text = frame.to_csv(index=False)
    if chosen.out is None:
        sys.stdout.write(text)
    else:
        with storing_in(chosen.out.parent):
            write_whole(chosen.out, utf8(text))
    return 0


def _dataset(project: Project, chosen: argparse.Namespace, *, tile_px: int = 0, tile_um: float | str = 0.0) -> Any:
    px, um = chosen.tile_px or tile_px, _tile_um(chosen) or tile_um
    return project.dataset(px, um, filters=_filters(chosen.filter), sources=chosen.source)


def _tile_um(chosen: argparse.Namespace) -> float | str | None:
    return None if chosen.tile_um is None else tile_width(chosen.tile_um)


def _filters(entries: list[str]) -> dict[str, list[str]]:
    filters: dict[str, list[str]] = {}
    for entry in entries:
        column, equals, value = entry.partition("=")
        if not equals:
            raise ConfigError(f"--filter {entry!r}: write COLUMN=VALUE")
        filters.setdefault(column.strip(), []).append(value.strip())
    return filters


def _step(kind: str, text: str) -> Settings[Any]:
    table = step_table(text)
    return step_settings(kind, table.pop("use"), table)
