"""Four runs in one folder that are killed at random moments and started again, with locks that work and without."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from typing import Any

from slideloom import Size
from slideloom_testing import write_demo_slide
from slideloom_tfrecord import read_records

from stress.disks import differs
from stress.judging import account_of, content_of, fresh_folder, slides_of
from stress.verdicts import Campaign, Kind, Verdict

_SLIDES, _RUNS, _MOST_KILLS = 40, 4, 4
_OPTIONS = ["--tile-px", "64", "--tile-um", "64", "--qc", "otsu", "--quiet", "--jobs", "1", "--threads", "1"]
# A file system may say that a lock is taken, and let everybody have it: NFS with `nolock`, some FUSE.
_BLIND = """
import fcntl

fcntl.flock = lambda *_: None
"""
# Each process takes the others for those of other machines, and for dead as soon as they are silent for a moment, which
# on a busy machine they often are: then two runs make one slide.
_STRANGERS = (
    _BLIND
    + """
import secrets
import slideloom.base.signs_of_life as signs

boot = secrets.token_hex(8)
signs.this_boot = lambda: boot
signs.BEAT_S, signs.SILENCE_S = 0.1, 0.5
"""
)
_PATCHES = {"working": "", "blind": _BLIND, "strangers": _STRANGERS}


def prepare(folder: Path, slides: int = _SLIDES) -> None:
    """So many small slides of two kinds, and Python modules that make locks and signs of life see nothing."""
    home = folder / "slides"
    home.mkdir()
    for number in range(2):
        write_demo_slide(home / f"s{number:02}.svs", size=Size(900 + 300 * number, 700), mpp=1.0, seed=number)
    for number in range(2, slides):
        shutil.copy(home / f"s{number % 2:02}.svs", home / f"s{number:02}.svs")
    for name, patch in _PATCHES.items():
        (folder / name).mkdir()
        (folder / name / "sitecustomize.py").write_text(patch, encoding="utf-8")


def cases(_folder: Path, seed: int) -> list[str]:
    """`HOW/SIGHT/SEED`: how runs share the slides, what they see of each other, and when each is killed."""
    if sys.platform == "win32":
        return []
    rng = random.Random(seed)
    kinds = ("claims/working", "shards/blind", "claims/strangers", "claims/blind", "shards/working")
    return [f"{kind}/{rng.randrange(10**6)}" for _ in range(500) for kind in kinds]


@cache
def wanted(folder: Path) -> tuple[dict[str, bytes], float]:
    """What one run leaves that nothing disturbs, and how many seconds it takes."""
    out = folder / "undisturbed"
    start = time.monotonic()
    subprocess.run(_command(folder, out), capture_output=True, check=True)
    return content_of(out), time.monotonic() - start


def judge(folder: Path, case: str) -> Verdict:
    """All runs together leave what one does; each slide is made once, and in the report once."""
    how, sight, seed = case.split("/")
    good, seconds = wanted(folder)
    environment = {**os.environ, "PYTHONPATH": str(folder / sight)}
    with fresh_folder(folder) as place:
        out = place / "out"
        run = partial(_until_done, folder, out, environment, how=how, seed=int(seed), seconds=seconds)
        with ThreadPoolExecutor(_RUNS) as threads:
            ended = [*threads.map(run, range(1, _RUNS + 1))]
        wrong = "; ".join(filter(None, (words for words, _ in ended))) or _wrong(folder, out, place, good)
    if wrong:
        return Verdict(Kind.WRONG, wrong[:500])
    return Verdict(Kind.RIGHT, f"killed {sum(kills for _, kills in ended)} times")


def _until_done(
    folder: Path, out: Path, environment: dict[str, str], number: int, *, how: str, seed: int, seconds: float
) -> tuple[str, int]:
    """Run one of the runs, and again whenever it was killed; what is wrong, or "", and how often it was killed."""
    rng = random.Random(f"{seed}/{number}")
    planned, kills = rng.randint(1, _MOST_KILLS), 0
    while True:
        share = ["--shard", f"{number}/{_RUNS}"] if how == "shards" else []
        more = [*share, "--log", str(out.with_name(f"log-{number}.jsonl"))]
        process = subprocess.Popen(
            [*_command(folder, out), *more],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            said = process.communicate(timeout=rng.uniform(0.1, 1.0) * seconds if planned else None)[1]
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            kills += 1
            empty = [path.name for path in _records(out) if not any(True for _ in read_records(path))]
            if empty:
                return f"empty after a kill: {empty}", kills
            planned -= 1
            continue
        return ("" if process.returncode == 0 else f"run {number}: {said.strip()[-300:]}"), kills


def _command(folder: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "slideloom", "extract", str(folder / "slides"), *_OPTIONS, "--out", str(out)]


def _records(out: Path) -> list[Path]:
    return [path for path in out.glob("tfrecords/*/*.tfrecords") if not path.name.startswith(".")]


def _wrong(folder: Path, out: Path, logs: Path, good: dict[str, bytes]) -> str:
    """What is wrong with what the runs left, or ""."""
    told = slides_of(out)
    names = [slide["slide"] for slide in told]
    if names != sorted(path.stem for path in (folder / "slides").iterdir()):
        return f"the report tells of {len(names)} slides, of {len(set(names))} different ones"
    if account := "".join(map(account_of, told)):
        return account
    made = Counter(event["slide"] for event in _events(logs) if event.get("status") == "done")
    twice = [slide for slide, times in made.items() if times > 1]
    return f"made twice: {twice}" if twice else differs(out, good)


def _events(logs: Path) -> Iterator[dict[str, Any]]:
    for path in logs.glob("log-*.jsonl"):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except ValueError:  # the last line of a process that was killed
                continue


CAMPAIGN = Campaign(
    name="shards",
    help="four runs in one folder, with shards and without, killed at random moments, with and without locks",
    prepare=prepare,
    cases=cases,
    judge=judge,
)
