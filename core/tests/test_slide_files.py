"""Which files a slide has, and that a change in any of them is seen."""

from __future__ import annotations

import os
from pathlib import Path

from slideloom.planning.slide_files import files_of, fingerprint


def rewritten(path: Path, content: bytes) -> None:
    """Other content, and the same size and time of change: only what is read can tell."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_file_that_was_repaired_in_its_middle_is_seen_as_changed(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(bytes(65536) + b"1" * 10**6 + bytes(65536))
    before = fingerprint(path)

    rewritten(path, bytes(65536) + b"2" * 10**6 + bytes(65536))

    assert fingerprint(path) != before


def test_a_file_written_again_is_seen_as_changed_by_its_time(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(bytes(1000))
    before = fingerprint(path)

    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1_000_000_000))

    assert fingerprint(path) != before


def test_a_file_left_alone_has_the_same_fingerprint(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    path.write_bytes(os.urandom(300_000))

    assert fingerprint(path) == fingerprint(path)


def test_a_folder_is_all_it_holds(tmp_path: Path) -> None:
    chunk = tmp_path / "a.zarr" / "0" / "1"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"1")
    before = fingerprint(tmp_path / "a.zarr")

    rewritten(chunk, b"2")

    assert files_of(tmp_path / "a.zarr") == [chunk]
    assert fingerprint(tmp_path / "a.zarr") != before
