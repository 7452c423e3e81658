"""`slideloom tiles`: where the tiles of one slide are, and what became of each."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from slideloom.errors import ConfigError
from slideloom.geojson import write_tiles_geojson
from slideloom.pipeline_file import pipeline_from_table
from slideloom.shorthand import step_table
from slideloom.storing import storing_in, write_whole
from slideloom.wsi import WSI


def configure_tiles(parser: argparse.ArgumentParser) -> None:
    """Arguments of `slideloom tiles`."""
    parser.add_argument("slide", type=Path, metavar="SLIDE")
    parser.add_argument("--tile-px", type=int, required=True, metavar="PX", help="width and height of a tile image")
    parser.add_argument("--tile-um", required=True, metavar="UM", help='microns, or a magnification such as "10x"')
    parser.add_argument("--stride-div", type=float, default=1.0, metavar="N", help="stride is tile size / N (1)")
    parser.add_argument("--edge-tiles", action="store_true", help="also padded tiles at the far sides")
    parser.add_argument("--mpp", type=float, help="microns per pixel of the slide")
    parser.add_argument("--roi", type=Path, metavar="DIR", help="folder of ROI files")
    parser.add_argument(
        "--roi-method",
        choices=["auto", "inside", "outside", "ignore"],
        default="auto",
        help="how regions choose (auto)",
    )
    parser.add_argument("--qc", action="append", default=[], metavar="STEP", help="slide QC, as NAME:option=value")
    parser.add_argument(
        "--filter-threshold", type=float, default=0.6, metavar="SHARE", help="drop tiles masked more (0.6)"
    )
    parser.add_argument("--kept-only", action="store_true", help="leave dropped tiles out")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=".csv, .parquet or .geojson; standard output if not given"
    )


def run_tiles(chosen: argparse.Namespace) -> int:
    """List the tiles of a slide."""
    if chosen.out is not None and chosen.out.suffix.lower() not in (".csv", ".parquet", ".geojson"):
        raise ConfigError(f"--out {chosen.out}: the name must end in .csv, .parquet or .geojson")
    tile_um = chosen.tile_um if chosen.tile_um.lower().endswith("x") else float(chosen.tile_um)
    wsi = WSI(
        chosen.slide,
        chosen.tile_px,
        tile_um,
        stride_div=chosen.stride_div,
        edge_tiles=chosen.edge_tiles,
        mpp=chosen.mpp,
        roi=chosen.roi,
        roi_method=chosen.roi_method,
    )
    with wsi:
        if chosen.qc:
            wsi.qc([_qc_settings(text) for text in chosen.qc], filter_threshold=chosen.filter_threshold)
        for warning in wsi.warnings:
            print(f"warning: {warning}", file=sys.stderr)
        _write(wsi, chosen.out, kept_only=chosen.kept_only)
        print(f"{wsi.name}: {len(wsi)} of {len(wsi.ledger)} tiles kept", file=sys.stderr)
    return 0


def _qc_settings(text: str):  # type: ignore[no-untyped-def]  # settings of a step named at run time
    table = {"slideloom": 1, "tiles": {"size_px": 1, "size_um": 1.0}, "qc": [step_table(text)]}
    return pipeline_from_table(table, where="command line").qc[0].step


def _write(wsi: WSI, out: Path | None, *, kept_only: bool) -> None:
    if out is not None and out.suffix.lower() == ".geojson":
        status = ["kept" if word == "candidate" else word for word in wsi.ledger.status()]
        which = np.flatnonzero([word == "kept" or not kept_only for word in status])
        with storing_in(out.parent):
            # QuPath crops slides to their bounds, and counts from there.
            origin = (wsi.info.bounds.x, wsi.info.bounds.y) if wsi.info.bounds is not None else (0.0, 0.0)
            tiles = wsi.ledger.tiles.take(which)
            write_tiles_geojson(out, tiles, [status[i] for i in which.tolist()], origin=origin)
        return
    frame = wsi.tile_dataframe(every=not kept_only)
    if out is None:
        sys.stdout.write(frame.to_csv(index=False))
        return
    with storing_in(out.parent):
        if out.suffix.lower() == ".csv":
            write_whole(out, frame.to_csv(index=False).encode())
            return
        try:
            content = frame.to_parquet(index=False)
        except ImportError as error:
            raise ConfigError(f"{out}: Parquet needs pyarrow: pip install pyarrow") from error
        write_whole(out, content)
