"""Runs that are killed at the Nth call, some of them again and again, and then run to their end."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from slideloom_tfrecord import read_records

from stress import disks, faults
from stress.judging import fresh_folder, judged
from stress.verdicts import Campaign, Kind, Verdict

_MOST_CALLS = 450  # about as many as a run of one process makes


def prepare(folder: Path) -> None:
    """The same slides as for broken disks."""
    disks.prepare(folder)


def cases(folder: Path, seed: int) -> list[str]:
    """`JOBS/N-N-N`: at which calls a run is killed, one after the other."""
    if not faults.is_built(folder):
        return []
    rng = random.Random(seed)
    found = []
    for number in range(1000):
        kills = [str(rng.randint(1, _MOST_CALLS)) for _ in range(rng.choice((1, 1, 2, 3)))]
        found.append(f"{1 + number % 2}/{'-'.join(kills)}")
    return found


def judge(folder: Path, case: str) -> Verdict:
    """What has its final name is whole at every moment, and the last run ends as one that nobody killed."""
    jobs, calls = case.split("/")
    with fresh_folder(folder) as place:
        return _judge(folder, place / "out", jobs, calls)


def _judge(folder: Path, out: Path, jobs: str, calls: str) -> Verdict:
    good, killed = disks.wanted(folder), 0
    for call in calls.split("-"):
        killed += _killed(folder, out, jobs, call)
        for path in out.glob("tfrecords/*/*.tfrecords"):
            if not path.name.startswith(".") and not any(True for _ in read_records(path)):
                return Verdict(Kind.WRONG, f"{path.name} is empty after a kill at call {call}")
    last = judged(lambda: disks.anew(folder, out), lambda: disks.differs(out, good))
    if last.kind is Kind.REFUSED:
        return Verdict(Kind.WRONG, f"the run after the kills: {last.words}")
    return last if last.is_fault else Verdict(Kind.RIGHT, f"killed {killed} times")


def _killed(folder: Path, out: Path, jobs: str, call: str) -> bool:
    """Run in a process that dies, and its workers with it, when it comes to its call number `call`."""
    words = [*disks.OPTIONS, "--jobs", jobs, "--out", str(out)]
    environment = {**os.environ, **faults.environment(folder), "STRESS_FOLDER": str(out), "STRESS_AT": call}
    command = [sys.executable, "-m", "slideloom", "extract", str(folder / "slides"), *words]
    return subprocess.run(command, env=environment, capture_output=True, check=False).returncode < 0


CAMPAIGN = Campaign(
    name="kills",
    help="processes killed at any system call that touches the output",
    prepare=prepare,
    cases=cases,
    judge=judge,
)
