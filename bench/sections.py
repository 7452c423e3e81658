"""What is measured, section by section. Each gives plain values for the JSON file and the table."""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import attrs
from slideloom import open_slide, plan_slide
from slideloom.planning.prepared import PreparedSlide

from bench import contestants
from bench.measure import in_child, in_turn, ratio, with_bytecode
from bench.ours import command, extract, pipeline_of, written
from bench.slides import write_mosaic
from bench.work import CORES, work_of

FAR = (1, 4, 16)


@attrs.define
class Bench:
    """How to measure.

    Attributes:
        slides: folder of the large slides.
        side: blocks of the mosaic along each axis; 6 gives 26640 x 35604 pixels.
        rounds: of each contestant.
        quick: as little as shows that everything works.
        peer: with Slideflow.
        large: side of one more mosaic for the section "sizes", or 0.
        source: what mosaics are made of, once one was made.
    """

    slides: Path
    side: int
    rounds: int
    quick: bool = False
    peer: bool = False
    large: int = 0
    source: str = ""

    def mosaic(self, side: int, *, pyramid: str) -> Path:
        """The mosaic of `side` x `side` blocks, made if it is not there."""
        path = self.slides / f"{pyramid}-{side}.svs"
        self.source = write_mosaic(path, columns=side, rows=side, keep=FAR if pyramid == "far" else ())
        return path


def pyramid(bench: Bench, *, pyramid: str) -> dict[str, Any]:
    """Plain extraction against the floor and against other readers, on one pyramid."""
    work = work_of(bench.mosaic(bench.side, pyramid=pyramid))
    plain = pipeline_of()
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        runs: dict[str, Callable[[], int]] = {
            "floor": lambda: contestants.floor(work, out / "floor"),
            "slideloom": lambda: written(extract(plain, [work.slide], out / "ours")),
            "slideloom, whole command": lambda: (command(work.slide, out / "command"), work.kept)[1],
            "openslide per tile": lambda: contestants.openslide_per_tile(work, out / "openslide"),
            "pyvips fetch": lambda: contestants.vips_fetch(work, out / "vips"),
        }
        if bench.peer and contestants.has_slideflow():
            runs["slideflow, whole process"] = lambda: contestants.slideflow_extract(work, out / "slideflow")
        times = in_turn(runs, rounds=bench.rounds, clear=out)
    memory = peak(work.slide)
    return {
        "planned": len(work.boxes),
        "kept": work.kept,
        "level": work.level,
        "times": {name: value.as_table() for name, value in times.items()},
        "to_floor": {name: ratio(times, name, "floor") for name in times},
        "to_slideloom": {name: ratio(times, name, "slideloom") for name in times},
        "memory": memory,
    }


def peak(slide: Path, **options: Any) -> dict[str, Any]:  # Any: options of the pipeline
    """Peak memory of one extraction in a process of its own."""
    with tempfile.TemporaryDirectory() as out:
        return in_child({"slides": [str(slide)], "out": out, "pipeline": options})


def steps(bench: Bench) -> dict[str, Any]:
    """With slide QC and with a normalizer, against plain extraction and the floor."""
    work = work_of(bench.mosaic(bench.side, pyramid="near"))
    pipelines = {
        "plain": pipeline_of(),
        "otsu + gaussian": pipeline_of(qc=["otsu", "gaussian"]),
        "otsu + gaussian-v2": pipeline_of(qc=["otsu", "gaussian-v2"]),
        "macenko": pipeline_of(normalizer="macenko"),
        "reinhard-fast": pipeline_of(normalizer="reinhard-fast"),
    }
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        runs: dict[str, Callable[[], int]] = {"floor": lambda: contestants.floor(work, out / "floor")}
        for label, pipeline in pipelines.items():
            runs[label] = lambda pipeline=pipeline: written(extract(pipeline, [work.slide], out / "ours"))
        times = in_turn(runs, rounds=bench.rounds, clear=out)
    return {
        "times": {label: value.as_table() for label, value in times.items()},
        "to_floor": {label: ratio(times, label, "floor") for label in times},
        "to_plain": {label: ratio(times, label, "plain") for label in times},
        "memory": {"otsu + gaussian": peak(work.slide, qc=["otsu", "gaussian"])},
    }


def slide_qc(bench: Bench) -> dict[str, Any]:
    """Slide QC alone: three steps that share what they compute, each alone and together; nothing is extracted."""
    path = bench.mosaic(bench.side, pyramid="near")
    steps = ("tissue", "gaussian-v2", "pen")
    runs = {name: partial(_decided, path, [name]) for name in steps} | {"together": partial(_decided, path, steps)}
    times = in_turn(runs, rounds=bench.rounds)
    dearest = max(steps, key=lambda name: statistics.median(times[name].cpu))
    return {
        "times": {label: value.as_table() for label, value in times.items()},
        "dearest": dearest,
        "to_dearest": {label: ratio(times, label, dearest) for label in times},
    }


def _decided(path: Path, qc: Sequence[str]) -> int:
    """Number of tiles that are left after slide QC."""
    with open_slide(path) as slide:
        prepared = PreparedSlide(plan_slide(slide, pipeline_of(qc=qc)))
        prepared.decide()
        return len(prepared.record.ledger.candidates())


def threads(bench: Bench) -> dict[str, Any]:
    """One and two threads on one slide, one and two processes on two."""
    slide = bench.mosaic(bench.side, pyramid="near")
    other = slide.with_name(f"second-{slide.name}")
    if not other.exists():
        shutil.copyfile(slide, other)  # as a run takes a link for the same slide
    with tempfile.TemporaryDirectory() as name:
        out = Path(name)
        runs: dict[str, Callable[[], int]] = {}
        for count in (1, 2):
            one = pipeline_of(threads=count, jobs=1)
            runs[f"1 slide, {count} threads"] = lambda one=one: written(extract(one, [slide], out / "a"))
            two = pipeline_of(threads=1, jobs=count)
            runs[f"2 slides, {count} jobs"] = lambda two=two: written(extract(two, [slide, other], out / "b"))
        times = in_turn(runs, rounds=bench.rounds, clear=out, warm_up=False)
    return {
        "times": {label: value.as_table() for label, value in times.items()},
        "two_threads": ratio(times, "1 slide, 2 threads", "1 slide, 1 threads"),
        "two_jobs": ratio(times, "2 slides, 2 jobs", "2 slides, 1 jobs"),
    }


def sizes(bench: Bench) -> dict[str, Any]:
    """Slides of four sizes, and one large one: processor time per kept tile, and memory."""
    sides = [1, 2] if bench.quick else [2, 3, 4, 6]
    rows = []
    for side in [*sides, *([bench.large] if bench.large else [])]:
        slide = bench.mosaic(side, pyramid="near")
        rounds = [peak(slide) for _ in range(1 if side == bench.large else min(3, bench.rounds))]
        best = min(rounds, key=lambda found: found["cpu_s"])
        gigapixels = side * side * 4 * 2220 * 2967 / 1e9
        per_tile = 1000 * best["cpu_s"] / max(1, best["tiles"])
        rows.append({
            "side": side,
            "gigapixels": round(gigapixels, 3),
            "tiles": best["tiles"],
            "wall_s": round(best["wall_s"], 3),
            "cpu_s": round(best["cpu_s"], 3),
            "cpu_ms_per_kept_tile": round(per_tile, 3),
            "peak_mb": round(max(found["peak_mb"] for found in rounds), 1),
        })  # fmt: skip
    return {"slides": rows}


def start_up(bench: Bench) -> dict[str, Any]:
    """Import of the library, and a whole command on a slide of one block."""
    slide = bench.mosaic(1, pyramid="near")
    with tempfile.TemporaryDirectory() as name:
        out = Path(name) / "out"
        runs: dict[str, Callable[[], int]] = {
            "python alone": lambda: _python("pass"),
            "import numpy, cv2": lambda: _python("import numpy, cv2"),
            "import slideloom": lambda: _python("import slideloom"),
            "whole command, one block": lambda: (command(slide, out), 0)[1],
        }
        times = in_turn(runs, rounds=bench.rounds, clear=out)
        first = [_first_tile(slide, out / str(number)) for number in range(bench.rounds)]
    import_s = statistics.median(times["import slideloom"].wall) - statistics.median(times["python alone"].wall)
    return {
        "times": {label: value.as_table() for label, value in times.items()},
        "import_s": round(import_s, 4),
        "first_tile_s": statistics.median(first),
        "each_first_tile_s": sorted(first),
    }


def _python(code: str) -> int:
    subprocess.run([sys.executable, "-c", code], check=True, env=with_bytecode())  # noqa: S603 - our own words
    return 0


def _first_tile(slide: Path, out: Path) -> float:
    """Seconds from the command's start until a tile file is on the disk; loose files show when."""
    words = [sys.executable, "-m", "slideloom", "extract", str(slide), "--out", str(out), "--quiet"]
    words += ["--tile-px", "299", "--tile-um", "302", "--sink", "images"]
    start = time.perf_counter()
    quiet = subprocess.DEVNULL
    with subprocess.Popen(words, stdout=quiet, stderr=quiet, env=with_bytecode()) as running:  # noqa: S603 - our own words
        while not any(out.rglob("*.jpg")):
            if running.poll() is not None and not any(out.rglob("*.jpg")):
                raise RuntimeError(f"no tile was written: {' '.join(words)}")
            time.sleep(0.005)
        return round(time.perf_counter() - start, 4)


def loader(bench: Bench) -> dict[str, Any]:
    """Reading tiles out of a TFRecord file: plain decoding, and by the store that loaders use."""
    import cv2
    import numpy as np

    slide = bench.mosaic(min(3, bench.side), pyramid="near")
    with tempfile.TemporaryDirectory() as name:
        report = extract(pipeline_of(), [slide], Path(name))
        path = next(Path(name) / output for output in report.slides[0].outputs if output.endswith(".tfrecords"))
        from slideloom_tfrecord import read_records
        from slideloom_tfrecord.stores import TFRecordTiles

        def plain() -> int:
            count = 0
            for record in read_records(path):
                cv2.imdecode(np.frombuffer(record.image_raw, np.uint8), cv2.IMREAD_COLOR_RGB)
                count += 1
            return count

        def stored() -> int:
            tiles = TFRecordTiles(path)
            for number in range(len(tiles)):
                tiles.read(number)
            tiles.close()
            return len(tiles)

        times = in_turn({"decode alone": plain, "tile store": stored}, rounds=bench.rounds)
    return {
        "times": {label: value.as_table() for label, value in times.items()},
        "to_decode": ratio(times, "tile store", "decode alone"),
    }


__all__ = ["CORES", "Bench", "loader", "pyramid", "sizes", "slide_qc", "start_up", "steps", "threads"]
