"""Digests of files: by content, and read once as long as nothing is written to them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom import file_digest
from slideloom.pipeline.file import pipeline_from_table
from slideloom.running.run import run_pipeline

STEP = """
from pathlib import Path
from typing import ClassVar
import attrs, numpy as np
from slideloom import Settings, TileFilter, Verdict, hookimpl, option

@attrs.frozen
class Weighed(Settings[TileFilter]):
    "Names a file."
    name: ClassVar[str] = "weighed"
    weights: Path = option(help="a file")
    def build(self):
        return WeighedFilter()

class WeighedFilter(TileFilter):
    def check(self, batch):
        return Verdict(keep=np.ones(len(batch), bool), score=np.zeros(len(batch), np.float32))

@hookimpl
def slideloom_tile_filters():
    return [Weighed]
"""


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files that are read for their digest, in order."""
    names: list[str] = []
    digest = hashlib.file_digest

    def noted(file: object, algorithm: str) -> object:
        names.append(Path(file.name).name)  # type: ignore[attr-defined]
        return digest(file, algorithm)  # type: ignore[arg-type]

    monkeypatch.setattr(hashlib, "file_digest", noted)
    return names


def written(path: Path, content: bytes, *, seconds_ago: int = 60) -> Path:
    path.write_bytes(content)
    then = path.stat().st_mtime_ns - seconds_ago * 10**9
    os.utime(path, ns=(then, then))
    return path


def test_a_file_is_read_once_until_it_is_written(tmp_path: Path, read: list[str]) -> None:
    path = written(tmp_path / "a", b"one")

    assert {file_digest(path) for _ in range(3)} == {hashlib.sha256(b"one").hexdigest()}
    assert read == ["a"]

    written(path, b"two", seconds_ago=30)
    assert file_digest(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_put_in_its_place_is_read(tmp_path: Path) -> None:
    path = written(tmp_path / "a", b"one")
    file_digest(path)
    other = tmp_path / "b"
    other.write_bytes(b"two")
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)

    other.replace(path)

    assert file_digest(path) == hashlib.sha256(b"two").hexdigest()


def test_a_file_that_may_be_written_again_within_a_tick_of_the_clock_is_read_again(tmp_path: Path) -> None:
    path = written(tmp_path / "a", b"one", seconds_ago=-60)  # its tick is not over
    before = path.stat().st_mtime_ns
    assert file_digest(path) == hashlib.sha256(b"one").hexdigest()

    path.write_bytes(b"two")
    os.utime(path, ns=(before, before))

    assert file_digest(path) == hashlib.sha256(b"two").hexdigest()


def test_a_run_reads_the_files_that_its_settings_name_once_for_all_slides(
    raw: Callable[..., None], analytic: Callable[..., Path], tmp_path: Path, read: list[str]
) -> None:
    raw("weighed_plugin", STEP)
    weights = written(tmp_path / "weights", b"1 2 3")
    table = {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "sink": [{"use": "raw"}]}
    steps = {"filter": [{"use": "weighed", "weights": str(weights)}]}

    run_pipeline(
        pipeline_from_table({**table, **steps}, where="test"), [analytic(name) for name in "abc"], tmp_path / "out"
    )

    assert read == ["weights"]
