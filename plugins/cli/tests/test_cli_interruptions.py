"""Runs that are killed or interrupted, and what the next run makes of them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX signals")]

# Its filter sends a signal when it first sees slide b; `marker` remembers that it did.
ONCE = """
import os
from pathlib import Path
from typing import ClassVar
import attrs, numpy as np
from slideloom import Settings, TileFilter, Verdict, hookimpl, option

@attrs.frozen
class Once(Settings[TileFilter]):
    "Sends a signal once."
    name: ClassVar[str] = "once"
    marker: str = option(help="made when the signal is sent")
    number: int = option(help="of the signal")
    parent: bool = option(False, help="to the parent process")
    def build(self):
        return OnceFilter(self)

class OnceFilter(TileFilter):
    def __init__(self, settings):
        self.settings = settings
    def check(self, batch):
        chosen = self.settings
        if batch.slide == "b" and not Path(chosen.marker).exists():
            Path(chosen.marker).touch()
            os.kill(os.getppid() if chosen.parent else os.getpid(), chosen.number)
        return Verdict(keep=np.ones(len(batch), bool), score=np.zeros(len(batch), np.float32))

@hookimpl
def slideloom_tile_filters():
    return [Once]
"""

KILL, INTERRUPT = 9, 2


@pytest.mark.parametrize(
    ("number", "jobs", "code"), [(KILL, 1, -KILL), (INTERRUPT, 1, 130), (INTERRUPT, 2, 130)], ids=str
)
def test_the_next_run_goes_on_where_one_was_stopped(
    raw: Callable[..., None], analytic: Callable[..., Path], tmp_path: Path, number: int, jobs: int, code: int
) -> None:
    raw("once_plugin", ONCE)
    slides = [str(analytic(name)) for name in "abc"]
    step = f"once:marker={tmp_path / 'marker'},number={number},parent={str(jobs > 1).lower()}"
    tiles = ["--tile-px", "60", "--tile-um", "75", "--sink", "raw", "--filter", step]

    def run(out: Path) -> subprocess.CompletedProcess[str]:
        words = [*slides, *tiles, "--jobs", str(jobs), "--threads", "1", "--out", str(out)]
        command = [sys.executable, "-m", "slideloom", "extract", *words]
        return subprocess.run(command, check=False, capture_output=True, text=True)

    stopped = run(tmp_path / "out")
    assert stopped.returncode == code, stopped.stderr
    assert "Traceback" not in stopped.stderr
    if number == INTERRUPT:
        assert stopped.stderr.endswith("interrupted; finished slides are kept, run again to go on\n")
    assert not (tmp_path / "out" / "raw" / "b.raw").exists()

    again, unbroken = run(tmp_path / "out"), run(tmp_path / "unbroken")

    assert (again.returncode, unbroken.returncode) == (0, 0), again.stderr
    contents = [
        {path.name: path.read_bytes() for path in (tmp_path / name / "raw").iterdir()} for name in ("out", "unbroken")
    ]
    assert contents[0] == contents[1]
    assert sorted(contents[0]) == ["a.raw", "b.raw", "c.raw"]
