"""What there is to do on a slide, as every contestant needs to know it, and the writer they share."""

from __future__ import annotations

import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs
import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Box, ImageEncoder, Rgb, Size, open_slide, plan_slide
from slideloom_filters import Grayspace
from slideloom_filters.pixels import GrayspaceFilter
from slideloom_tfrecord import TFRecords
from slideloom_tfrecord.example import bytes_entry, example_head
from slideloom_tfrecord.framing import framed

from bench.ours import pipeline_of

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
_SAMPLES = 64
SIDE = 299

encode = ImageEncoder(cv2, TFRecords())
_filter = Grayspace().build()


@attrs.frozen
class Work:
    """A slide's tiles.

    Attributes:
        slide: the file.
        boxes: all planned tiles, in rows, level-0 pixels; every one must be looked at, as the filter goes by pixels.
        level: read from.
        downsample: of it.
        images: some of the tiles that the filter keeps, for the floor to encode.
        kept: how many it keeps.
    """

    slide: Path
    boxes: list[Box]
    level: int
    downsample: float
    images: list[Rgb]
    kept: int


def work_of(path: Path) -> Work:
    """What there is to do on a slide."""
    with open_slide(path) as slide:
        plan = plan_slide(slide, pipeline_of())
        boxes = plan.tiles.boxes()
        geometry = plan.scene.geometry
        downsample = slide.info.levels[geometry.level].downsample
        images, kept = [], 0
        for box in boxes:
            rgb = slide.read_at(box, geometry.size, level=geometry.level)
            if keeps(rgb):
                kept += 1
                if len(images) < _SAMPLES:
                    images.append(rgb)
    return Work(path, boxes, geometry.level, downsample, images, kept)


def keeps(rgb: Rgb) -> bool:
    """True if the grayspace filter keeps a tile."""
    if not isinstance(_filter, GrayspaceFilter):
        raise TypeError("grayspace is not the filter these benchmarks were written for")
    return _filter.share(rgb) <= Grayspace().fraction


def record(rgb: Rgb, box: Box, slide: str) -> bytes:
    """A tile as a TFRecord."""
    image = encode(rgb)
    place = {"loc_x": int(box.x + box.width / 2), "loc_y": int(box.y + box.height / 2)}
    return framed(example_head(bytes_entry("slide", slide.encode()), **place, image_bytes=len(image)), image)


def write_records(records: Iterable[bytes], path: Path) -> None:
    """Write records and wait until they are on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb", buffering=1 << 20) as file:
        for content in records:
            file.write(content)
        file.flush()
        os.fsync(file.fileno())


def in_threads(function: Any, parts: list[Any], threads: int = CORES) -> list[Any]:
    """The function of each part, in as many threads, results in order."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(function, parts))


def source_tiles(work: Work, tile: Size, columns: int, rows: int) -> NDArray[np.int64]:
    """Numbers of the source tiles that any tile touches, each once."""
    needed = np.zeros((rows, columns), bool)
    for box in work.boxes:
        here = box.scaled(x=1 / work.downsample, y=1 / work.downsample)
        left, top = int(here.x) // tile.width, int(here.y) // tile.height
        right, bottom = (
            int(np.ceil(here.right - 1e-6) - 1) // tile.width,
            int(np.ceil(here.bottom - 1e-6) - 1) // tile.height,
        )
        needed[max(0, top) : bottom + 1, max(0, left) : right + 1] = True
    return np.flatnonzero(needed)
