"""TIFF files that end before their directories."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from slideloom_formats.tiff import is_cut_tiff


def tiff(*, order: str, is_big: bool, directories: int = 2, last: int = 0) -> bytes:
    """Directories of one entry each, one after the other; `last` is where the last one says the next one is."""
    mark = b"II" if order == "<" else b"MM"
    if is_big:
        head, offset, count, entry = struct.pack(order + "HHHQ", 43, 8, 0, 16), "Q", "Q", 20
    else:
        head, offset, count, entry = struct.pack(order + "HI", 42, 16), "I", "H", 12
    content = (mark + head).ljust(16, b"\0")
    size = struct.calcsize(count) + entry + struct.calcsize(offset)
    for number in range(directories):
        following = 16 + (number + 1) * size if number + 1 < directories else last
        content += struct.pack(order + count, 1) + bytes(entry) + struct.pack(order + offset, following)
    return content


forms = pytest.mark.parametrize(
    ("order", "is_big"), [("<", False), (">", False), ("<", True)], ids=["little", "big-endian", "BigTIFF"]
)


@forms
def test_a_file_that_ends_anywhere_within_its_directories_is_cut(order: str, is_big: bool, tmp_path: Path) -> None:
    whole = tiff(order=order, is_big=is_big)
    path = tmp_path / "a.tif"
    found = []
    for length in range(16, len(whole) + 1):
        path.write_bytes(whole[:length])
        found.append(is_cut_tiff(path))

    assert found == [True] * (len(whole) - 16) + [False]


@forms
def test_an_offset_that_no_file_can_have_is_a_cut_and_no_crash(order: str, is_big: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(order=order, is_big=is_big, last=2**64 - 1 if is_big else 2**32 - 1))

    assert is_cut_tiff(path)


def test_directories_in_a_circle_end(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(order="<", is_big=False, last=16))

    assert not is_cut_tiff(path)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"\x89PNG" + bytes(60), b"II\x07\0" + bytes(60)])
def test_other_files_are_not_cut(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(content)

    assert not is_cut_tiff(path)
    assert not is_cut_tiff(tmp_path / "missing.tif")
