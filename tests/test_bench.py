"""The benchmarks run and store what they say, on the smallest slide; no time is judged here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from slideloom import Size
from slideloom_testing import write_demo_slide

from bench.slides import SOURCE

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> dict[str, object]:
    """The JSON of two sections, measured once each, on slides made of a small one in the real one's place."""
    folder = tmp_path_factory.mktemp("bench")
    write_demo_slide(folder / SOURCE, size=Size(740, 990), mpp=1.0)
    words = [sys.executable, "-m", "bench", "--quick", "--rounds", "1", "--only", "near", "--only", "sizes"]
    words += ["--slides", str(folder / "slides"), "--out", str(folder / "results")]
    environment = {**os.environ, "SLIDELOOM_TEST_DATA": str(folder)}
    subprocess.run(words, cwd=ROOT, env=environment, check=True, capture_output=True)
    found: dict[str, object] = json.loads((folder / "results" / "bench.json").read_text())
    found["text"] = (folder / "results" / "bench.md").read_text()
    return found


def test_every_contestant_is_measured_against_the_floor(result: dict) -> None:  # type: ignore[type-arg]
    near = result["sections"]["near"]
    names = {"floor", "slideloom", "slideloom, whole command", "openslide per tile", "pyvips fetch"}
    assert set(near["times"]) == set(near["to_floor"]) == names
    assert near["to_floor"]["floor"] == {"wall": 1.0, "cpu": 1.0}
    for times in near["times"].values():
        assert times["wall_s"] > 0
        assert len(times["rounds_cpu_s"]) == 1


def test_contestants_do_the_same_job(result: dict) -> None:  # type: ignore[type-arg]
    near = result["sections"]["near"]
    assert 0 < near["kept"] < near["planned"]
    assert near["times"]["slideloom"]["tiles"] == near["kept"]
    # Others round places to whole pixels, so a tile at the filter's limit may differ.
    for name in ("openslide per tile", "pyvips fetch"):
        assert abs(near["times"][name]["tiles"] - near["kept"]) <= 0.05 * near["kept"]


def test_memory_and_cost_per_tile_are_measured_for_slides_of_several_sizes(result: dict) -> None:  # type: ignore[type-arg]
    rows = result["sections"]["sizes"]["slides"]
    assert [row["side"] for row in rows] == [1, 2]
    assert all(20 < row["peak_mb"] < 2000 and row["cpu_ms_per_kept_tile"] > 0 for row in rows)


def test_the_table_names_machine_source_and_goals(result: dict) -> None:  # type: ignore[type-arg]
    assert result["about"]["source"] == SOURCE
    for word in (
        "processors",
        "## near",
        "| floor |",
        "| plain extraction to the floor, cpu | most | 1.3 |",
        "peak memory",
    ):
        assert word in result["text"]
