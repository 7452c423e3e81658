# ruff: noqa: T201 - a script prints
"""What a cohort of finished slides costs: `python -m bench.scale [--slides N ...]` (or `nox -s scale`).

Makes N small slides, runs them all, and then measures what comes after in processes of their own: the run again, the
merging of shards, the report, and opening the project. What it found is in docs/explanation/scale.md.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.child import peak_mb
from bench.table import table

TILE_PX, TILE_UM = 100, 100
LABEL = f"{TILE_PX}px_{TILE_UM}um"
KINDS = ("slides", "reports", "outputs")


def prepare(place: Path, count: int) -> None:
    """A project of `count` slides, 420 pixels wide. Each has a few more bytes than the last, so none is a copy."""
    from slideloom import Project, Size
    from slideloom_testing import write_demo_slide

    slides = place / "slides"
    slides.mkdir(parents=True, exist_ok=True)
    first = slides / "s00000.svs"
    if not first.exists():
        write_demo_slide(first, size=Size(420, 420), mpp=1.0, seed=0)
    content = first.read_bytes()
    for number in range(1, count):
        path = slides / f"s{number:05}.svs"
        if not path.exists():
            path.write_bytes(content + bytes(number))
    if not (place / "project.toml").exists():
        Project.create(place, slides=slides)


def _command(*words: object) -> None:
    from slideloom_cli.main import main

    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as said:
        code = main([str(word) for word in words])
    if code != 0:
        raise RuntimeError(f"{words}: {said.getvalue()}")


def _extract(place: Path, *more: object) -> None:
    size = ["--tile-px", TILE_PX, "--tile-um", TILE_UM]
    _command("extract", place / "slides", "--out", place, *size, "--quiet", "--jobs", 1, "--threads", 1, *more)


def _report(place: Path) -> None:
    _command("report", place, "--out", place / "report.pdf")


def _open(place: Path) -> None:
    from slideloom import Project

    found = Project(place).dataset(TILE_PX, TILE_UM).stored()
    if any(item.problem for item in found):
        raise RuntimeError(f"{place}: a slide has a problem")


def _summary(place: Path) -> None:
    from slideloom import Project

    print(Project(place).dataset(TILE_PX, TILE_UM).summary(), file=sys.stderr)


STAGES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "run": ("extract, nothing finished", _extract),
    "again": ("extract, all finished", _extract),
    "shard": ("extract --shard 1/1, all finished", lambda place: _extract(place, "--shard", "1/1")),
    "open": ("Project, Dataset.stored()", _open),
    "summary": ("Dataset.summary()", _summary),
    "check": ("check", lambda place: _command("check", place)),
    "report": ("report", _report),
}


def measure(stage: str, place: Path) -> dict[str, Any]:
    """Run a stage in this process: its seconds, its peak memory in MB, and how many files it opened, by kind.

    Files that native code opens are not counted; of what is run here, only fonts and libraries are opened so.
    """
    opened: Counter[str] = Counter()
    places = {"slides": place / "slides", "reports": place / "slideloom" / LABEL / "slides", "outputs": place}
    prefixes = {kind: f"{path}{os.sep}" for kind, path in places.items()}

    def see(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[0], str):
            kind = next((kind for kind in KINDS if arguments[0].startswith(prefixes[kind])), None)
            opened[kind or "other"] += 1

    sys.addaudithook(see)
    start, used = time.perf_counter(), time.process_time()
    STAGES[stage][1](place)
    wall, cpu = time.perf_counter() - start, time.process_time() - used
    return {"wall_s": wall, "cpu_s": cpu, "peak_mb": peak_mb(), "opened": {kind: opened[kind] for kind in KINDS}}


def simulate(place: Path, count: int, stages: list[str]) -> dict[str, dict[str, Any]]:
    """What each stage measured, each in a process of its own, with `count` slides."""
    place.mkdir(parents=True, exist_ok=True)
    prepare(place, count)
    found = {}
    for stage in stages:
        print(f"{count} slides: {STAGES[stage][0]} ...", file=sys.stderr, flush=True)
        (place / "report.pdf").unlink(missing_ok=True)
        command = [sys.executable, "-m", "bench.scale", "--stage", stage, "--place", str(place)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own words
        found[stage] = json.loads(done.stdout.splitlines()[-1])
    return found


def as_text(results: dict[int, dict[str, dict[str, Any]]]) -> str:
    """A table of all stages and numbers of slides."""
    header = ["what", "slides", "wall s", "processor s", "ms a slide", "peak MB", *(f"{kind} opened" for kind in KINDS)]
    rows = []
    for stage, (what, _) in STAGES.items():
        for count, found in results.items():
            if stage in found:
                row = found[stage]
                cells = [row["wall_s"], row["cpu_s"], 1000 * row["cpu_s"] / count, round(row["peak_mb"])]
                rows.append([what, count, *cells, *row["opened"].values()])
    return "\n".join(table(header, rows))


def files_and_bytes(place: Path) -> dict[str, tuple[float, float]]:
    """Files and bytes for each slide, by the folder of the output they are in."""
    count = sum(1 for _ in (place / "slides").iterdir())
    found = {}
    for name in (f"tfrecords/{LABEL}", *(f"slideloom/{LABEL}/{part}" for part in ("slides", "tiles"))):
        sizes = [path.stat().st_size for path in (place / name).iterdir()]
        found[name] = len(sizes) / count, sum(sizes) / count
    return found


def main(words: list[str] | None = None) -> int:
    """Run the simulation and print its table."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    parser.add_argument("--slides", type=int, nargs="+", default=[1000, 20_000], metavar="N", help="numbers of slides")
    parser.add_argument("--only", action="append", choices=[*STAGES], help="this stage; may be repeated")
    parser.add_argument(
        "--place", type=Path, help="folder of the slides and outputs, which are kept there (a temporary one)"
    )
    parser.add_argument("--stage", choices=[*STAGES], help=argparse.SUPPRESS)
    chosen = parser.parse_args(words)
    if chosen.stage:
        print(json.dumps(measure(chosen.stage, chosen.place)))
        return 0
    home = chosen.place or Path(tempfile.mkdtemp(prefix="slideloom-scale-"))
    try:
        results = {}
        for count in chosen.slides:
            results[count] = simulate(home / str(count), count, chosen.only or [*STAGES])
            for name, (files, size) in files_and_bytes(home / str(count)).items():
                print(f"{name}: {files:.3g} files and {size:.0f} bytes for each slide")
        print(as_text(results))
    finally:
        if chosen.place is None:
            shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
