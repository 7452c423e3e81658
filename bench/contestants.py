"""The floor, and other ways to do the same job with the same filter and writer."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
from slideloom import Box
from slideloom_formats.tiff import read_tiff_directories
from slideloom_tiff.jpegs import ByteRanges
from slideloom_tiff.levels import TAGS, slide_levels

from bench.work import CORES, SIDE, Work, in_threads, keeps, record, source_tiles, write_records

_CHUNK = 64  # source tiles, or tiles, that a thread takes at a time


def floor(work: Work, out: Path) -> int:
    """The least there is to do: decode each needed source tile once on all cores, encode the kept tiles, write.

    Nothing is cut, resampled or filtered; what is encoded are kept tiles made before.
    """
    levels = slide_levels(read_tiff_directories(work.slide, TAGS))
    if levels is None:
        raise RuntimeError(f"{work.slide}: not a slide of JPEG tiles")
    stored = levels[work.level]
    numbers = source_tiles(work, stored.tile, stored.columns, stored.rows)
    file = ByteRanges(work.slide)

    def decode(part: Any) -> None:
        pixels = np.empty((stored.tile.height, stored.tile.width, 3), np.uint8)
        for number in part:
            content = file.read(int(stored.offsets[number]), int(stored.lengths[number]))
            simplejpeg.decode_jpeg(stored.head + content[2:], "RGB", buffer=pixels)

    def encode(part: list[int]) -> list[bytes]:
        box = Box(0, 0, SIDE, SIDE)
        return [record(work.images[number % len(work.images)], box, work.slide.stem) for number in part]

    in_threads(decode, list(chunks(numbers.tolist())))
    made = in_threads(encode, list(chunks(list(range(work.kept)))))
    write_records((content for part in made for content in part), out / "floor.tfrecords")
    file.close()
    return work.kept


def openslide_per_tile(work: Work, out: Path) -> int:
    """`read_region` for each tile, tiles in rows, threads on one handle; resized by OpenCV.

    Places are rounded to whole pixels of the level: between them OpenSlide interpolates, at three times the time.
    """
    import openslide

    with openslide.OpenSlide(work.slide) as slide:

        def tiles(boxes: list[Box]) -> list[bytes]:
            found = []
            for box in boxes:
                side = round(box.width / work.downsample)
                place = tuple(round(int(at / work.downsample) * work.downsample) for at in (box.x, box.y))
                rgba = np.asarray(slide.read_region(place, work.level, (side, side)))
                rgb = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
                _filtered(rgb, box, work, found)
            return found

        made = in_threads(tiles, list(chunks(work.boxes)))
    return _written(made, out / "openslide.tfrecords")


def vips_fetch(work: Work, out: Path) -> int:
    """`Region.fetch` of libvips for each tile; a region for each part, as regions belong to one thread."""
    import pyvips

    image = pyvips.Image.new_from_file(str(work.slide), page=work.level)

    def tiles(boxes: list[Box]) -> list[bytes]:
        found: list[bytes] = []
        region = pyvips.Region.new(image)
        for box in boxes:
            side = round(box.width / work.downsample)
            left, top = int(box.x / work.downsample), int(box.y / work.downsample)
            pixels = region.fetch(left, top, side, side)
            _filtered(np.frombuffer(pixels, np.uint8).reshape(side, side, 3), box, work, found)
        return found

    made = in_threads(tiles, list(chunks(work.boxes)))
    return _written(made, out / "vips.tfrecords")


_SLIDEFLOW = """
import sys, slideflow
slide, out, px, um = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
slideflow.WSI(slide, px, um, rois=None).extract_tiles(tfrecord_dir=out, report=False)
"""


def has_slideflow() -> bool:
    """True where Slideflow is installed."""
    return find_spec("slideflow") is not None


def slideflow_extract(work: Work, out: Path) -> int:
    """Slideflow's own extraction, as a process of its own: start-up included."""
    out.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-c", _SLIDEFLOW, str(work.slide), str(out), "299", "302"]
    subprocess.run(words, check=True, capture_output=True)  # noqa: S603 - our own words
    return work.kept


def _filtered(rgb: Any, box: Box, work: Work, found: list[bytes]) -> None:
    interpolation = cv2.INTER_AREA if rgb.shape[0] > 1.25 * SIDE else cv2.INTER_LINEAR
    tile = np.asarray(cv2.resize(rgb, (SIDE, SIDE), interpolation=interpolation), np.uint8)
    if keeps(tile):
        found.append(record(tile, box, work.slide.stem))


def _written(made: list[list[bytes]], path: Path) -> int:
    write_records((content for part in made for content in part), path)
    return sum(map(len, made))


def chunks(items: list[Any]) -> Any:
    """The items in parts that a thread takes at a time."""
    rest = iter(items)
    while part := list(islice(rest, _CHUNK)):
        yield part


__all__ = ["CORES", "floor", "has_slideflow", "openslide_per_tile", "slideflow_extract", "vips_fetch"]
