"""`slideloom tiles`: where the tiles of one slide are, and what became of each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from slideloom.base.errors import ConfigError
from slideloom.base.storing import storing_in, utf8, write_whole
from slideloom.drawing.geojson import write_tiles_geojson
from slideloom.pipeline.words import BESIDE_TILES
from slideloom.planning.opening import open_slide
from slideloom.planning.plan import plan_slide
from slideloom.planning.prepared import PreparedSlide
from slideloom.viewing.frames import frame_csv, kept_or_dropped, tile_frame

from slideloom_cli.options import add_plan_options, pipeline_of
from slideloom_cli.parsing import slide_place

NO_FLAG = {
    "max_tiles": "chosen from the tiles that filters keep, and no filter runs",
    "exclude": "it is one slide",
    "recursive": "it is one slide",
    **dict.fromkeys(BESIDE_TILES, "it stores no tiles"),
}
"""Options that the command does not take, besides those of `run`, and why."""


def configure_tiles(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom tiles`: those of `slideloom extract` that need no tile's pixels."""
    parser.add_argument("slide", type=slide_place, metavar="SLIDE", help="a file, a folder or an address")
    parser.add_argument("--kept-only", action="store_true", help="leave dropped tiles out")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a .csv, .parquet or .geojson file (standard output, as CSV)"
    )
    add_plan_options(parser, without=NO_FLAG)


def run_tiles(chosen: argparse.Namespace) -> int:
    """List the tiles of a slide."""
    if chosen.out is not None and chosen.out.suffix.lower() not in (".csv", ".parquet", ".geojson"):
        raise ConfigError(f"--out {chosen.out}: the name must end in .csv, .parquet or .geojson")
    pipeline = pipeline_of(chosen, filters=[], sinks=[])
    with open_slide(chosen.slide, slides=pipeline.slides) as slide:
        prepared = PreparedSlide(plan_slide(slide, pipeline))
        prepared.decide()
        for warning in prepared.record.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        _write(prepared, chosen.out, kept_only=chosen.kept_only)
    ledger = prepared.record.ledger
    kept, planned = len(ledger.candidates()), len(ledger)
    print(f"{slide.info.name}: {kept} of {planned} tiles kept", file=sys.stderr)
    return 0


def _write(prepared: PreparedSlide, out: Path | None, *, kept_only: bool) -> None:
    plan, record = prepared.plan, prepared.record
    if out is not None and out.suffix.lower() == ".geojson":
        status = kept_or_dropped(record.ledger)
        which = np.flatnonzero([word == "kept" or not kept_only for word in status])
        bounds = plan.slide.info.bounds
        with storing_in(out.parent):
            # QuPath crops slides to their bounds, and its coordinates start there.
            origin = (bounds.x, bounds.y) if bounds is not None else (0.0, 0.0)
            write_tiles_geojson(out, plan.tiles.take(which), [status[i] for i in which.tolist()], origin=origin)
        return
    frame = tile_frame(plan, record, every=not kept_only)
    if out is None:
        sys.stdout.write(frame_csv(frame))
        return
    with storing_in(out.parent):
        if out.suffix.lower() == ".csv":
            write_whole(out, utf8(frame_csv(frame)))
            return
        try:
            content = frame.to_parquet(index=False)
        except ImportError as error:
            raise ConfigError(f"{out}: Parquet needs pyarrow: pip install pyarrow") from error
        write_whole(out, content)
