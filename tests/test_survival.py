"""Runs that are killed, crowded out, or fed bad slides: no finished slide is lost, none is there twice."""

from __future__ import annotations

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slideloom as sl
from attrs import frozen
from slideloom_testing import write_demo_slide
from slideloom_testing.fixtures import DemoFiles
from slideloom_tfrecord import read_records

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL, and limits of a process"),
]

StartProcess = Callable[..., "subprocess.Popen[Any]"]

LABEL = "64px_64um"
OPTIONS = ["--tile-px", "64", "--tile-um", "64", "--qc", "tissue", "--sink", "tfrecord", "--sink", "images", "--quiet"]


def command(slides: Path, out: Path, *more: object) -> list[str]:
    # The interpreter's own -m, so that signals reach the run itself.
    words = [sys.executable, "-m", "slideloom", "extract", slides, "--out", out, *OPTIONS, *more]
    return [str(word) for word in words]


def run(slides: Path, out: Path, *more: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(slides, out, *more), capture_output=True, text=True, check=False, **options)


def is_left_over(path: Path) -> bool:
    return path.name.endswith((".partial", ".old")) or path.name.startswith(".")


def content_of(out: Path) -> dict[str, bytes]:
    """Every output file but those that tell times."""
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "slideloom" not in path.parts[-4:-1]]
    return {
        path.relative_to(out).as_posix(): path.read_bytes() for path in files if path.name != "extraction_report.json"
    }


def reports(out: Path) -> dict[str, dict[str, Any]]:
    return {slide["slide"]: slide for slide in json.loads((out / "extraction_report.json").read_text())["slides"]}


# A filter that, on one slide in the process told to wait, waits until a file is there.
WAIT = """
import threading
from pathlib import Path
from typing import ClassVar
import attrs, numpy as np
from slideloom import Settings, TileFilter, Verdict, hookimpl, option

@attrs.frozen
class Wait(Settings[TileFilter]):
    "Waits once."
    name: ClassVar[str] = "wait"
    here: str = option(help="a file made when it waits")
    until: str = option(help="it waits for this file")
    slide: str = option(help="on which it waits")
    def build(self):
        return WaitFilter(self)

class WaitFilter(TileFilter):
    thread_safe = False
    def __init__(self, settings):
        self.settings = settings
    def check(self, batch):
        here, until = Path(self.settings.here), Path(self.settings.until)
        if batch.slide == self.settings.slide and not here.exists():
            here.touch()
            while not until.exists():
                threading.Event().wait(0.02)
        return Verdict(keep=np.ones(len(batch), bool), score=np.zeros(len(batch), np.float32))

@hookimpl
def slideloom_tile_filters():
    return [Wait]
"""


@frozen
class Waiting:
    """A filter that waits on a slide, once in all runs that are given it.

    Attributes:
        here: a file that is there from when it waits.
        until: it goes on when this file is there.
    """

    here: Path
    until: Path

    def on(self, slide: str) -> tuple[str, str]:
        """The words of a command that is to wait on a slide."""
        return "--filter", f"wait:here={self.here},until={self.until},slide={slide}"


@pytest.fixture
def waiting(install_plugin: Callable[..., None], tmp_path: Path) -> Waiting:
    """Installs the filter, and names its files."""
    install_plugin("wait_plugin", WAIT)
    return Waiting(tmp_path / "here", tmp_path / "until")


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six small slides that differ."""
    folder = tmp_path_factory.mktemp("six")
    write_demo_slide(folder / "s0.svs", size=sl.Size(3000, 2400), mpp=1.0, seed=0)
    write_demo_slide(folder / "s1.svs", size=sl.Size(2400, 2000), mpp=1.0, seed=1)
    for number in range(2, 6):
        content = (folder / f"s{number % 2}.svs").read_bytes()
        (folder / f"s{number}.svs").write_bytes(content + bytes(number))  # no copy
    return folder


@pytest.fixture(scope="module")
def undisturbed(six: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, bytes], float]:
    """What a run leaves that nobody kills, and how long it takes."""
    out = tmp_path_factory.mktemp("undisturbed")
    start = time.monotonic()
    assert run(six, out, "--jobs", 1).returncode == 0
    return content_of(out), time.monotonic() - start


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_is_killed_again_and_again_ends_as_one_that_is_not(
    six: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path, jobs: int, start_process: StartProcess
) -> None:
    wanted, seconds = undisturbed
    out, buffer = tmp_path / "out", tmp_path / "buffer"
    rng = random.Random(jobs)
    finished_before: set[str] = set()
    for _ in range(6):
        killed = start_process(
            command(six, out, "--jobs", jobs, "--buffer", buffer), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            killed.wait(rng.uniform(0.2, 1.0) * seconds)
        except subprocess.TimeoutExpired:
            killed.send_signal(signal.SIGKILL)
            killed.wait()
        # What has its final name is whole at every moment.
        for path in out.glob(f"tfrecords/{LABEL}/*.tfrecords"):
            if not is_left_over(path):
                assert sum(1 for _ in read_records(path)) > 0
        finished = {path.stem for path in out.glob(f"slideloom/{LABEL}/slides/*.json") if not is_left_over(path)}
        assert finished_before <= finished
        finished_before = finished

    last = run(six, out, "--jobs", jobs, "--buffer", buffer)

    assert last.returncode == 0, last.stderr
    assert content_of(out) == wanted
    assert not [path for path in out.rglob("*") if is_left_over(path)]
    assert not list(buffer.iterdir())
    found = reports(out)
    assert sorted(found) == [f"s{number}" for number in range(6)]
    for name, report in found.items():
        records = list(read_records(out / f"tfrecords/{LABEL}/{name}.tfrecords"))
        places = {(record.loc_x, record.loc_y) for record in records}
        assert len(places) == len(records) == report["written"]
        assert report["planned"] == report["written"] + sum(report["rejected"].values()) + report["unreadable"]


@pytest.mark.parametrize("share", [True, False], ids=["shards", "claims"])
def test_runs_in_one_folder_that_are_killed_at_random_give_each_slide_once(
    six: Path, undisturbed: tuple[dict[str, bytes], float], tmp_path: Path, share: bool, start_process: StartProcess
) -> None:
    wanted, seconds = undisturbed
    out, rng = tmp_path / "out", random.Random(3)
    left, kills = {1, 2, 3}, 3
    while left:
        runs = {
            number: start_process(
                command(six, out, *(["--shard", f"{number}/3"] if share else [])), stderr=subprocess.PIPE, text=True
            )
            for number in sorted(left)
        }
        if kills:
            kills -= 1
            victim = runs[rng.choice(sorted(left))]
            try:
                victim.wait(rng.uniform(0.2, 1.0) * seconds)
            except subprocess.TimeoutExpired:
                victim.send_signal(signal.SIGKILL)
        told = {number: process.communicate()[1] for number, process in runs.items()}
        codes = {number: process.returncode for number, process in runs.items()}
        assert set(codes.values()) <= {0, -signal.SIGKILL}, told
        left -= {number for number, code in codes.items() if code == 0}

    assert content_of(out) == wanted
    found = reports(out)
    assert sorted(found) == [f"s{number}" for number in range(6)]
    for name, report in found.items():
        assert len(list(read_records(out / f"tfrecords/{LABEL}/{name}.tfrecords"))) == report["written"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_that_is_interrupted_leaves_nothing_half_made(
    six: Path, tmp_path: Path, jobs: int, waiting: Waiting, start_process: StartProcess
) -> None:
    out = tmp_path / "out"
    stopped = start_process(
        command(six, out, "--jobs", jobs, *waiting.on("s1")),
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    wait_until(lambda: waiting.here.exists() and bool(list(out.glob(f"slideloom/{LABEL}/slides/*.json"))), by=stopped)

    os.killpg(stopped.pid, signal.SIGINT)  # as a terminal does for Ctrl-C
    waiting.until.touch()
    _, told = stopped.communicate()

    assert stopped.returncode == 130
    assert told.strip() == "slideloom: interrupted; finished slides are kept, run again to go on"
    assert not [path for path in out.rglob("*") if is_left_over(path)]


def test_finished_slides_are_not_made_again(six: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(six, out, "--jobs", 1).returncode == 0
    times = {path: path.stat().st_mtime_ns for path in out.glob(f"tfrecords/{LABEL}/*.tfrecords")}
    (out / f"tfrecords/{LABEL}/s3.tfrecords").unlink()

    again = run(six, out, "--jobs", 1)

    assert again.returncode == 0
    made = {path.stem for path, earlier in times.items() if path.stat().st_mtime_ns != earlier}
    assert made == {"s3"}
    assert {name for name, report in reports(out).items() if report["status"] == "skipped"} == set(reports(out)) - {
        "s3"
    }


def test_a_run_with_other_settings_waits_for_its_turn_and_a_dead_one_does_not_count(
    six: Path, tmp_path: Path, waiting: Waiting, start_process: StartProcess
) -> None:
    out = tmp_path / "out"
    words = ("--jobs", 1, *waiting.on("s1"))
    first = start_process(command(six, out, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(waiting.here.exists, by=first)

    second = run(six, out, *words, "--stride-div", 2)
    first.send_signal(signal.SIGKILL)
    first.wait()
    third = run(six, out, *words)

    assert second.returncode == 1
    assert f"another run works in this folder (process {first.pid} on " in second.stderr
    assert "with other settings)" in second.stderr
    assert third.returncode == 0, third.stderr
    assert not list((out / "slideloom/at_work").iterdir())


BLIND = """
import fcntl, sys
fcntl.flock = lambda *_: None
from slideloom_cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_run_that_others_take_for_dead_leaves_what_they_made_where_locks_see_nothing(
    six: Path, tmp_path: Path, waiting: Waiting, start_process: StartProcess
) -> None:
    slides, out = tmp_path / "slides", tmp_path / "out"
    slides.mkdir()
    for name in ("s0", "s1"):
        shutil.copy(six / f"{name}.svs", slides)
    sinks = [word for sink in ("webdataset", "hdf5:images=true") for word in ("--sink", sink)]
    words = [*command(slides, out, *sinks, *waiting.on("s1"), "--jobs", 1)[3:]]
    blind = [sys.executable, "-c", BLIND, *words]

    slow = start_process(blind, stderr=subprocess.PIPE, text=True)
    wait_until(waiting.here.exists, by=slow)
    for sign in (out / "slideloom/at_work").iterdir():  # as a run does that has not seen it change for too long
        sign.unlink()
    quick = subprocess.run(blind, capture_output=True, text=True, check=False)
    made = {name: content for name, content in content_of(out).items() if "/." not in name}
    kept = {path: path.stat().st_mtime_ns for path in out.rglob("s?.*") if not is_left_over(path)}
    waiting.until.touch()
    _, told = slow.communicate()

    assert quick.returncode == 0, quick.stderr
    assert slow.returncode == 0, told
    assert content_of(out) == made
    assert {path: path.stat().st_mtime_ns for path in out.rglob("s?.*")} == kept
    assert {name: report["status"] for name, report in reports(out).items()} == {"s0": "done", "s1": "skipped"}
    assert not [path for path in out.rglob("*") if is_left_over(path)]


def test_a_disk_that_is_full_loses_the_slide_at_work_and_no_other(six: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["--tile-px", "64", "--tile-um", "64", "--sink", "tfrecord", "--quiet", "--jobs", "1", "--threads", "1"]
    run_words = [sys.executable, "-m", "slideloom", "extract", str(six), "--out", str(out), *words]
    assert subprocess.run(run_words, capture_output=True, check=False).returncode == 0
    sizes = sorted(path.stat().st_size for path in out.glob(f"tfrecords/{LABEL}/*.tfrecords"))
    shutil.rmtree(out)
    limit = (sizes[0] + sizes[-1]) // 2  # bytes of a file: what a full disk does, without one

    crowded = subprocess.run(
        run_words,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        ),
    )

    assert crowded.returncode == 1
    found = reports(out)
    failed = {name for name, report in found.items() if report["status"] == "failed"}
    assert failed
    assert len(failed) < 6
    assert all("no room left" in found[name]["error"] and "free some space" in found[name]["error"] for name in failed)
    assert not [path for path in out.rglob("*") if is_left_over(path)]
    listed = (out / "errors.csv").read_text().splitlines()[1:]
    assert {line.split(",")[0] for line in listed} == failed
    after = subprocess.run(run_words, capture_output=True, text=True, check=False)
    assert after.returncode == 0, after.stderr
    assert {name for name, report in reports(out).items() if report["status"] == "skipped"} == set(found) - failed
    assert not (out / "errors.csv").exists()


def test_a_buffer_without_room_is_read_past(six: Path, tmp_path: Path) -> None:
    buffer = tmp_path / "buffer"
    limit = max(path.stat().st_size for path in six.iterdir()) // 2  # coordinates fit, slides do not
    words = ["--tile-px", "64", "--tile-um", "64", "--sink", "hdf5", "--quiet", "--jobs", "1", "--buffer", str(buffer)]

    done = subprocess.run(
        [sys.executable, "-m", "slideloom", "extract", str(six), "--out", str(tmp_path / "out"), *words],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: (
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN),
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        ),
    )

    assert done.returncode == 0, done.stderr
    assert "is read from where it is" in done.stderr
    assert not list(buffer.iterdir())


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory, demo_slide: DemoFiles, six: Path) -> Path:
    """Twelve slides as cohorts have them: good, mosaics, damaged, without mpp, without tissue, and no slide at all."""
    pyvips = pytest.importorskip("pyvips")
    folder = tmp_path_factory.mktemp("twelve")
    shutil.copy(demo_slide.path, folder / "demo.svs")
    shutil.copy(six / "s0.svs", folder / "good-0.svs")
    shutil.copy(six / "s1.svs", folder / "good-1.svs")
    (folder / "truncated.svs").write_bytes(demo_slide.path.read_bytes()[: demo_slide.path.stat().st_size // 3])
    (folder / "empty.svs").write_bytes(b"")
    (folder / "text.svs").write_text("this is no slide\n" * 100)
    image = pyvips.Image.new_from_file(str(demo_slide.path), access="random")[:3]
    tiled: dict[str, Any] = {"tile": True, "tile_width": 256, "tile_height": 256, "compression": "jpeg", "Q": 85}
    # 1 micron per pixel is 1000 pixels per millimetre.
    known: dict[str, Any] = {**tiled, "pyramid": True, "resunit": "cm", "xres": 1000.0, "yres": 1000.0}
    small = image.crop(200, 200, 1200, 1000)
    mosaic = small.join(small.fliphor(), "horizontal")
    mosaic.copy(xres=1000.0, yres=1000.0).tiffsave(str(folder / "mosaic-2.tif"), **known)
    mosaic.join(mosaic.flipver(), "vertical").copy(xres=1000.0, yres=1000.0).tiffsave(
        str(folder / "mosaic-4.tif"), **known
    )
    plain = small.copy()
    for name in plain.get_fields():
        if name not in ("width", "height", "bands", "format", "coding", "interpretation"):
            plain.remove(name) if plain.get_typeof(name) else None
    plain.pngsave(str(folder / "no-mpp.png"))
    glass = (small * 0 + [243, 242, 241]).cast("uchar").copy(interpretation="srgb", xres=1000.0, yres=1000.0)
    glass.tiffsave(str(folder / "no-tissue.tif"), **known)
    tiny = image.crop(0, 0, 40, 40).copy(xres=1000.0, yres=1000.0)
    tiny.tiffsave(str(folder / "tiny.tif"), **known)
    shutil.copy(six / "s0.svs", folder / "name with spaces, and a comma.svs")
    assert len(list(folder.iterdir())) == 12
    return folder


# The word that each bad slide's error must hold.
BAD = {"truncated": "", "empty": "the file is empty", "text": "no reader recognises it", "no-mpp": "microns per pixel"}


def test_a_cohort_of_twelve_is_run_killed_and_resumed(
    twelve: Path, tmp_path: Path, waiting: Waiting, start_process: StartProcess
) -> None:
    out = tmp_path / "out"
    # One worker waits in the middle of a slide, so that the other cannot finish the run before it is killed.
    words = ("--jobs", 2, *waiting.on("good-0"))
    killed = start_process(command(twelve, out, *words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    finished = partial(out.glob, f"slideloom/{LABEL}/slides/*.json")
    wait_until(lambda: waiting.here.exists() and len(list(finished())) >= 3, by=killed)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert "good-0" not in {path.stem for path in finished()}

    done = run(twelve, out, *words)
    found = reports(out)

    assert done.returncode == 1
    assert len(found) == 12
    assert {name for name, report in found.items() if report["status"] == "failed"} == set(BAD)
    for name, words in BAD.items():
        assert words in found[name]["error"]
        assert name in found[name]["error"]
    assert {line.split(",")[0] for line in (out / "errors.csv").read_text().splitlines()[1:]} == set(BAD)
    assert found["no-tissue"]["written"] == found["tiny"]["written"] == 0
    assert found["tiny"]["planned"] == 0
    good = set(found) - set(BAD) - {"no-tissue", "tiny"}
    assert len(good) == 6
    for name in good:
        records = list(read_records(out / f"tfrecords/{LABEL}/{name}.tfrecords"))
        assert len(records) == found[name]["written"] > 0
        table = np.genfromtxt(out / found[name]["tile_table"], delimiter=",", skip_header=1, usecols=(0, 1), dtype=int)
        assert {(record.loc_x, record.loc_y) for record in records} <= {tuple(row) for row in table.tolist()}
    assert not [path for path in out.rglob("*") if is_left_over(path)]
    assert any(report["status"] == "skipped" for report in found.values())


def test_a_cohort_with_real_slides_runs_by_a_project(real_data: Path, demo_slide: DemoFiles, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    for path in (*real_data.glob("*.svs"), demo_slide.path):
        (slides / path.name).symlink_to(path)
    project = sl.Project.create(tmp_path / "project", slides=slides)

    report = project.extract_tiles(256, 256, qc=["tissue"], jobs=2, buffer=tmp_path / "buffer", report=False)

    by_name = {slide.slide: slide for slide in report.slides}
    assert by_name["cmu-1-small-region"].written > 0
    assert "microns per pixel" in by_name["tcga-cr-7395-01a-01-ts1"].error
    assert project.dataset(256, 256).summary().tiles == sum(slide.written for slide in report.slides)


def wait_until(happened: Callable[[], bool], *, by: subprocess.Popen[Any]) -> None:
    """Wait as long as it takes, but not for a process that has ended."""
    while not happened():
        # What it did last may have come between the two questions.
        assert by.poll() is None or happened(), f"the process ended with code {by.returncode} before it happened"
        threading.Event().wait(0.02)
