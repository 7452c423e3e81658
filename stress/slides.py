"""Slides with damaged bytes: `slideloom info`, and a tiny run by every reader."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from slideloom import Size
from slideloom_testing import write_demo_slide
from slideloom_tfrecord import read_records

from stress.judging import Done, account_of, command, judged, left_over, slides_of
from stress.mutations import damaged
from stress.verdicts import Campaign, Kind, Verdict

_READERS = ("tiff", "openslide", "vips", "")
_TILES = ("--tile-px", 64, "--tile-um", 128, "--mpp", 1, "--filter", "none", "--sink", "tfrecord:format=png")
_RUN = ("--jobs", 1, "--threads", 2, "--quiet")
_SIZE = Size(700, 500)
# Two decoders of the same damaged JPEG may round differently, but show the same picture.
_ALIKE = 3.0


def prepare(folder: Path, *, size: Size = _SIZE, mpp: float = 1.0) -> None:
    """One small picture in every form that readers tell apart."""
    import pyvips

    made = folder / "made"
    made.mkdir()
    write_demo_slide(made / "demo.svs", size=size, mpp=mpp, seed=0)
    image = pyvips.Image.new_from_file(str(made / "demo.svs"), access="random")[:3].copy_memory()
    tiled: dict[str, Any] = {"tile": True, "tile_width": 128, "tile_height": 128, "pyramid": True}
    image.tiffsave(str(made / "jpeg.tif"), compression="jpeg", Q=85, **tiled)
    image.tiffsave(str(made / "big.tif"), compression="jpeg", Q=85, bigtiff=True, **tiled)
    image.tiffsave(str(made / "deflate.tif"), compression="deflate", **tiled)
    image.tiffsave(str(made / "lzw.tif"), compression="lzw", **tiled)
    image.tiffsave(str(made / "none.tif"), compression="none", tile=False)
    image.jpegsave(str(made / "plain.jpg"), Q=85)
    image.pngsave(str(made / "plain.png"))


def cases(folder: Path, seed: int) -> list[str]:
    """`FILE/NUMBER/READER`; no reader means the choice of the run."""
    rng = random.Random(seed)
    names = sorted(path.name for path in (folder / "made").iterdir())
    return [f"{rng.choice(names)}/{seed}.{number}/{rng.choice(_READERS)}" for number in range(10_000)]


def judge(folder: Path, case: str) -> Verdict:
    """`info` and a run must be right or refuse; where two readers cut every tile, they show the same."""
    name, number, reader = case.split("/")
    place = folder / "case"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    slide = place / name
    damaged_copy(folder / "made" / name, slide, f"{name}/{number}")
    words = ("--reader", reader) if reader else ()
    told = judged(lambda: command("info", slide, *words))
    if told.is_fault:
        return told
    ran = _cut(slide, place / "out", words)
    other = "vips" if reader != "vips" else "openslide"
    if ran.kind is Kind.RIGHT:
        wrong = _differs(slide, place, other)
        return Verdict(Kind.WRONG, wrong) if wrong else ran
    return ran


def damaged_copy(source: Path, slide: Path, name: str) -> None:
    """A copy of a file, damaged; of a folder, with one of its files damaged or lost."""
    if source.is_file():
        slide.write_bytes(damaged(source.read_bytes(), name))
        return
    shutil.copytree(source, slide)
    rng = random.Random(name)
    files = sorted(path for path in slide.rglob("*") if path.is_file())
    chosen = rng.choice([path for path in files if path.suffix == ".json" or path.name[0] == "."] or files)
    chosen = rng.choice((chosen, rng.choice(files)))  # what describes the slide is as likely as one of many chunks
    if rng.random() < 0.1:
        chosen.unlink()
    else:
        chosen.write_bytes(damaged(chosen.read_bytes(), name))


def _cut(slide: Path, out: Path, words: tuple[str, ...]) -> Verdict:
    def act() -> Done:
        return command("extract", slide, *_TILES, *_RUN, *words, "--out", out)

    return judged(act, lambda: _wrong(out))


def _wrong(out: Path) -> str:
    (slide,) = slides_of(out)
    stored = [record for path in out.glob("tfrecords/*/*.tfrecords") for record in read_records(path)]
    if len(stored) != slide["written"]:
        return f"{slide['written']} tiles are reported, {len(stored)} are stored"
    if left_over(out):
        return f"left over: {left_over(out)}"
    if slide["unreadable"] == 0 and slide["planned"] > 0 and slide["written"] == 0:
        return "no tile was stored, and none is said to be unreadable"
    return account_of(slide)


def _differs(slide: Path, place: Path, reader: str) -> str:
    """Where another reader cuts every tile as well: is what it shows the same?"""
    second = place / reader
    if _cut(slide, second, ("--reader", reader)).kind is not Kind.RIGHT:
        return ""
    (ours,), (theirs,) = slides_of(place / "out"), slides_of(second)
    both = (ours, theirs)
    if any(found["unreadable"] for found in both) or ours["size"] != theirs["size"] or ours["reader"] == reader:
        return ""
    if ours["level"] != theirs["level"]:
        # One of them does not take a damaged smaller level, and shrinks a finer one itself: both are right.
        return ""
    first, other = _pixels(place / "out"), _pixels(second)
    if first.keys() != other.keys():
        return f"{len(first)} tiles by {ours['reader']}, {len(other)} by {reader}"
    apart = max((float(np.abs(first[key] - other[key]).mean()) for key in first), default=0.0)
    return f"tiles by {ours['reader']} and by {reader} are {apart:.0f} grey levels apart" if apart > _ALIKE else ""


def _decoded(image: bytes) -> NDArray[np.float32]:
    import cv2

    rgb = cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR)
    if rgb is None:
        raise ValueError("a stored tile cannot be decoded")
    return rgb.astype(np.float32)


def _pixels(out: Path) -> dict[Any, Any]:
    return {
        (record.loc_x, record.loc_y): _decoded(record.image_raw)
        for path in out.glob("tfrecords/*/*.tfrecords")
        for record in read_records(path)
    }


CAMPAIGN = Campaign(
    name="slides",
    help="slides with damaged bytes",
    prepare=prepare,
    cases=cases,
    judge=judge,
)
