"""States of files."""

from __future__ import annotations

import os
from pathlib import Path

from slideloom import FileState


def test_a_file_has_the_same_state_by_any_name_until_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("one")
    before = FileState.of(path)

    assert FileState.of(tmp_path / ".." / tmp_path.name / "a.csv") == before
    os.utime(path, ns=(0, before.changed_ns + 1))
    assert FileState.of(path) != before
    path.write_text("longer")
    os.utime(path, ns=(0, before.changed_ns))
    assert FileState.of(path) != before


def test_a_missing_file_has_a_state_too(tmp_path: Path) -> None:
    assert FileState.of(tmp_path / "none") == FileState(tmp_path.resolve() / "none", 0, 0)


def test_another_file_in_its_place_has_another_state_though_size_and_time_are_the_same(tmp_path: Path) -> None:
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("one")
    other.write_text("two")
    before = FileState.of(path)
    os.utime(other, ns=(0, before.changed_ns))

    other.replace(path)

    assert FileState.of(path) != before
