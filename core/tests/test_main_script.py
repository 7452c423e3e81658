"""Scripts with and without a main guard, in a file or typed in: nothing is done twice, errors say what to write."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WriteSlide = Callable[..., Path]
Run = Callable[..., "subprocess.CompletedProcess[str]"]

HEAD = """
import sys
from pathlib import Path
from typing import ClassVar
import attrs, numpy as np
import slideloom as sl
from slideloom.pipeline.file import pipeline_from_table

home = Path({home!r})
slides = sorted((home / "slides").iterdir())
with (home / "times").open("a") as times:
    times.write("x")

def run(jobs, **steps):
    table = {{"slideloom": 1, "tiles": {{"size_px": 60, "size_um": 75}}, "filter": [], "sink": [{{"use": "raw"}}]}}
    pipeline = pipeline_from_table({{**table, "run": {{"jobs": jobs}}}}, where="test")
    report = sl.run_pipeline(attrs.evolve(pipeline, **steps), slides, home / "out")
    print([slide.status for slide in report.slides])
"""
OWN_FILTER = """
@attrs.frozen
class Own(sl.Settings[sl.TileFilter]):
    "Keeps all."
    name: ClassVar[str] = "own"
    def build(self):
        return OwnFilter()

class OwnFilter(sl.TileFilter):
    def check(self, batch):
        return sl.Verdict(keep=np.ones(len(batch), bool), score=np.zeros(len(batch), np.float32))
"""
DONE = "['done', 'done']\n"
GUARD = """
    def main():
        ...  # what the script does

    if __name__ == "__main__":
        main()
"""


@pytest.fixture
def run(raw: object, analytic: WriteSlide, tmp_path: Path) -> Run:
    """Runs a script over two slides, as a file of its own or through standard input."""
    for name in "ab":
        analytic(name)

    def run(*parts: str, typed: bool = False) -> subprocess.CompletedProcess[str]:
        script = "".join((HEAD.format(home=str(tmp_path)), *parts))
        file = tmp_path / "script.py"
        file.write_text(script)
        words = [sys.executable, "-" if typed else str(file)]
        return subprocess.run(
            words, input=script if typed else None, capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return run


def times_run(tmp_path: Path) -> int:
    return len((tmp_path / "times").read_text())


@pytest.mark.parametrize("typed", [False, True], ids=["file", "standard input"])
def test_a_script_without_a_guard_runs_once_where_workers_do_not_need_it(run: Run, tmp_path: Path, typed: bool) -> None:
    done = run("run(jobs=2)\n", typed=typed)

    assert (done.stdout, done.stderr) == (DONE, "")
    assert times_run(tmp_path) == 1


def test_a_script_with_a_guard_may_define_its_own_steps(run: Run, tmp_path: Path) -> None:
    done = run(OWN_FILTER, "if __name__ == '__main__':\n    run(jobs=2, filters=(Own(),))\n")

    assert (done.stdout, done.stderr) == (DONE, "")


def test_a_script_that_workers_need_is_told_to_have_a_guard_and_goes_no_further(run: Run, tmp_path: Path) -> None:
    done = run(OWN_FILTER, "run(jobs=2, filters=(Own(),))\n(home / 'after').touch()\n")

    assert done.returncode == 1
    said = "slideloom.base.errors.ConfigError: script.py has no main guard, and each new process runs it again; "
    assert done.stderr.endswith(f"{said}write what it does like this:{GUARD}")
    assert done.stderr.count("Traceback") == 1
    assert done.stdout == ""
    assert not (tmp_path / "after").exists()
    assert not list((tmp_path / "out").rglob("*.raw"))


def test_a_script_that_fails_when_it_runs_again_is_not_taken_for_a_slide_that_kills_its_worker(
    run: Run, tmp_path: Path
) -> None:
    done = run(OWN_FILTER, "(home / 'once').mkdir()\nrun(jobs=2, filters=(Own(),))\n")

    assert done.returncode == 1
    assert "FileExistsError" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "slideloom.base.errors.ConfigError: a worker process could not start (exit code 1; its own message is above). "
        "It first runs script.py, which defines something that the pipeline uses; define that in a module"
    )


def test_a_step_that_is_typed_in_is_told_to_be_in_a_module(run: Run, tmp_path: Path) -> None:
    done = run(OWN_FILTER, "run(jobs=2, filters=(Own(),))\n", typed=True)

    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("slideloom.base.errors.ConfigError: a worker process cannot unpickle the pipeline: ")
    assert "'Own'" in said
    assert said.endswith("define them in a module (a .py file) and import it, or use run.jobs = 1")
    assert done.stderr.count("Traceback") == 1
    assert times_run(tmp_path) == 1


def test_a_step_that_cannot_be_sent_is_told_to_be_in_a_module(run: Run, tmp_path: Path) -> None:
    own = f"def inside():\n    {OWN_FILTER.strip().replace(chr(10), chr(10) + '    ')}\n    return Own\n"

    done = run(own, "if __name__ == '__main__':\n    run(jobs=2, filters=(inside()(),))\n")

    assert done.returncode == 1
    said = done.stderr.splitlines()[-1]
    assert said.startswith("slideloom.base.errors.ConfigError: the pipeline cannot be sent to another process: ")
    assert said.endswith("define its steps at the top of a module, or use run.jobs = 1")


def test_a_copy_of_the_script_in_somebody_elses_process_does_not_run_it_again(run: Run, tmp_path: Path) -> None:
    own_process = """
from multiprocessing import get_context
run(jobs=1)
child = get_context("spawn").Process(target=print)
child.start()
child.join()
print(child.exitcode)
"""

    done = run(own_process)

    assert done.stdout == f"{DONE}1\n"
    said = "slideloom: script.py has no main guard, and each new process runs it again; write what it does like this:"
    assert done.stderr == said + GUARD
