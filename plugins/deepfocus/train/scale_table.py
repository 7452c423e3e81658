"""What `deepfocus` discards where a slide's microns per pixel are stated wrong, by origin, in Markdown and JSON.

usage: python scale_table.py --data FOLDER_OR_ZIP --folds FOLDS.safetensors --report REPORT.json
       python scale_table.py --read REPORT.json

Every field is a slide of its own, sharp or out of focus all over by a disk of 3 um, and judged by the network that has
not seen its origin, with the threshold "auto". "enlarged": a slide of more than 1 micron per pixel is enlarged to 1, as
before; "as it is": it is judged at its own pixels.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import tempfile
from pathlib import Path

from fields import fields_of
from focus_table import steps, stored
from slideloom import Slide
from slideloom_deepfocus.deepfocus import DeepFocusQC
from slideloom_testing import PixelsSlide

STATED = (0.5, 0.667, 1.0, 1.25, 1.5, 2.0)  # over the true microns per pixel
RADII_UM = (0.0, 3.0)
MUCH = 0.05  # of the sharp cells; what is lost beyond it should have a note
Rows = list[dict[str, float | str]]

log = logging.getLogger("scale_table")


class Enlarging(DeepFocusQC):
    """A step that enlarges slides which are coarser than the network's scale, and is otherwise as another one."""

    def __init__(self, other: DeepFocusQC) -> None:
        vars(self).update(vars(other))

    def mpp_for(self, slide: Slide) -> float:
        """That of the options."""
        return self.options.mpp


def measured(data: Path, folds: Path) -> Rows:
    """One row for each field, factor, radius and form."""
    rows: Rows = []
    with tempfile.TemporaryDirectory() as folder:
        by_fold = dict(steps(folds, "bundled", Path(folder)))
        for field, rgb in fields_of(data).items():
            if field.role == "glass":
                continue
            step = by_fold.get(field.fold, by_fold[-1])
            for factor in STATED:
                for radius in RADII_UM:
                    slide = PixelsSlide(stored(rgb, radius / field.mpp), mpp=field.mpp * factor)
                    here = {"field": field.name, "origin": field.origin, "stated": factor, "um": radius}
                    rows.append({**here, "form": "enlarged", **counted(Enlarging(step), slide)})
                    rows.append({**here, "form": "as it is", **counted(step, slide)})
            log.info("%s", field.name)
    return rows


def counted(step: DeepFocusQC, slide: Slide) -> dict[str, float]:
    """How many cells are judged, discarded, above 0.5; and whether a note doubts the answer."""
    found = step.predict(slide)
    result = step.judge(found)
    noted = any("soft all over" in note or "looks out of focus" in note for note in result.notes)
    return {
        "cells": float(found.visited.sum()),
        "auto": result.metrics["cells_discarded"],
        "fixed": float((found.values > step.options.threshold).sum()),
        "noted": float(noted),
    }


def origin_rows(rows: Rows) -> list[str]:
    """Of all cells of an origin, the share discarded: before and now, sharp and at 3 um, by factor."""
    heads = [f"x {factor:.3g}" for factor in STATED]
    lines = [f"| origin (held out) | defocus | {' | '.join(heads)} |", "|---|---|" + "---|" * len(heads)]
    for origin in dict.fromkeys(row["origin"] for row in rows):
        for radius in RADII_UM:
            texts = []
            for factor in STATED:
                here = {"origin": origin, "stated": factor, "um": radius}
                shares = dict.fromkeys(share(rows, form=form, **here) for form in ("enlarged", "as it is"))
                texts.append(" → ".join(shares))
            lines.append(f"| {origin} | {'none' if not radius else f'{radius:g} um'} | {' | '.join(texts)} |")
    return lines


def share(rows: Rows, **wanted: object) -> str:
    """In percent; what is not nothing does not read 0."""
    here = [row for row in rows if all(row[name] == value for name, value in wanted.items())]
    part = sum(float(row["auto"]) for row in here) / sum(float(row["cells"]) for row in here)
    return "<1" if 0 < part < 0.005 else f"{100 * part:.0f}"


def lost_rows(rows: Rows) -> list[str]:
    """The sharp fields that lose more than `MUCH`, and whether the report says so."""
    lines = ["| sharp field | stated | before | now, fixed 0.5 | now, auto | noted |", "|---|---|---|---|---|---|"]
    for field in dict.fromkeys(row["field"] for row in rows):
        for factor in STATED:
            old, new = (
                next(r for r in rows if (r["field"], r["stated"], r["um"], r["form"]) == (field, factor, 0.0, form))
                for form in ("enlarged", "as it is")
            )
            parts = [
                float(row[kind]) / max(float(row["cells"]), 1.0)  # small fields may have no cell with enough tissue
                for row, kind in ((old, "auto"), (new, "fixed"), (new, "auto"))
            ]
            if max(parts[0], parts[2]) > MUCH:
                texts = " | ".join(f"{100 * part:.0f}" for part in parts)
                lines.append(f"| {field} | x {factor:.3g} | {texts} | {'yes' if new['noted'] else 'no'} |")
    return lines


def main() -> None:
    """Measure, or read what was measured; write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--folds", type=Path)
    parser.add_argument("--report", type=Path)
    parser.add_argument("--read", type=Path)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if args.read:
        rows = json.loads(args.read.read_text())
    else:
        rows = measured(args.data, args.folds)
        args.report.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    sys.stdout.write("\n\n".join("\n".join(part) for part in (origin_rows(rows), lost_rows(rows))) + "\n")


if __name__ == "__main__":
    main()
