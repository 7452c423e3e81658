"""Disks that are too small: a dry run says so, and a run stops before they are full and loses nothing."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import slideloom as sl
from slideloom_testing import write_demo_slide

SIZE = ["--tile-px", "64", "--tile-um", "64"]
SLIDELOOM = [sys.executable, "-m", "slideloom"]
OnDisk = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def twelve(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve slides that are alike."""
    folder = tmp_path_factory.mktemp("twelve")
    write_demo_slide(folder / "s00.svs", size=sl.Size(1500, 1200), mpp=1.0)
    for number in range(1, 12):
        shutil.copy(folder / "s00.svs", folder / f"s{number:02}.svs")
    return folder


@pytest.fixture
def on_small_disk(tmp_path: Path) -> OnDisk:
    """Runs shell words with a disk of so many kilobytes mounted at `tmp_path / "disk"`, which others do not see."""
    disk = tmp_path / "disk"
    disk.mkdir()
    unshare = shutil.which("unshare")
    mount = f"mount -t tmpfs -o size=%sk tmpfs '{disk}'"
    alone = [unshare or "unshare", "--mount", "--map-root-user", "sh", "-ec"]
    if unshare is None or subprocess.run([*alone, mount % 64], capture_output=True, check=False).returncode:
        pytest.skip("only Linux lets a process mount a disk of its own")

    def run(kilobytes: int, words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*alone, f"{mount % kilobytes}\n{words}"], capture_output=True, text=True, check=False, cwd=tmp_path
        )

    return run


def stored_bytes(folder: Path, out: Path) -> int:
    report = sl.run_pipeline(
        sl.pipeline_from_table(
            {"slideloom": 1, "tiles": {"size_px": 64, "size_um": 64}, "run": {"jobs": 1}}, where="test"
        ),
        sorted(folder.iterdir()),
        out,
    )
    assert report.is_good
    return sum(path.stat().st_size for path in out.rglob("*") if path.is_file())


def test_a_dry_run_refuses_a_disk_that_is_smaller_unless_told(
    twelve: Path, on_small_disk: OnDisk, tmp_path: Path
) -> None:
    wanted = stored_bytes(twelve, tmp_path / "elsewhere")
    words = " ".join([*SLIDELOOM, "extract", str(twelve), "--out", "disk/out", *SIZE, "--quiet", "--plan-only"])

    small = on_small_disk(wanted // 2000, words)
    told = on_small_disk(wanted // 2000, f"{words} --ignore-disk-space")
    large = on_small_disk(wanted // 500, words)

    assert small.returncode == 1
    assert "a run would take about" in small.stderr
    assert "free; make room, choose another output folder, or go on anyway with --ignore-disk-space" in small.stderr
    assert (told.returncode, large.returncode) == (0, 0)
    assert "make room" not in told.stderr + large.stderr


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_run_stops_before_the_disk_is_full_and_goes_on_later(
    twelve: Path, on_small_disk: OnDisk, tmp_path: Path, jobs: int
) -> None:
    wanted = stored_bytes(twelve, tmp_path / "elsewhere") // 1000
    words = " ".join([*SLIDELOOM, "extract", str(twelve), "--out", "disk/out", *SIZE, "--quiet", "--jobs", str(jobs)])

    done = on_small_disk(
        wanted * 3 // 4,
        f"{words} && exit 9 || code=$?\ncp -r disk/out stopped\nmount -o remount,size={wanted * 2}k '{tmp_path}/disk'\n"
        f"{words}\ncp -r disk/out whole\nexit $code",
    )

    assert done.returncode == 1, done.stderr
    assert "stopped before its disk is full" in done.stderr
    assert "go on anyway with --ignore-disk-space" in done.stderr
    reports = {path.stem: json.loads(path.read_text()) for path in (tmp_path / "stopped").glob("slideloom/*/slides/*")}
    assert {report["status"] for report in reports.values()} == {"done"}
    listed = (tmp_path / "stopped" / "errors.csv").read_text().splitlines()[1:]
    assert 3 <= len(reports) <= 4 + jobs
    assert {line.split(",")[0] for line in listed} == {path.stem for path in twelve.iterdir()} - set(reports)
    assert all("not begun, because the disk is too small" in line for line in listed)
    whole = {path.name: path.read_bytes() for path in (tmp_path / "whole").rglob("*.tfrecords")}
    assert whole == {path.name: path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*.tfrecords")}
    assert len(whole) == 12


def test_a_run_that_is_told_so_goes_on_until_a_write_fails(twelve: Path, on_small_disk: OnDisk, tmp_path: Path) -> None:
    wanted = stored_bytes(twelve, tmp_path / "elsewhere") // 1000
    words = " ".join([*SLIDELOOM, "extract", str(twelve), "--out", "disk/out", *SIZE, "--quiet", "--ignore-disk-space"])

    done = on_small_disk(wanted * 3 // 4, f"{words} || code=$?\ncp -r disk/out full\nexit $code")

    assert done.returncode == 1
    assert "no room left" in done.stderr
    assert "not begun" not in done.stderr
    found = list((tmp_path / "full").rglob("*.tfrecords"))
    assert 6 <= len(found) < 12


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three slides that differ."""
    folder = tmp_path_factory.mktemp("three")
    paths = [folder / f"s{seed}.svs" for seed in range(3)]
    for seed, path in enumerate(paths):
        write_demo_slide(path, size=sl.Size(2400, 2000), mpp=1.0, seed=seed)
    return paths


@pytest.mark.parametrize("sink", ["tfrecord", "webdataset", "hdf5", "images"])
def test_the_estimate_is_near_what_a_run_makes(sink: str, three: list[Path], tmp_path: Path) -> None:
    slides = three
    table = {
        "slideloom": 1, "tiles": {"size_px": 64, "size_um": 64}, "sink": [{"use": sink}], "run": {"jobs": 1},
    }  # fmt: skip
    pipeline = sl.pipeline_from_table(table, where="test")

    tried = sl.run_pipeline(pipeline, slides, tmp_path / "out", plan_only=True)
    counted = sl.run_pipeline(pipeline, slides, tmp_path / "out", dry_run=True)
    made = sl.run_pipeline(pipeline, slides, tmp_path / "out")

    kept = sum(report.written for report in made.slides)
    size = sum(-(-path.stat().st_size // 4096) * 4096 for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert tried.estimate is not None
    assert counted.estimate is not None
    assert tried.estimate.tiles.likely == pytest.approx(kept, rel=0.1)
    assert counted.estimate.tiles.likely == kept
    for estimate in (tried.estimate, counted.estimate):
        assert estimate.bytes.likely == pytest.approx(size, rel=0.15)
        assert (estimate.sampled_slides, estimate.slides) == (3, 3)
    assert made.estimate is None
    assert "estimate" not in made.as_table()
    assert counted.as_table()["estimate"]["tiles"]["likely"] == kept
