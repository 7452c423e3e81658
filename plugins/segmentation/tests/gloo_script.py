"""One of two processes that train a model together over gloo: python gloo_script.py SYNC OUT RANK."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from shapely.geometry import Point
from slideloom import Region, Regions, Size
from slideloom_segmentation import SegmentConfig, train
from slideloom_testing import PixelsSlide, stained
from torch import distributed


def section(seed: int) -> tuple[PixelsSlide, Regions]:
    """A disc of tissue on glass."""
    rgb = np.random.default_rng(seed).normal(243, 1.5, (800, 800, 3)).clip(0, 255).astype(np.uint8)
    y, x = np.mgrid[:800, :800] + 0.5
    inside = (x - 380) ** 2 + (y - 420) ** 2 < 220**2
    rgb[inside] = stained(Size(800, 800), seed=seed)[inside]
    slide = PixelsSlide(rgb, mpp=4.0, path=Path(f"section{seed}.json"))
    return slide, Regions(items=(Region("tissue", Point(380, 420).buffer(220), "tissue"),))


def main(sync: str, out: Path, rank: int) -> None:
    """What each of the two does."""
    torch.set_num_threads(1)
    # A busy machine may take long between two steps.
    distributed.init_process_group(
        "gloo", init_method=f"file://{sync}", rank=rank, world_size=2, timeout=timedelta(hours=1)
    )
    sections = [section(seed) for seed in (1, 2, 3)]
    config = SegmentConfig(width=4, mpp=32.0, patch_px=32, epochs=6, patches=64, learning_rate=5e-3, device="cpu")
    told: list[int] = []
    train(
        config,
        slides=[slide for slide, _ in sections],
        regions=[regions for _, regions in sections],
        out=out,
        progress=lambda report: told.append(report.epoch),
    )
    assert told == (list(range(1, 7)) if rank == 0 else [])
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
