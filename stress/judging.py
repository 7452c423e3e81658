"""Calls the command line in this process, and tells what it did."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import frozen
from slideloom import SlideloomError
from slideloom_cli.main import main

from stress.verdicts import Kind, Verdict

# What an error says of a step, or of a slide, where something else than an error of ours came up.
_RAW = re.compile(r"failed on slide .*?: \w+(?:Error|Exception|Exit)\b|^failed +\S+: \S+: \w+Error\b.*", re.MULTILINE)


_KEPT_ASIDE = re.compile(r"\.(damaged|foreign)-\d{8}T\d{6}")


@frozen
class Done:
    """What a command did: its exit code, and what it printed."""

    code: int
    out: str
    err: str


def command(*words: object) -> Done:
    """Run one command of slideloom; what it raises is raised."""
    out, err = io.StringIO(), io.StringIO()
    log = logging.StreamHandler(err)
    logging.getLogger().addHandler(log)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([str(word) for word in words])
            except SystemExit as left:  # of argparse
                code = left.code if isinstance(left.code, int) else 1
    finally:
        logging.getLogger().removeHandler(log)
    return Done(code, out.getvalue(), err.getvalue())


def judged(act: Callable[[], Done], is_right: Callable[[], str] = lambda: "") -> Verdict:
    """The verdict on a command: its exit code, its words, and where it says that all went well, `is_right`.

    Args:
        act: runs the command.
        is_right: what is wrong with the results, or "".
    """
    try:
        done = act()
        if done.code == 0:
            wrong = is_right()
            return Verdict(Kind.WRONG, wrong) if wrong else Verdict(Kind.RIGHT)
    except SlideloomError as error:
        return Verdict(Kind.REFUSED, str(error)[:300])
    except BaseException as error:  # whatever else comes out is what we look for
        place = traceback.extract_tb(error.__traceback__)[-1]
        words = f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})"
        return Verdict(Kind.OTHER, words[:500])
    said = done.err + done.out
    raw = _RAW.search(said)
    if raw:
        return Verdict(Kind.OTHER, raw[0][:500])
    return Verdict(Kind.REFUSED, said.strip()[-300:])


def slides_of(out: Path) -> list[dict[str, Any]]:
    """The slides of a run's report."""
    slides: list[dict[str, Any]] = json.loads((out / "extraction_report.json").read_text(encoding="utf-8"))["slides"]
    return slides


def account_of(slide: dict[str, Any]) -> str:
    """What is wrong with a slide's account, or ""."""
    found = slide["written"] + sum(slide["rejected"].values()) + slide["unreadable"]
    return "" if slide["planned"] == found else f"{slide['slide']}: {slide['planned']} planned, {found} accounted for"


@contextlib.contextmanager
def fresh_folder(folder: Path) -> Iterator[Path]:
    """A folder that no case of this process has had: what a process knows of a folder it may remember."""
    place = Path(tempfile.mkdtemp(dir=folder))
    try:
        yield place
    finally:
        shutil.rmtree(place)


def content_of(out: Path) -> dict[str, bytes]:
    """Every output file but those that tell times, by its path in the folder.

    What a run found under a name that it needs, and kept aside as not its own, is left out.
    """
    found = {}
    for path in sorted(out.rglob("*")):
        place = path.relative_to(out)
        is_ours = "slideloom" not in place.parts and path.name != "extraction_report.json"
        if path.is_file() and is_ours and not _KEPT_ASIDE.search(path.name):
            found[place.as_posix()] = path.read_bytes()
    return found


def left_over(out: Path) -> list[str]:
    """Temporary files that are still there."""
    return sorted(path.name for path in out.rglob(".*") if path.is_file() and _is_temporary(path.name))


def forget_ours(out: Path) -> None:
    """Remove the temporary files of this process: a later run leaves them alone as long as this one lives."""
    for path in [path for path in out.rglob(".*") if _is_temporary(path.name) and f"-{os.getpid()}-" in path.name]:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _is_temporary(name: str) -> bool:
    return name.endswith((".partial", ".old"))
