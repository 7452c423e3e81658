"""Which files a slide has, and that a change in any of them is seen."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from slideloom.slides.slide_files import files_of, fingerprint


def rewritten(path: Path, content: bytes) -> None:
    """Other content, and the same size and time of change: only what is read can tell."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def dicom(path: Path, series: bytes, *, content: bytes = b"", explicit: bool = True) -> Path:
    length = len(series).to_bytes(2 if explicit else 4, "little")
    path.write_bytes(
        bytes(128) + b"DICM" + b"\x20\x00\x0e\x00" + (b"UI" if explicit else b"") + length + series + content
    )
    return path


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


def test_mirax_data_belong_to_the_slide(tmp_path: Path) -> None:
    path, data = tmp_path / "a.mrxs", tmp_path / "a" / "Data0000.dat"
    data.parent.mkdir()
    path.write_bytes(b"jpeg")
    data.write_bytes(b"1" * 1000)
    before = fingerprint(path)

    rewritten(data, b"2" * 1000)

    assert files_of(path) == [path, data]
    assert fingerprint(path) != before


def test_the_images_that_a_vms_file_names_belong_to_the_slide(tmp_path: Path) -> None:
    path = tmp_path / "a.vms"
    path.write_text(
        "[Virtual Microscope Specimen]\nNoLayers=1\nImageFile=a.jpg\nImageFile(1,0)=a(1,0).jpg\nMapFile=gone\n"
    )
    images = [tmp_path / "a.jpg", tmp_path / "a(1,0).jpg"]
    for image in images:
        image.write_bytes(b"1")
    (tmp_path / "other.jpg").write_bytes(b"1")

    assert files_of(path) == [path, *images]


@pytest.mark.parametrize("explicit", [True, False])
def test_dicom_files_of_one_series_are_one_slide(tmp_path: Path, explicit: bool) -> None:
    first = dicom(tmp_path / "1.dcm", b"1.2.3", explicit=explicit)
    second = dicom(tmp_path / "2.dcm", b"1.2.3", explicit=explicit)
    dicom(tmp_path / "3.dcm", b"1.2.34", explicit=explicit)
    (tmp_path / "4.dcm").write_bytes(b"not DICOM")
    before = fingerprint(first)

    rewritten(second, second.read_bytes()[:-1] + b"4")  # of another series now

    assert files_of(second) == [second]
    assert fingerprint(first) != before


def test_a_folder_is_all_it_holds(tmp_path: Path) -> None:
    chunk = tmp_path / "a.zarr" / "0" / "1"
    chunk.parent.mkdir(parents=True)
    chunk.write_bytes(b"1")
    before = fingerprint(tmp_path / "a.zarr")

    rewritten(chunk, b"2")

    assert files_of(tmp_path / "a.zarr") == [chunk]
    assert fingerprint(tmp_path / "a.zarr") != before
