"""`slideloom info`: the metadata of one slide, or a table of many."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import attrs
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from slideloom.base.addresses import place_of
from slideloom.base.csv_tables import csv_text
from slideloom.base.errors import MissingResolution, SlideError, SlideloomError
from slideloom.pipeline.flags import add_flags
from slideloom.pipeline.pipeline import Slides
from slideloom.pipeline.words import named
from slideloom.planning.opening import open_without_mpp
from slideloom.running.find_slides import named_slides, require_slides
from slideloom.slides.icc import profile_name
from slideloom.slides.names import NamedSlide
from slideloom.slides.resolution import find_resolution
from slideloom.slides.slide import Slide

from slideloom_cli.output import print_json


def configure_info(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom info`."""
    parser.add_argument("slides", nargs="+", metavar="SLIDE", help="files, folders or patterns; several give a table")
    add_flags(parser, named("reader", "recursive"))
    parser.add_argument("--properties", action="store_true", help="also all other properties in the file")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON")
    form.add_argument("--csv", action="store_true", help="print a table as CSV, one row per slide")


def run_info(chosen: argparse.Namespace) -> int:
    """Show the metadata of slides. The exit code is 1 if one cannot be read."""
    slides = named_slides(chosen.slides, recursive=bool(chosen.recursive))
    require_slides(slides)
    rules = Slides(reader=chosen.reader)
    if [slide.place for slide in slides] == [place_of(chosen.slides[0])] and not chosen.csv:
        _show(_facts(slides[0], rules, properties=chosen.properties), as_json=chosen.json)
        return 0
    if chosen.json:
        found = [_facts_or_error(slide, rules, properties=chosen.properties) for slide in slides]
        print_json(found)
        return 1 if any("error" in facts for facts in found) else 0
    rows = [_row(slide, rules) for slide in slides]
    if chosen.csv:
        sys.stdout.write(csv_text(_COLUMNS, rows))
    else:
        _print_table(rows)
    return 1 if any(not row[1] for row in rows) else 0


_COLUMNS = ("slide", "reader", "vendor", "width", "height", "levels", "mpp_x", "mpp_y", "mpp_from", "power", "problem")


def _row(found: NamedSlide, rules: Slides) -> list[Any]:
    """The row of one slide in the table."""
    try:
        with open_without_mpp(found, rules) as slide:
            info = slide.info
            mpp: tuple[Any, ...]
            try:
                known = find_resolution(info)
                mpp, error = (f"{known.x:g}", f"{known.y:g}", known.source), ""
            except MissingResolution as missing:
                mpp, error = ("", "", ""), str(missing)
            size = info.size
            what = (info.name, info.reader, info.vendor or "", size.width, size.height, len(info.levels))
            return [*what, *mpp, info.objective_power or "", error]
    except SlideloomError as error:
        return [found.name, *[""] * (len(_COLUMNS) - 2), str(error)]


def _print_table(rows: Sequence[Sequence[Any]]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("slide", "reader", "size", "levels", "mpp", "from", "power"):
        table.add_column(column, overflow="fold")
    for name, reader, _, width, height, levels, mpp_x, mpp_y, source, power, error in rows:
        if not reader:
            table.add_row(escape(name), f"[bold red]{escape(error)}[/]")
            continue
        mpp = mpp_x if mpp_x == mpp_y else f"{mpp_x} x {mpp_y}"
        values = (name, reader, f"{width} x {height}", levels, mpp or "unknown", source, power)
        table.add_row(*(escape(str(value)) for value in values))
    out = Console(highlight=False, emoji=False)
    if not out.is_terminal:
        out.width = 1000  # wide enough that no name is broken in a file
    out.print(table)
    failed = sum(not row[1] for row in rows)
    print(f"{len(rows)} slides" + (f", {failed} of them cannot be read" if failed else ""), file=sys.stderr)


def _facts_or_error(found: NamedSlide, rules: Slides, *, properties: bool) -> dict[str, Any]:
    try:
        return _facts(found, rules, properties=properties)
    except SlideloomError as error:
        return {"slide": found.name, "path": str(found), "error": str(error)}


def _facts(found: NamedSlide, rules: Slides, *, properties: bool) -> dict[str, Any]:
    with open_without_mpp(found, rules) as slide:
        facts = slide_facts(slide)
    if not properties:
        facts.pop("properties")
    return facts


def _show(facts: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(facts)
        return
    table = Table(show_header=False, box=None, pad_edge=False)
    for key, value in facts.items():
        table.add_row(key, escape(_lines(value)))
    Console(highlight=False, emoji=False).print(table, soft_wrap=True)


def _lines(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(f"{key} = {item}" for key, item in value.items())
    return "\n".join(str(item) for item in value) if isinstance(value, list) else str(value)


def _profile(slide: Slide) -> str:
    """The name of the slide's profile, or what is wrong with it."""
    try:
        found = slide.icc_profile()
        return "none" if found is None else profile_name(found)
    except (SlideError, ValueError) as error:
        return f"cannot be used: {error}"


def slide_facts(slide: Slide) -> dict[str, Any]:
    """The metadata of a slide, by what they are called."""
    info = slide.info
    try:
        mpp = find_resolution(info)
        resolution = f"{mpp.x:g} x {mpp.y:g} um per pixel, from {mpp.source}"
    except MissingResolution as error:
        resolution = f"unknown: {error}"
    levels = [
        f"{i}: {level.size.width} x {level.size.height}, downsample {level.downsample_x:g} x {level.downsample_y:g}"
        for i, level in enumerate(info.levels)
    ]
    shown = {"pixels": f"shown as RGB: {info.shown_as}"} if info.shown_as else {}
    return {
        "slide": info.name,
        "path": str(info.path),
        "reader": info.reader,
        "vendor": info.vendor or "unknown",
        "size": f"{info.size.width} x {info.size.height}",
        "levels": levels,
        **shown,
        "ICC profile": _profile(slide),
        "mpp": resolution,
        "objective power": info.objective_power or "unknown",
        "bounds": "whole slide" if info.bounds is None else str(attrs.astuple(info.bounds)),
        "properties": dict(sorted(info.properties.items())),
    }
