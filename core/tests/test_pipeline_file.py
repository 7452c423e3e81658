"""Pipeline files are read strictly, and every mistake is told at once."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom.base.errors import ConfigError
from slideloom.pipeline.file import load_pipeline, pipeline_from_table

GOOD = """
slideloom = 1
[slides]
include = ["*.json"]
mpp_file = "mpp.csv"
[tiles]
size_px = 60
size_um = 75
[[qc]]
use = "left"
share = 0.25
filter_threshold = 0.5
[[filter]]
use = "bright"
[[sink]]
use = "raw"
[run]
jobs = 2
"""

STEPS = Path(__file__).with_name("test_run.py").read_text(encoding="utf-8").split('STEPS = """')[1].split('"""')[0]


@pytest.fixture(autouse=True)
def steps(raw: Callable[..., None]) -> None:
    raw("steps_plugin", STEPS)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "pipeline.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_is_the_object_that_python_makes(tmp_path: Path) -> None:
    chosen = load_pipeline(written(tmp_path, GOOD))

    assert chosen.qc[0].step.name == "left"
    assert chosen.qc[0].filter_threshold == 0.5
    assert chosen.slides.mpp_file == tmp_path / "mpp.csv"
    assert chosen.run.jobs == 2
    assert pickle.loads(pickle.dumps(chosen)) == chosen


def test_a_pipeline_written_as_a_table_reads_back_equal(tmp_path: Path) -> None:
    chosen = load_pipeline(written(tmp_path, GOOD))

    assert pipeline_from_table(chosen.as_table(), where="again") == chosen


def test_every_mistake_is_told_at_once_with_a_suggestion(tmp_path: Path) -> None:
    wrong = """
    slidelom = 1
    [slides]
    includ = ["*.svs"]
    [tiles]
    size_px = "299"
    strid_div = 2
    max_tiles = 0
    seed = -1
    [[qc]]
    use = "leftt"
    [[filter]]
    use = "bright"
    level = true
    [[sink]]
    folder = "x"
    [run]
    jobs = 0
    """

    with pytest.raises(ConfigError) as caught:
        load_pipeline(written(tmp_path, wrong))

    lines = str(caught.value).splitlines()
    for said in (
        "unknown table 'slidelom' (did you mean 'slideloom'?)",
        "must say 'slideloom = 1'",
        "[slides]: unknown key 'includ' (did you mean 'include'?)",
        "[tiles]: unknown key 'strid_div' (did you mean 'stride_div'?)",
        "[tiles]: size_px must be a whole number, not '299'",
        "[tiles]: max_tiles must be at least 1, not 0",
        "[tiles]: seed must be at least 0, not -1",
        "[[qc]]: no qc is named 'leftt' (did you mean 'left'?)",
        "[[filter]] bright: level must be a number, not True",
        "[[sink]] needs 'use'",
        "[run]: jobs must be at least 1, not 0",
    ):
        assert any(said in line for line in lines), said
    assert all("pipeline.toml" in line for line in lines)


@pytest.mark.parametrize("text", ["not toml at all", "slideloom = 1\n[tiles", "\x00"])
def test_a_file_that_is_not_toml_is_named(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"pipeline\.toml: is not TOML"):
        load_pipeline(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        load_pipeline(tmp_path / "gone.toml")


def test_what_does_not_affect_the_output_is_not_in_the_digest(tmp_path: Path) -> None:
    base = load_pipeline(written(tmp_path, GOOD))
    more_jobs = load_pipeline(written(tmp_path, GOOD.replace("jobs = 2", "jobs = 7")))
    other_qc = load_pipeline(written(tmp_path, GOOD.replace("share = 0.25", "share = 0.26")))

    assert base.digest() == more_jobs.digest()
    assert base.digest() != other_qc.digest()


def test_the_content_of_a_named_file_is_in_the_digest(tmp_path: Path) -> None:
    (tmp_path / "mpp.csv").write_text("slide,mpp\na,0.5\n")
    before = load_pipeline(written(tmp_path, GOOD)).digest()
    (tmp_path / "mpp.csv").write_text("slide,mpp\na,0.25\n")

    assert load_pipeline(written(tmp_path, GOOD)).digest() != before
