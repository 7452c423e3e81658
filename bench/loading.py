"""Tiles for training: the PyTorch loader in this process, beside plain decoding of the same bytes into tensors."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measure import in_turn
from bench.sections import Bench, ratio

_BATCH = 32


def torch_loader(bench: Bench) -> dict[str, Any]:
    """Passes over stored tiles; {} without PyTorch."""
    if find_spec("torch") is None:
        return {"times": {}}
    import slideloom as sl
    import torch

    torch.set_num_threads(1)
    slide = bench.mosaic(min(3, bench.side), pyramid="near")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slides").mkdir()
        (folder / "slides" / slide.name).symlink_to(slide)
        project = sl.Project.create(folder / "project", slides=folder / "slides")
        project.extract_tiles(299, 302, jobs=1, report=False)
        dataset = project.dataset(299, 302)
        (path,) = (folder / "project").rglob("*.tfrecords")

        def passes(**options: Any) -> Callable[[], int]:
            loader: Iterable[Any] = dataset.torch(_BATCH, shuffle=False, num_workers=0, **options)
            return lambda: sum(len(batch[0] if isinstance(batch, list | tuple) else batch) for batch in loader)

        contestants = {
            "decode alone": lambda: _plain(path),
            "torch loader": passes(),
            "with flips and turns": passes(augment="flip,rotate"),
            "with macenko": passes(normalizer="macenko"),
            "with reinhard-fast": passes(normalizer="reinhard-fast"),
        }
        times = in_turn(contestants, rounds=bench.rounds)
    return {
        "times": {label: value.as_table() for label, value in times.items()},
        "to_decode": {label: ratio(times, label, "decode alone") for label in times if label != "decode alone"},
    }


def _plain(path: Path) -> int:
    """Each record decoded by OpenCV, and stacked into batches (B, 3, H, W) of uint8."""
    import cv2
    import numpy as np
    import torch
    from slideloom_tfrecord import read_records

    count, batch = 0, []
    for record in read_records(path):
        rgb = cv2.imdecode(np.frombuffer(record.image_raw, np.uint8), cv2.IMREAD_COLOR_RGB)
        batch.append(torch.from_numpy(rgb).permute(2, 0, 1))
        if len(batch) == _BATCH:
            count += len(torch.stack(batch))
            batch = []
    return count + (len(torch.stack(batch)) if batch else 0)
