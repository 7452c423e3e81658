"""Tiles for training: the PyTorch loader in this process, beside plain decoding of the same bytes, and extraction."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bench.measure import Times, in_turn, speed
from bench.ours import extract, pipeline_of, written
from bench.sections import Bench

_BATCH = 32


def torch_loader(bench: Bench) -> dict[str, Any]:
    """Passes over stored tiles; {} without PyTorch."""
    if find_spec("torch") is None:
        return {"times": {}}
    with _dataset(bench) as (dataset, path):
        contestants = {
            "decode alone": lambda: _plain(path),
            "torch loader": _passes(dataset),
            "with flips and turns": _passes(dataset, augment="flip,rotate"),
            "with macenko": _passes(dataset, normalizer="macenko"),
            "with reinhard-fast": _passes(dataset, normalizer="reinhard-fast"),
        }
        times = in_turn(contestants, rounds=bench.rounds)
    return _compared(times, "decode alone")


def from_slides(bench: Bench) -> dict[str, Any]:
    """Passes over tiles that are read from the slide, beside extraction by one thread; {} without PyTorch."""
    if find_spec("torch") is None:
        return {"times": {}}
    with _dataset(bench) as (dataset, _), tempfile.TemporaryDirectory() as out:
        slide, plain = bench.mosaic(_side(bench), pyramid="near"), pipeline_of(threads=1, jobs=1)
        contestants = {
            "extraction, one thread": lambda: written(extract(plain, [slide], Path(out))),
            "in order": _passes(dataset, from_slides=True),
            "in random order": _passes(dataset, from_slides=True, shuffle=True),
        }
        times = in_turn(contestants, rounds=bench.rounds)
    return _compared(times, "extraction, one thread")


def _side(bench: Bench) -> int:
    return min(3, bench.side)


def _compared(times: Mapping[str, Times], base: str) -> dict[str, Any]:
    return {
        "times": {label: value.as_table() for label, value in times.items()},
        "speed": {label: speed(times, label, base) for label in times if label != base},
    }


@contextmanager
def _dataset(bench: Bench) -> Iterator[tuple[Any, Path]]:
    """The dataset of a project with one slide, whose tiles are stored, and its file."""
    import slideloom as sl
    import torch

    torch.set_num_threads(1)
    slide = bench.mosaic(_side(bench), pyramid="near")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "slides").mkdir()
        (folder / "slides" / slide.name).symlink_to(slide)
        project = sl.Project.create(folder / "project", slides=folder / "slides")
        project.extract_tiles(299, 302, jobs=1, report=False)
        (path,) = (folder / "project").rglob("*.tfrecords")
        yield project.dataset(299, 302), path


def _passes(dataset: Any, **options: Any) -> Callable[[], int]:
    """A pass over all tiles of a dataset, in this process; returns their number."""
    asked = {"shuffle": False, "num_workers": 0, **options}
    loader: Iterable[Any] = dataset.torch(_BATCH, **asked)
    return lambda: sum(len(batch[0] if isinstance(batch, list | tuple) else batch) for batch in loader)


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
