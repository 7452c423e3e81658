"""Part of `bench.gpu`: batches of a loader, normalized on the GPU or by its worker processes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from slideloom import StainNormalizer

from bench.gpu_machine import SIDE, Array, Machine, Row, tiles


def loaders(here: Machine) -> Iterator[Row]:
    """Tiles per second of a PyTorch loader with worker processes: alone, normalizing there, and on the GPU.

    Every batch is copied to the GPU from page-locked memory. Results do not come back: training goes on there.
    """
    import torch

    workers = min(8, max(1, torch.get_num_threads() // 2))
    with tempfile.TemporaryDirectory() as folder:
        dataset = _dataset(Path(folder))
        yield Row(f"loader, {workers} workers, raw pixels to the GPU", _passing(here, dataset, workers)[0])
        for name in ("macenko", "reinhard-fast"):
            form = StainNormalizer(name).torch().to(here.device)
            gpu, pixels = _passing(here, dataset, workers, form=form)
            cpu, expected = _passing(here, dataset, workers, normalizer=name)
            far = float(np.abs(pixels.astype(np.float64) - expected).max())
            yield Row(f"loader, {name} on the GPU; CPU: in its {workers} workers", gpu, cpu, far)
    torch.cuda.empty_cache()


def _passing(
    here: Machine, dataset: Any, workers: int, *, form: Any = None, normalizer: str | None = None
) -> tuple[float, Array]:  # Any: as `_dataset`, and a torch module
    """Tiles per second of passes over a loader, and the pixels of its first batch.

    Args:
        here: where batches go.
        dataset: of the loader.
        workers: its processes.
        form: what is called with each batch on the GPU, or None.
        normalizer: of the workers.
    """
    loader = dataset.torch(
        batch_size=here.batch, shuffle=False, num_workers=workers, pin_memory=True, persistent_workers=True,
        normalizer=normalizer,
    )  # fmt: skip
    kept: list[Array] = []

    def one_pass() -> None:
        for number, batch in enumerate(loader):
            there = batch.to(here.device, non_blocking=True)
            there = there if form is None else form(there)
            if number == 0 and not kept:
                kept.append(there.cpu().numpy())

    return Machine(here.device, here.batch, 3).per_second(one_pass, len(loader.dataset)), kept[0]


def _dataset(folder: Path) -> Any:
    """Some 700 stored tiles of a made slide. Any: `slideloom.Dataset` is imported when it is used."""
    import slideloom as sl
    import tifffile

    side, mpp, tile = 8192, 0.5, 512
    (folder / "slides").mkdir()
    tifffile.imwrite(
        folder / "slides/made.tif", iter(tiles((side // tile) ** 2, tile)), shape=(side, side, 3), dtype=np.uint8,
        tile=(tile, tile), photometric="rgb", resolution=(1e4 / mpp, 1e4 / mpp), resolutionunit="CENTIMETER",
    )  # fmt: skip
    project = sl.Project.create(folder / "project", slides=folder / "slides")
    project.extract_tiles(SIDE, 150, jobs=1, report=False)
    return project.dataset(SIDE, 150)
