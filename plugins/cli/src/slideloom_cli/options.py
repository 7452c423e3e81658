"""The flags that describe a pipeline: its options and steps, read by the same strict loader as pipeline files."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slideloom.base.addresses import is_address
from slideloom.base.errors import ConfigError, PluginError
from slideloom.pipeline.flags import add_flags, given_flags
from slideloom.pipeline.from_words import pipeline_from_words
from slideloom.pipeline.fronts import FLAGS
from slideloom.pipeline.pipeline import Pipeline
from slideloom.pipeline.words import words
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import step_table

from slideloom_cli.logs import add_log_options

STEP = "each STEP as NAME or NAME:option=value,option=value"
_SIZE = ("tile_px", "tile_um")


def add_plan_options(
    parser: argparse.ArgumentParser, *, without: Mapping[str, str] | None = None, needs_size: bool = True
) -> None:
    """Add the options that decide where tiles are, and which of them slide QC and regions keep.

    Args:
        parser: the command's parser.
        without: options that the command does not take, and why.
        needs_size: False if the command has another way to know the size of tiles.
    """
    tiles = parser.add_argument_group("tiles")
    add_flags(tiles, words("tiles", without=without), required=_SIZE if needs_size else ())
    tiles.add_argument("--placement", metavar="STEP", help="where tiles are, if not on a grid")
    add_flags(parser.add_argument_group("slides"), words("slides", without=without))
    steps = parser.add_argument_group(f"regions and slide QC, {STEP}")
    steps.add_argument(
        "--roi", action="append", default=[], metavar="STEP", help="source of regions of interest, or their folder"
    )
    add_flags(steps, words("roi"))
    steps.add_argument("--qc", action="append", default=[], metavar="STEP", help="slide QC such as otsu or gaussian-v2")
    add_flags(steps, words("qc"))


def add_extract_options(parser: argparse.ArgumentParser, *, needs_size: bool = True) -> None:
    """Add all options that describe a pipeline; see `add_plan_options`."""
    add_plan_options(parser, needs_size=needs_size)
    steps = parser.add_argument_group(f"tile images, {STEP}")
    steps.add_argument("--filter", action="append", metavar="STEP", help="tile filter (grayspace); 'none' for none")
    steps.add_argument("--normalizer", metavar="STEP", help="stain normalizer such as macenko")
    steps.add_argument("--sink", action="append", metavar="STEP", help="where tiles are stored (tfrecord)")
    add_flags(parser.add_argument_group("masks of tiles"), words("mask"))


def add_run_options(parser: argparse.ArgumentParser, *, without: Mapping[str, str] | None = None) -> None:
    """Add the options of the run, which do not change the output."""
    run = parser.add_argument_group("run")
    add_flags(run, words("run", without=without))
    run.add_argument("--dry-run", action="store_true", help="decide on every tile as a run would, and write no tiles")
    text = "a dry run that reads only sample tiles: quick, but tile filters and normalizer decide nothing"
    run.add_argument("--plan-only", action="store_true", help=text)
    run.add_argument("--quiet", action="store_true", help="print only the summary")
    add_log_options(run)
    run.add_argument("--json", action="store_true", help="print the run's report as JSON on standard output")


def pipeline_of(
    chosen: argparse.Namespace,
    *,
    include: Sequence[str] = (),
    filters: Sequence[str] | None,
    sinks: Sequence[str] | None,
) -> Pipeline:
    """The pipeline that the options describe; None for filters or sinks means the defaults.

    Raises:
        ConfigError: an option is wrong; the message lists every mistake, one per line.
    """
    return pipeline_from_words(
        given_flags(chosen),
        include=include,
        roi=[_roi_step(text) for text in chosen.roi],
        qc=chosen.qc,
        filters=filters,
        normalizer=getattr(chosen, "normalizer", None),
        placement=chosen.placement,
        sinks=sinks,
        front=FLAGS,
        base=Path(),
    )


def _roi_step(text: str) -> dict[str, Any]:
    if is_address(text) or Path(text).is_dir():
        return {"use": registry().default("roi-folder"), "folder": text}
    table = step_table(text)
    try:
        registry().find("roi", table["use"])
    except PluginError as error:
        raise ConfigError(f"--roi {text}: there is no such folder, and {error}") from error
    return table
