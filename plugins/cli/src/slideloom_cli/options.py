"""Command-line options as the table that a pipeline file holds: both are read by the same strict loader."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Literal

from slideloom.base.errors import ConfigError, PluginError
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import step_table


def add_plan_options(parser: argparse.ArgumentParser) -> None:
    """The options that decide where tiles are, and which of them slide QC and regions keep."""
    tiles = parser.add_argument_group("tiles")
    tiles.add_argument("--tile-px", type=int, required=True, metavar="PX", help="width and height of a tile image")
    tiles.add_argument("--tile-um", metavar="UM", help='its width in microns, or a magnification such as "10x"')
    tiles.add_argument("--stride-div", type=float, metavar="N", help="stride is the tile's size divided by N (1)")
    tiles.add_argument("--edge-tiles", action="store_true", help="also padded tiles at the far sides")
    tiles.add_argument("--random-origin", action="store_true", help="start the grid at a random place")
    tiles.add_argument("--use-bounds", action="store_true", help="stay within the scanned bounds")
    tiles.add_argument("--no-downsample", action="store_true", help="read level 0 only")
    tiles.add_argument("--placement", metavar="STEP", help="where tiles are, if not on a grid")
    tiles.add_argument("--seed", type=int, metavar="N", help="of everything drawn at random (0)")
    slides = parser.add_argument_group("slides")
    slides.add_argument("--mpp", type=float, help="microns per pixel of every slide")
    slides.add_argument("--mpp-file", metavar="CSV", help="microns per pixel by slide (columns slide,mpp)")
    slides.add_argument(
        "--allow-objective-power", action="store_true", help="take 10 / objective power where no mpp is known"
    )
    slides.add_argument("--reader", help="name of the reader to use, or NAME:option=value")
    slides.add_argument(
        "--avoid-reader", action="append", default=[], metavar="NAME", help="never choose this reader by itself"
    )
    steps = parser.add_argument_group("regions and slide QC, each STEP as NAME or NAME:option=value,option=value")
    steps.add_argument(
        "--roi", action="append", default=[], metavar="STEP", help="regions of interest, or a folder that holds them"
    )
    steps.add_argument(
        "--roi-method", choices=["auto", "inside", "outside", "ignore"], help="how regions choose tiles (auto)"
    )
    steps.add_argument(
        "--roi-filter", metavar="center|SHARE", help="test a tile's centre, or the share of its area (center)"
    )
    steps.add_argument(
        "--roi-artifact", action="append", default=[], metavar="LABEL", help="cut out regions with this label"
    )
    steps.add_argument("--qc", action="append", default=[], metavar="STEP", help="slide QC such as otsu or gaussian-v2")
    steps.add_argument(
        "--filter-threshold", type=float, metavar="SHARE", help="drop tiles masked by more than this (0.6)"
    )


def add_extract_options(parser: argparse.ArgumentParser) -> None:
    """All options that describe a pipeline."""
    add_plan_options(parser)
    steps = parser.add_argument_group("tile images, each STEP as NAME or NAME:option=value,option=value")
    steps.add_argument("--filter", action="append", metavar="STEP", help="tile filters (grayspace); 'none' for none")
    steps.add_argument("--max-tiles", type=int, metavar="N", help="keep at most N tiles of a slide, drawn at random")
    steps.add_argument("--normalizer", metavar="STEP", help="stain normalizer such as macenko")
    steps.add_argument("--sink", action="append", metavar="STEP", help="where tiles go (tfrecord)")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Options of how to run; none changes the output."""
    run = parser.add_argument_group("run")
    run.add_argument("--jobs", type=int, metavar="N", help="processes, one slide each")
    run.add_argument("--threads", type=int, metavar="N", help="threads within a slide")
    run.add_argument("--executor", metavar="NAME", help="where slides are run")
    run.add_argument("--buffer", metavar="DIR", help="copy slides ahead to this folder on a fast disk")
    run.add_argument("--save-masks", action="store_true", help="store QC masks")
    run.add_argument("--overview", action="store_true", help="store a picture of kept and rejected tiles")
    run.add_argument("--report", action="store_true", help="write a PDF report with a page for each slide")
    run.add_argument(
        "--redo-updated", action="store_true", help="run again what other versions of slideloom or its plugins made"
    )
    run.add_argument("--redo", action="store_true", help="run again what is finished or was made with other settings")
    run.add_argument("--dry-run", action="store_true", help="decide all that needs no tile pixels, write no tile")
    run.add_argument("--quiet", action="store_true", help="print the summary only")
    run.add_argument("--json", action="store_true", help="print the run's report as JSON on standard output")


def plan_table(chosen: argparse.Namespace) -> dict[str, Any]:
    """The tables of a pipeline that the options of `add_plan_options` describe."""
    table: dict[str, Any] = {"slideloom": 1, "tiles": _tiles(chosen), "slides": _slides(chosen)}
    if chosen.roi:
        table["roi"] = [{**_roi_step(text), **_roi_rules(chosen)} for text in chosen.roi]
    extra = {} if chosen.filter_threshold is None else {"filter_threshold": chosen.filter_threshold}
    table["qc"] = [{**extra, **step_table(text)} for text in chosen.qc]
    if chosen.placement is not None:
        table["placement"] = step_table(chosen.placement)
    return table


def table_of(chosen: argparse.Namespace) -> dict[str, Any]:
    """The pipeline table that the options describe."""
    table = plan_table(chosen)
    table["slides"]["include"] = chosen.slides
    table["run"] = run_table(chosen)
    if chosen.max_tiles is not None:
        table["tiles"]["max_tiles"] = chosen.max_tiles
    if chosen.filter is not None:
        table["filter"] = [step_table(text) for text in chosen.filter if text != "none"]
    if chosen.sink is not None:
        table["sink"] = [step_table(text) for text in chosen.sink]
    if chosen.normalizer is not None:
        table["normalizer"] = step_table(chosen.normalizer)
    return table


def _tiles(chosen: argparse.Namespace) -> dict[str, Any]:
    table: dict[str, Any] = {"size_px": chosen.tile_px}
    if chosen.tile_um is not None:
        width = tile_width(chosen.tile_um)
        table["magnification" if isinstance(width, str) else "size_um"] = width
    given = {
        "stride_div": chosen.stride_div,
        "seed": chosen.seed,
        "edge_tiles": chosen.edge_tiles or None,
        "random_origin": chosen.random_origin or None,
        "use_bounds": chosen.use_bounds or None,
        "enable_downsample": False if chosen.no_downsample else None,
    }
    return {**table, **{key: value for key, value in given.items() if value is not None}}


def tile_width(text: str) -> float | str:
    """What `--tile-um` says: microns, or a magnification such as "10x".

    Raises:
        ConfigError: it is neither.
    """
    if text.lower().endswith("x"):
        return text
    return _number(text, '--tile-um must be a number of microns or a magnification such as "10x"')


def tile_share(text: str) -> float | Literal["center"]:
    """What `--roi-filter` says: a share of a tile's area, or "center".

    Raises:
        ConfigError: it is neither.
    """
    return "center" if text == "center" else _number(text, "--roi-filter must be center or a share from 0 to 1")


def _number(text: str, wanted: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"{wanted}, not {text!r}") from None


def _slides(chosen: argparse.Namespace) -> dict[str, Any]:
    given = {
        "mpp": chosen.mpp,
        "mpp_file": chosen.mpp_file,
        "allow_objective_power": chosen.allow_objective_power or None,
        "reader": chosen.reader,
        "avoid_readers": chosen.avoid_reader or None,
    }
    return {key: value for key, value in given.items() if value is not None}


def run_table(chosen: argparse.Namespace) -> dict[str, Any]:
    """The `run` table that the options describe; options not given are left out."""
    names = ("jobs", "threads", "executor", "buffer", "save_masks", "overview", "report", "redo", "redo_updated")
    return {name: getattr(chosen, name) for name in names if getattr(chosen, name) not in (None, False)}


def _roi_step(text: str) -> dict[str, Any]:
    if Path(text).is_dir():
        return {"use": registry().default("roi-folder"), "folder": text}
    table = step_table(text)
    try:
        registry().find("roi", table["use"])
    except PluginError as error:
        raise ConfigError(f"--roi {text}: there is no such folder, and {error}") from error
    return table


def _roi_rules(chosen: argparse.Namespace) -> dict[str, Any]:
    rules: dict[str, Any] = {}
    if chosen.roi_method is not None:
        rules["method"] = chosen.roi_method
    if chosen.roi_artifact:
        rules["artifacts"] = chosen.roi_artifact
    if chosen.roi_filter is not None:
        share = tile_share(chosen.roi_filter)
        rules.update(
            {"filter_method": "center"} if share == "center" else {"filter_method": "proportion", "threshold": share}
        )
    return rules
