"""Wall and processor time of things done in turn, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs


@attrs.frozen
class Times:
    """What one contestant took, one number per round.

    Attributes:
        wall: seconds.
        cpu: seconds of all processors, of this process and of those it started.
        tiles: written in the last round.
    """

    wall: list[float] = attrs.field(factory=list)
    cpu: list[float] = attrs.field(factory=list)
    tiles: list[int] = attrs.field(factory=list)

    def as_table(self) -> dict[str, Any]:
        """Medians and all rounds."""
        return {
            "wall_s": round(statistics.median(self.wall), 4),
            "cpu_s": round(statistics.median(self.cpu), 4),
            "tiles": self.tiles[-1],
            "rounds_wall_s": [round(value, 4) for value in self.wall],
            "rounds_cpu_s": [round(value, 4) for value in self.cpu],
        }


def in_turn(
    contestants: Mapping[str, Callable[[], int]], *, rounds: int, clear: Path | None = None, warm_up: bool = True
) -> dict[str, Times]:
    """Run every contestant `rounds` times, one after the other in each round.

    Args:
        contestants: functions that return the number of tiles they wrote.
        rounds: how often.
        clear: folder to empty before each run, outside the time taken: what an earlier run wrote is nobody's work.
        warm_up: run each once before, so that files are in memory and libraries loaded.
    """
    if warm_up:
        for run in contestants.values():
            _empty(clear)
            run()
    times = {name: Times() for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            _empty(clear)
            start, used = time.perf_counter(), _cpu()
            tiles = run()
            times[name].wall.append(time.perf_counter() - start)
            times[name].cpu.append(_cpu() - used)
            times[name].tiles.append(tiles)
    return times


def _empty(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()


def _cpu() -> float:
    now = os.times()
    return now.user + now.system + now.children_user + now.children_system


def ratio(times: Mapping[str, Times], name: str, base: str) -> dict[str, float]:
    """Median over the rounds of one contestant's time divided by another's in the same round."""
    pairs_wall = zip(times[name].wall, times[base].wall, strict=True)
    pairs_cpu = zip(times[name].cpu, times[base].cpu, strict=True)
    return {
        "wall": round(statistics.median(one / other for one, other in pairs_wall), 3),
        "cpu": round(statistics.median(one / other for one, other in pairs_cpu), 3),
    }


def speed(times: Mapping[str, Times], name: str, base: str) -> dict[str, float]:
    """Median over the rounds of one contestant's tiles per second divided by another's in the same round."""
    rounds = range(len(times[name].tiles))
    of = {"wall": [times[name].wall, times[base].wall], "cpu": [times[name].cpu, times[base].cpu]}
    tiles = times[name].tiles, times[base].tiles
    return {
        kind: round(statistics.median(tiles[0][i] / mine[i] * theirs[i] / tiles[1][i] for i in rounds), 3)
        for kind, (mine, theirs) in of.items()
    }


def with_bytecode() -> dict[str, str]:
    """The environment for a Python that keeps compiled modules, as `pip` leaves those of a package that it installs.

    Without it, a clone on a machine that forbids bytecode would compile all of slideloom at every start.
    """
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    return {**environment, "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir(), "slideloom-bench-bytecode"))}


def in_child(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Run `bench.child` in a process of its own and return what it measured."""
    command = [sys.executable, "-m", "bench.child", json.dumps(arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=with_bytecode())  # noqa: S603 - our own words
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found
