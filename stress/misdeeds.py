"""Plugins that misbehave, in every hook and step: the slide fails by name, or nothing is changed; no other slide is."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

from slideloom import Size
from slideloom_testing import write_demo_slide

from stress import evil
from stress.judging import account_of, left_over
from stress.verdicts import Campaign, Kind, Verdict

_TILES = ["--tile-px", "64", "--tile-um", "64", "--sink", "tfrecord", "--threads", "2"]
_SINKS = ["--sink", "evil"]
# The options that bring a misdeed's place into the run.
PLACES: dict[str, list[str]] = {
    "filter": ["--filter", "evil"],
    "normalizer": ["--normalizer", "evil"],
    "for_slide": ["--normalizer", "evil"],
    "qc": ["--qc", "evil"],
    "roi": ["--roi", "evil"],
    "placement": ["--placement", "evil"],
    **dict.fromkeys(("open", "write", "commit", "abort", "encode"), _SINKS),
    "build": ["--qc", "evil"],
    "import": [],
    "listing": [],
    "run_started": [],
    "slide_done": [],
    "run_done": [],
}
_IN_PARENT = {"import", "listing", "run_started", "slide_done", "run_done"}
# Tiles that are elsewhere than those of the undisturbed run, or fewer, as their plugin wants them.
_OWN_TILES = {
    *("placement/one place", "placement/far away", "placement/unknown region", "placement/negative region"),
    *(f"roi/{deed}" for deed in evil.OWN["roi"]),
}


def prepare(folder: Path) -> None:
    """Two small slides, and the plugin as an installed distribution."""
    (folder / "slides").mkdir()
    for number, name in enumerate("ab"):
        write_demo_slide(folder / "slides" / f"{name}.svs", size=Size(500, 400), mpp=1.0, seed=number)
    info = folder / "site" / "stress_evil-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: stress-evil\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[slideloom.v1]\nevil = stress.evil\n", encoding="utf-8")


def cases(_folder: Path, seed: int) -> list[str]:
    """`PLACE/DEED/JOBS`; what ends its process is done in workers only."""
    found = []
    for place in PLACES:
        for deed in [*evil.DEEDS, *evil.OWN.get(place, ())]:
            if deed not in evil.DEADLY:
                found.append(f"{place}/{deed}/1")
            elif place not in _IN_PARENT:
                found.append(f"{place}/{deed}/2")
    random.Random(seed).shuffle(found)
    return found


def _run(folder: Path, out: Path, misdeed: str, jobs: str) -> subprocess.CompletedProcess[bytes]:
    shutil.rmtree(out, ignore_errors=True)
    place = misdeed.partition("/")[0]
    words = [*_TILES, *PLACES[place], "--jobs", jobs, "--json", "--out", str(out)]
    roots = [str(folder / "site"), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(roots), "STRESS_MISDEED": misdeed}
    command = [sys.executable, "-m", "slideloom", "extract", str(folder / "slides"), *words]
    return subprocess.run(command, env=environment, capture_output=True, check=False)


@cache
def _wanted(folder: Path, place: str) -> dict[str, bytes]:
    """The tiles of both slides where the plugin behaves."""
    done = _run(folder, folder / f"good-{place}", f"{place}/none", "1")
    if done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return _tiles(folder / f"good-{place}")


def _tiles(out: Path) -> dict[str, bytes]:
    return {path.stem: path.read_bytes() for path in out.glob("tfrecords/*/*.tfrecords") if path.name[0] != "."}


def judge(folder: Path, case: str) -> Verdict:
    """Exit code, JSON, account, tiles and what is left over."""
    misdeed, _, jobs = case.rpartition("/")
    place = misdeed.partition("/")[0]
    good, out = _wanted(folder, place), folder / "out"
    done = _run(folder, out, misdeed, jobs)
    said = done.stderr.decode(errors="replace")
    try:
        report = json.loads(done.stdout, parse_constant=_no_number)
    except ValueError as error:
        kind = Kind.OTHER if "Traceback" in said else Kind.WRONG
        return Verdict(kind, f"exit code {done.returncode}, not one JSON document: {error}; {said[-200:]}")
    slides: dict[str, dict[str, Any]] = {slide["slide"]: slide for slide in report["slides"]}
    wrong = _wrong(misdeed, slides, _tiles(out), good)
    failed = [name for name, slide in slides.items() if slide["status"] == "failed"]
    # A process that is killed cannot tidy up; the next run does (see kills.py).
    if left_over(out) and misdeed.partition("/")[2] not in evil.DEADLY:
        wrong += f"left over: {left_over(out)}; "
    problems: list[str] = report["problems"]
    wrong += "".join("who followed the run is not named; " for problem in problems if "evil" not in problem)
    if (done.returncode == 0) != (not failed and not problems):
        wrong += f"exit code {done.returncode} with {len(failed)} failed slides and {len(problems)} problems; "
    if wrong:
        return Verdict(Kind.WRONG, wrong)
    if failed or problems:
        return Verdict(Kind.REFUSED, (slides["a"]["error"] or problems[0])[:200])
    return Verdict(Kind.RIGHT)


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _wrong(misdeed: str, slides: dict[str, dict[str, Any]], found: dict[str, bytes], good: dict[str, bytes]) -> str:
    wrong = "" if sorted(slides) == ["a", "b"] else f"slides {sorted(slides)}; "
    for name, slide in slides.items():
        if slide["status"] == "failed":
            wrong += f"{name} failed, and has tiles; " if name in found else ""
            wrong += (
                "" if name == "a" or misdeed.startswith("build") else f"{name} failed, too: {slide['error'][:200]}; "
            )
            wrong += "" if "evil" in slide["error"] or "died" in slide["error"] else "the step is not named; "
        elif found.get(name) != good[name] and not (misdeed in _OWN_TILES and name == "a"):
            wrong += f"{name} has other tiles; "
        else:
            wrong += account_of(slide)
    return wrong


CAMPAIGN = Campaign(
    name="misdeeds",
    help="plugins that misbehave, in every hook and step",
    prepare=prepare,
    cases=cases,
    judge=judge,
)
