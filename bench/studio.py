"""How fast the page in the browser gets its tiles: parallel requests against the bare decode and encode of the same."""

from __future__ import annotations

import http.client
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from slideloom.planning.opening import open_slide
from slideloom.viewing.view_pyramid import ViewPyramid
from slideloom_studio.pyramid import jpeg, tile_box, tile_rgb, zooms

from bench.sections import Bench
from bench.work import CORES

PARALLEL = 8
_TILES = 600
Place = tuple[int, int, int]


def studio(bench: Bench) -> dict[str, Any]:
    """Tiles per second and latency of a server, the same tiles made bare, memory, and time to the first picture."""
    slide = bench.mosaic(bench.side, pyramid="near")
    rounds = [_round(slide, seed) for seed in range(bench.rounds)]
    return {"rows": [{"slide": slide.name, "tiles": _TILES, **{key: _median(rounds, key) for key in rounds[0]}}]}


def _median(rounds: list[dict[str, float]], key: str) -> float:
    return round(statistics.median(each[key] for each in rounds), 3)


def _round(slide: Path, seed: int) -> dict[str, float]:
    with open_slide(slide) as opened:
        places = _places(opened, seed)
        view = ViewPyramid(opened, threads=CORES)
        boxes = [tile_box(opened.info.size, z=z, column=x, row=y) for z, x, y in places]
        tile_rgb(view, tile_box(opened.info.size, z=0, column=0, row=0))  # coarse levels are made once
        bare_s, _ = _in_parallel([lambda box=box: jpeg(tile_rgb(view, box)) for box in boxes], CORES)
    with _serving(slide) as (url, process, first_s):
        _fetch(url, (0, 0, 0))
        served_s, latencies = _in_parallel([lambda place=place: _fetch(url, place) for place in places], PARALLEL)
        memory = process.memory_info().rss
    return {
        "bare tiles/s": len(places) / bare_s,
        "served tiles/s": len(places) / served_s,
        "served to bare": served_s / bare_s,
        "median latency ms": 1000 * statistics.median(latencies),
        "95% latency ms": 1000 * sorted(latencies)[int(0.95 * len(latencies))],
        "server MB": memory / 1e6,
        "first picture s": first_s,
    }


def _places(slide: Any, seed: int) -> list[Place]:
    """Different tiles: half of them of the finest zoom, the others of those above it."""
    chosen = random.Random(seed)
    known = zooms(slide.info.size)
    found: dict[Place, None] = {}
    while len(found) < _TILES:
        zoom = known[-1] if len(found) < _TILES // 2 else chosen.choice(known[-4:-1])
        found[zoom.z, chosen.randrange(zoom.columns), chosen.randrange(zoom.rows)] = None
    places = list(found)
    chosen.shuffle(places)
    return places


def _in_parallel(calls: list[Callable[[], Any]], threads: int) -> tuple[float, list[float]]:
    """Seconds for all of the calls, and for each."""

    def timed(call: Callable[[], Any]) -> float:
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        each = list(pool.map(timed, calls))
        return time.perf_counter() - start, each


@contextmanager
def _serving(slide: Path) -> Any:
    """The address of a studio, its process, and the seconds from its start to its first picture."""
    words = [sys.executable, "-m", "slideloom", "studio", str(slide), "--no-browser", "--read-only"]
    start = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as place,
        subprocess.Popen(  # noqa: S603 - our own words
            words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=place
        ) as running,
    ):
        try:
            import psutil

            assert running.stdout is not None  # noqa: S101 - it is a pipe
            url = running.stdout.readline().strip()
            _fetch(url, (0, 0, 0))
            yield url, psutil.Process(running.pid), time.perf_counter() - start
        finally:
            running.terminate()


def _fetch(url: str, place: Place) -> bytes:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc)
    connection.request("GET", f"{parts.path}api/slides/s1/pyramid/{'/'.join(map(str, place))}")
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{place}: {content!r}")
    return content
