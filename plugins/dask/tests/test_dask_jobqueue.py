"""The script of the README for Slurm, run with a stand-in for the scheduler's commands that starts jobs right here."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import slideloom as sl
from slideloom_testing.fixtures import DemoFiles

pytest.importorskip("dask_jobqueue", reason="needs pip install dask-jobqueue")
README = Path(__file__).parents[1] / "README.md"
# Two jobs run, and the others wait, as in a full queue.
SBATCH = """#!/bin/sh
number=1
while ! mkdir job-$number 2>/dev/null; do number=$((number + 1)); done
cp "$1" job-$number/script.sh
if [ $number -le 2 ]; then
    setsid sh job-$number/script.sh > job-$number/log 2>&1 < /dev/null &
    echo $! > job-$number/pid
fi
echo "Submitted batch job $number"
"""
SCANCEL = """#!/bin/sh
for number in "$@"; do
    if [ -f job-$number/pid ]; then kill -- -$(cat job-$number/pid) 2>/dev/null; fi
done
exit 0
"""


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="schedulers of this kind run on Linux")
def test_the_script_for_slurm_gives_the_same_bytes_as_a_run_without_it(demo_slide: DemoFiles, tmp_path: Path) -> None:
    script = re.search(r"```python\n(from dask_jobqueue.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert script is not None
    (tmp_path / "script.py").write_text(script[1])
    tools = tmp_path / "tools"
    tools.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    slides = tmp_path / "slides"
    slides.mkdir()
    for name in ("a.svs", "b.svs", "c.svs"):
        (slides / name).write_bytes(demo_slide.path.read_bytes())
    sl.Project.create(tmp_path / "proj", slides=slides)
    sl.Project.create(tmp_path / "alone", slides=slides).extract_tiles(299, 302, qc="tissue", jobs=1)

    done = subprocess.run(
        [sys.executable, "script.py"],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    jobs = [path.read_text() for path in tmp_path.glob("job-*/script.sh")]
    assert len(jobs) == 16
    assert all("#SBATCH --cpus-per-task=4" in job for job in jobs)
    made, wanted = (
        {path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.tfrecords")} for name in ("proj", "alone")
    )
    assert made == wanted
    assert len(made) == 3
