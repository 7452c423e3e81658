"""A picture of the held-out tiles that the folds' networks judge worst: sharp ones called blurred, and missed ones.

usage: python failure_strip.py --fields FOLDER_OR_ZIP --folds folds-compact.safetensors --out PICTURE.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
import torch
from defocus_tiles import Source, grid_places, plain_tiles, sources_of
from fields import Rgb, fields_of
from numpy.typing import NDArray
from safetensors.numpy import load_file

_ENLARGED = 2
_COLUMNS = 6


def worst(
    scores: dict[str, NDArray[np.float32]], sources: list[Source], radius: str, *, highest: bool
) -> list[tuple[float, Source, int]]:
    """One tile of each field, the worst first: log odds, field, number of its place."""
    found = []
    for source in sources:
        here = scores[f"{source.field.name}|{radius}|1"]
        at = int(here.argmax() if highest else here.argmin())
        found.append((float(here[at]), source, at))
    return sorted(found, key=lambda item: -item[0] if highest else item[0])[:_COLUMNS]


def drawn(found: tuple[float, Source, int], radius: float, stride_um: float) -> Rgb:
    """The tile, its field and its probability of being out of focus."""
    logit, source, at = found
    places = grid_places(source, stride_um=stride_um)[at : at + 1]
    tile = plain_tiles(source, places, radius, zoom=1.0, quality=75.0)[0]
    rgb = (tile * 255).permute(1, 2, 0).numpy().astype(np.uint8)
    large = cv2.resize(rgb, None, fx=_ENLARGED, fy=_ENLARGED, interpolation=cv2.INTER_CUBIC)
    card = np.full((large.shape[0] + 30, large.shape[1] + 6, 3), 255, np.uint8)
    card[: large.shape[0], : large.shape[1]] = large
    lines = (source.field.name.removeprefix("tcga-")[:20], f"p = {1 / (1 + np.exp(-logit)):.2f}")
    for number, text in enumerate(lines):
        cv2.putText(card, text, (0, large.shape[0] + 12 + 13 * number), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1)
    return card


def main() -> None:
    """Draw two rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fields", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--stride-um", type=float, default=32.0)
    args = parser.parse_args()
    scores = {name.removeprefix("scores/"): array for name, array in load_file(args.folds).items()}
    sources = [s for s in sources_of(fields_of(args.fields), torch.device("cpu")) if s.field.role == "train"]
    rows = []
    for radius, highest in (("0", True), ("3", False)):
        chosen = worst(scores, sources, radius, highest=highest)
        rows.append(np.hstack([drawn(found, float(radius), args.stride_um) for found in chosen]))
    cv2.imwrite(str(args.out), np.vstack(rows)[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    main()
