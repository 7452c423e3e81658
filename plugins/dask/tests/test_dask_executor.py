"""Slides run on a Dask cluster as they do without one."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from slideloom import ConfigError, pipeline_from_table, run_pipeline
from slideloom_dask import Dask
from slideloom_testing import ExecutorContract
from slideloom_testing.fixtures import DemoFiles

distributed = pytest.importorskip("distributed", reason="needs pip install distributed")

# What other packages warn about is theirs.
pytestmark = pytest.mark.filterwarnings("default::DeprecationWarning", "default::ResourceWarning")


@pytest.fixture(scope="module")
def worker_processes() -> Iterator[str]:
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster:
        yield cluster.scheduler_address


@pytest.mark.slow
class TestDask(ExecutorContract):
    @pytest.fixture(autouse=True)
    def _settings(self, worker_processes: str) -> None:
        self.settings = Dask(address=worker_processes)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster.scheduler_address


def halved(number: int) -> float:
    if number == 3:
        raise ArithmeticError("three is odd")
    return number / 2


def test_a_run_gives_the_same_bytes_as_without_dask(address: str, demo_slide: DemoFiles, tmp_path: Path) -> None:
    slides = [demo_slide.path, demo_slide.path.with_name("other.svs")]
    slides[1].write_bytes(demo_slide.path.read_bytes())
    table: dict[str, Any] = {"slideloom": 1, "tiles": {"size_px": 100, "size_um": 100}, "qc": [{"use": "tissue"}]}
    digests = []
    for number, run in enumerate(({"jobs": 1}, {"executor": f"dask:address={address}"})):
        out = tmp_path / str(number)
        report = run_pipeline(pipeline_from_table({**table, "run": run}, where="test"), slides, out)
        assert [slide.status for slide in report.slides] == ["done", "done"]
        records = sorted(out.rglob("*.tfrecords"))
        assert len(records) == 2
        digests.append([hashlib.sha256(path.read_bytes()).hexdigest() for path in records])

    assert digests[0] == digests[1]


def test_a_cluster_of_more_threads_than_jobs_is_filled_from_a_buffer(demo_slide: DemoFiles, tmp_path: Path) -> None:
    slides = [tmp_path / f"s{number}.svs" for number in range(6)]
    for slide in slides:
        slide.write_bytes(demo_slide.path.read_bytes())
    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=8, processes=False, dashboard_address=":0"
    ) as cluster:
        run = {"executor": f"dask:address={cluster.scheduler_address}", "jobs": 1, "buffer": str(tmp_path / "buffer")}
        table = {"slideloom": 1, "tiles": {"size_px": 100, "size_um": 100}, "filter": [], "run": run}
        report = run_pipeline(pipeline_from_table(table, where="test"), slides, tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done"] * 6
    assert not list((tmp_path / "buffer").iterdir())


def test_a_missing_scheduler_is_named_with_the_remedy() -> None:
    executor = Dask(address="tcp://127.0.0.1:9", patience_s=0.5).build()

    with pytest.raises(ConfigError, match=r"no scheduler at tcp://127.0.0.1:9 .*dask scheduler"):
        list(executor.run(halved, range(2)))


def test_a_scheduler_without_workers_is_named_with_the_remedy() -> None:
    with distributed.LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster:
        executor = Dask(address=cluster.scheduler_address, patience_s=0.5).build()

        with pytest.raises(ConfigError, match="has no worker; start one with `dask worker"):
            list(executor.run(halved, range(2)))


@pytest.mark.slow
def test_a_scheduler_file_that_never_comes_is_named_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "scheduler.json"

    with pytest.raises(ConfigError, match=r"scheduler.json \(it is missing\).*dask scheduler --scheduler-file"):
        list(Dask(address=str(path), patience_s=0.1).build().run(halved, [1]))


@pytest.mark.parametrize("content", ["", "{}", '{"address": 3}'])
def test_a_scheduler_file_that_says_nothing_is_an_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "scheduler.json"
    path.write_text(content)

    with pytest.raises(ConfigError, match=r"no address of a scheduler in .*scheduler.json"):
        list(Dask(address=str(path), patience_s=0.1).build().run(halved, [1]))


HAS_BEGUN, MAY_END = threading.Event(), threading.Event()


def waited(number: int) -> int:
    HAS_BEGUN.set()
    MAY_END.wait()
    return number


def test_a_run_whose_workers_are_all_gone_ends_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    def take_the_worker_away() -> None:
        HAS_BEGUN.wait()
        cluster.scale(0)

    with distributed.LocalCluster(
        n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        taker = threading.Thread(target=take_the_worker_away)
        taker.start()
        try:
            with pytest.raises(ConfigError, match=r"its workers are gone, and none came within 0\.5 s"):
                list(Dask(address=cluster.scheduler_address, patience_s=0.5).build().run(waited, [1]))
        finally:
            MAY_END.set()
            taker.join()


def test_a_cluster_of_its_own_listens_to_this_machine_only_and_on_no_fixed_port() -> None:
    with Dask(jobs=1).build()._client() as client:  # type: ignore[attr-defined]
        assert client.dashboard_link.startswith("http://127.0.0.1:")
        assert ":8787/" not in client.dashboard_link
        assert "127.0.0.1" in client.scheduler.address


def test_a_script_without_a_main_guard_runs_once_on_a_cluster_of_its_own(demo_slide: DemoFiles, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(
        f"""
import slideloom as sl
from pathlib import Path

print("begun")
table = {{"slideloom": 1, "tiles": {{"size_px": 100, "size_um": 100}}, "filter": [], "run": {{"executor": "dask"}}}}
report = sl.run_pipeline(sl.pipeline_from_table(table, where="test"), [Path({str(demo_slide.path)!r})], Path("out"))
print([slide.status for slide in report.slides])
"""
    )

    done = subprocess.run([sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert done.stdout == "begun\n['done']\n", done.stderr


@pytest.mark.slow
def test_a_cluster_of_its_own_is_gone_when_a_run_is_left_early() -> None:
    contract = ExecutorContract()
    contract.settings = Dask(jobs=2)

    contract.test_a_run_that_is_left_early_takes_no_more_items_and_leaves_no_process()
