"""A disk that is full, broken or forbidden at the Nth call, and in order again when the same command is given again."""

from __future__ import annotations

import errno
import math
import random
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from attrs import frozen
from slideloom import Size
from slideloom_testing import write_demo_slide

from stress import faults
from stress.judging import (
    Done,
    account_of,
    command,
    content_of,
    forget_ours,
    fresh_folder,
    judged,
    left_over,
    slides_of,
)
from stress.verdicts import Campaign, Kind, Verdict

ERRORS = ("ENOSPC", "EIO", "EACCES")
LABEL = "64px_64um"
OPTIONS = [
    "--tile-px", "64", "--tile-um", "64", "--qc", "otsu", "--save-masks", "--overview", "--sink", "tfrecord",
    "--sink", "images", "--sink", "hdf5", "--sink", "webdataset", "--quiet", "--jobs", "1", "--threads", "1",
]  # fmt: skip


def prepare(folder: Path) -> None:
    """Two small slides, and the library that makes calls fail."""
    (folder / "slides").mkdir()
    for number, name in enumerate("ab"):
        write_demo_slide(folder / "slides" / f"{name}.svs", size=Size(500, 400), mpp=1.0, seed=number)
    faults.build(folder)


def cases(folder: Path, seed: int) -> list[str]:
    """`ERROR/once or on/WHERE/SHARE`: at which share of all calls that touch the output, or the slides, it strikes."""
    if not faults.is_built(folder):
        return []
    rng = random.Random(seed)
    found = []
    for number in range(2000):
        share = (number + rng.random()) / 2000
        # What reads slides makes a third of the calls, and only EIO happens to it.
        where, error = ("slides", "EIO") if number % 4 == 3 else ("out", ERRORS[number % 3])
        found.append(f"{error}/{rng.choice(('once', 'on'))}/{where}/{share:.5f}")
    rng.shuffle(found)
    return found


def extract(folder: Path, out: Path) -> Done:
    """The command under test."""
    return command("extract", folder / "slides", *OPTIONS, "--out", out)


def anew(folder: Path, out: Path) -> Done:
    """The same in a process of its own, as the next day's command is."""
    command = [sys.executable, "-m", "slideloom", "extract", str(folder / "slides"), *OPTIONS, "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Done(done.returncode, done.stdout, done.stderr)


@cache
def wanted(folder: Path) -> dict[str, bytes]:
    """What a run leaves that nothing disturbs."""
    out = folder / "undisturbed"
    shutil.rmtree(out, ignore_errors=True)
    done = extract(folder, out)
    if done.code != 0:
        raise RuntimeError(done.err)
    return content_of(out)


@cache
def _calls(folder: Path, where: str) -> int:
    """How many calls touch the output, or the slides."""
    switch, out = faults.Switch(), folder / "counted"
    shutil.rmtree(out, ignore_errors=True)
    with switch.failing(out if where == "out" else folder / "slides", at=0, number=errno.EIO, sticky=False):
        extract(folder, out)
    return switch.calls


def judge(folder: Path, case: str) -> Verdict:
    """The run is right or says what is wrong, and the next one puts all in order."""
    error, often, where, share = case.split("/")
    good, at = wanted(folder), math.ceil(float(share) * _calls(folder, where)) or 1
    with fresh_folder(folder) as place:
        out = place / "out"
        strike = _Strike(out if where == "out" else folder / "slides", at, getattr(errno, error), often == "on")
        return _judge(folder, out, strike, good)


@frozen
class _Strike:
    """An error from one call on."""

    watched: Path
    at: int
    number: int
    sticky: bool


def _judge(folder: Path, out: Path, strike: _Strike, good: dict[str, bytes]) -> Verdict:
    switch = faults.Switch()

    def disturbed() -> Done:
        with switch.failing(strike.watched, at=strike.at, number=strike.number, sticky=strike.sticky):
            return extract(folder, out)

    first = judged(disturbed, lambda: _wrong(out, good))
    words = f"{switch.failed}: " if switch.failed else ""
    if first.is_fault:
        return Verdict(first.kind, words + first.words)
    # Where all that comes after fails as well, nothing can be taken back: readers believe reports.
    can_undo = not (strike.sticky and strike.number in (errno.EIO, errno.EACCES))
    early = published_without_a_report(out)
    if early and can_undo:
        return Verdict(Kind.WRONG, f"{words}left under their final names by a slide that failed: {early}")
    forget_ours(out)
    again = judged(lambda: anew(folder, out), lambda: differs(out, good))
    if again.kind is not Kind.RIGHT:
        kind = again.kind if again.is_fault else Kind.WRONG
        return Verdict(kind, f"{words}{first.words[:150]}; and the next run: {again.words}")
    return Verdict(first.kind, words + first.words)


def _wrong(out: Path, good: dict[str, bytes]) -> str:
    """What is wrong after a run that says that it went well; tiles may be missing where it says so."""
    slides = slides_of(out)
    account = "".join(account_of(slide) for slide in slides)
    if account or any(slide["unreadable"] for slide in slides):
        return account
    return differs(out, good)


def differs(out: Path, good: dict[str, bytes]) -> str:
    """How the output differs from that of a run that nothing disturbed, or ""."""
    found = content_of(out)
    if found.keys() != good.keys():
        return f"missing {sorted(good.keys() - found.keys())[:3]}, too many {sorted(found.keys() - good.keys())[:3]}"
    other = [name for name in good if found[name] != good[name]]
    return f"other bytes in {other[:3]}" if other else f"left over: {left_over(out)}" if left_over(out) else ""


def published_without_a_report(out: Path) -> list[str]:
    """What bears its final name though its slide has no report: what a reader would take for finished."""
    finished = {path.stem for path in out.glob(f"slideloom/{LABEL}/slides/*.json")}
    sinks = [out / name / LABEL for name in ("tfrecords", "images", "hdf5", "webdataset")]
    found = [path for folder in sinks if folder.is_dir() for path in folder.iterdir() if not path.name.startswith(".")]
    own = [path for path in found if path.name.partition(".")[0] in ("a", "b")]
    return sorted(path.relative_to(out).as_posix() for path in own if path.name.partition(".")[0] not in finished)


CAMPAIGN = Campaign(
    name="disks",
    help="ENOSPC, EIO or EACCES at any system call that touches the output or the slides",
    prepare=prepare,
    cases=cases,
    judge=judge,
    environment=faults.environment,
)
