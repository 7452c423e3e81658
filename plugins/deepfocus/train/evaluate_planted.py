"""Plant defocus of known strength into a large slide made from a real one, and count what DeepFocus finds.

usage: python evaluate_planted.py --slide cmu-1-small-region.svs --work FOLDER --report REPORT.json
           [--blocks 2] [--weights bundled]

The slide is mirrored into a seamless block of 2 x 2, and the block is repeated `blocks` times along each axis.
Squares of 512 um are defocused by a disk of 1 to 8 um radius, the rest stays as it is, and all of it is written as a
pyramidal TIFF with JPEG tiles (quality 80). A cell counts as planted if it lies wholly in a square, as clean if it
lies wholly outside every square; only cells that DeepFocus looked at (tissue) count.

Recall of a strength is the share of its cells that were found. Precision of a strength is that of a slide on which
every square has that strength: found / (found + clean cells called out of focus).
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import cv2
import numpy as np
import pyvips
from focus_table import defocused
from numpy.typing import NDArray
from slideloom import Box, Slide, open_slide
from slideloom_deepfocus import DeepFocus

SQUARE_UM = 512.0
RADII_UM = (1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0)
Planted = list[tuple[Box, float]]  # level-0 box, radius in microns


def rgb_of(path: Path) -> NDArray[np.uint8]:
    """Level 0 of a slide."""
    with open_slide(path) as slide:
        return slide.read_at(slide.info.box, slide.info.size)


def mosaic(rgb: NDArray[np.uint8], blocks: int) -> NDArray[np.uint8]:
    """`rgb` mirrored into a seamless 2 x 2 block, repeated."""
    top = np.concatenate([rgb, rgb[:, ::-1]], axis=1)
    block = np.concatenate([top, top[::-1]], axis=0)
    return np.tile(block, (blocks, blocks, 1))


def plant(rgb: NDArray[np.uint8], mpp: float, seed: int) -> Planted:
    """Defocus squares of `rgb` in place: a third of all places, in turn of every strength."""
    rng = np.random.default_rng(seed)
    side = round(SQUARE_UM / mpp)
    places = [(x, y) for y in range(0, rgb.shape[0] - side, side) for x in range(0, rgb.shape[1] - side, side)]
    chosen = rng.permutation(len(places))[: len(places) // 3]
    planted: Planted = []
    for number, place in enumerate(chosen.tolist()):
        # Not aligned with the cells of 64 um.
        x, y = (min(start + int(rng.integers(0, side // 4)), extent - side)
                for start, extent in zip(places[place], (rgb.shape[1], rgb.shape[0]), strict=True))  # fmt: skip
        radius_um, margin = RADII_UM[number % len(RADII_UM)], int(16 / mpp)
        top, left = max(0, y - margin), max(0, x - margin)
        around = rgb[top : y + side + margin, left : x + side + margin].astype(np.float32) / 255
        soft = np.clip(np.round(defocused(around, radius_um / mpp) * 255), 0, 255).astype(np.uint8)
        rgb[y : y + side, x : x + side] = soft[y - top : y - top + side, x - left : x - left + side]
        planted.append((Box(x, y, side, side), radius_um))
    return planted


def write_slide(rgb: NDArray[np.uint8], mpp: float, path: Path) -> None:
    """A pyramidal TIFF that says its resolution."""
    height, width = rgb.shape[:2]
    image = pyvips.Image.new_from_memory(np.ascontiguousarray(rgb).data, width, height, 3, "uchar")
    text = (
        f"Aperio Image Library v11.2.1\r\n{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=80"
        f"|AppMag = 20|MPP = {mpp}"
    )
    image = image.copy()
    image.set_type(pyvips.GValue.gstr_type, "image-description", text)
    image.tiffsave(
        str(path), tile=True, tile_width=256, tile_height=256, pyramid=True, compression="jpeg", Q=80, depth="onetile"
    )


def judged(slide: Slide, planted: Planted, settings: DeepFocus) -> dict[str, object]:
    """Recall and precision by strength."""
    started = time.monotonic()
    found = settings.build()(slide, threshold=False)
    seconds = time.monotonic() - started
    rows, columns = found.values.shape
    step_x, step_y = found.extent.width / columns, found.extent.height / rows
    left, top = np.arange(columns)[None, :] * step_x, np.arange(rows)[:, None] * step_y

    def inside(box: Box) -> NDArray[np.bool_]:
        return (left >= box.x) & (left + step_x <= box.right) & (top >= box.y) & (top + step_y <= box.bottom)

    def touching(box: Box) -> NDArray[np.bool_]:
        return (left < box.right) & (left + step_x > box.x) & (top < box.bottom) & (top + step_y > box.y)

    called = found.values > settings.threshold
    clean = found.visited.copy()
    by_radius = {radius: np.zeros_like(clean) for radius in RADII_UM}
    for box, _ in planted:
        clean &= ~touching(box)
    for box, radius in planted:
        others = [other for other, _ in planted if other is not box]
        alone = inside(box) & found.visited
        for other in others:
            alone &= ~touching(other)
        by_radius[radius] |= alone
    false_share = float((called & clean).sum() / clean.sum())
    report: dict[str, object] = {
        "cells": int(found.visited.sum()), "clean_cells": int(clean.sum()), "seconds": round(seconds, 1),
        "clean_called_out_of_focus": round(false_share, 4),
    }  # fmt: skip
    everything = sum(int(cells.sum()) for cells in by_radius.values())
    for radius, cells in by_radius.items():
        recall = float((called & cells).sum() / cells.sum())
        hits, alarms = recall * everything, false_share * float(clean.sum())
        report[f"{radius} um"] = {
            "cells": int(cells.sum()),
            "recall": round(recall, 4),
            "precision": round(hits / (hits + alarms), 4) if hits + alarms else None,
        }
    return report


def main() -> None:
    """Make the slide, judge it, write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slide", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--report", type=Path, required=True)
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--mpp", type=float, default=0.499)
    parser.add_argument("--weights", default="bundled")
    parser.add_argument("--stride-div", type=int, default=1)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    rgb = mosaic(rgb_of(args.slide), args.blocks)
    planted = plant(rgb, args.mpp, seed=3)
    path = args.work / "planted.tif"
    write_slide(rgb, args.mpp, path)
    size = f"{rgb.shape[1]}x{rgb.shape[0]}"
    del rgb
    with open_slide(path, mpp=args.mpp) as slide:
        report = judged(slide, planted, DeepFocus(weights=args.weights, stride_div=args.stride_div))
    args.report.write_text(json.dumps({"slide": size, "squares": len(planted), **report}, indent=1) + "\n")


if __name__ == "__main__":
    main()
