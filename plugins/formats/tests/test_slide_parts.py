"""Slides of several files: which they are, and what is said where some are missing."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
import pytest
from slideloom.planning.slide_files import files_of, fingerprint
from slideloom_formats.files_beside import missing_part
from slideloom_testing.dicom import Instance, reference_to, write_dicom

PLAIN = np.full((40, 50, 3), 200, np.uint8)


def rewritten(path: Path, content: bytes) -> None:
    """Other content, and the same size and time of change: only what is read can tell."""
    before = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


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


def test_dicom_files_of_one_series_are_one_slide_whatever_they_are_called(tmp_path: Path) -> None:
    first = write_dicom(tmp_path / "1.dcm", PLAIN, Instance(series="1.2.3", number=1))
    second = write_dicom(tmp_path / "2", PLAIN, Instance(series="1.2.3", number=2, kind="LABEL"))
    write_dicom(tmp_path / "3.dcm", PLAIN, Instance(series="1.2.34", number=3))
    (tmp_path / "4.dcm").write_bytes(b"not DICOM")
    before = fingerprint(first)

    assert files_of(first) == [first, second]
    rewritten(second, second.read_bytes().replace(b"1.2.3\0", b"1.2.4\0"))  # of another series now

    assert files_of(second) == [second]
    assert fingerprint(first) != before


def test_a_series_that_a_dicom_file_refers_to_is_not_its_own(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "1.dcm", PLAIN, Instance(series="1.2.3", before=(reference_to("1.2.4"),)))
    write_dicom(tmp_path / "2.dcm", PLAIN, Instance(series="1.2.4"))

    assert files_of(path) == [path]


@pytest.mark.parametrize(
    ("name", "beside", "words"),
    [
        ("a.mrxs", [], "its data folder a with Slidedat.ini is not beside it"),
        ("a.vsi", [], "_a_, which is not beside it"),
        ("a.vsi", ["_a_/stack1/frame_t.ets"], "_a_, and no reader takes them"),
        ("a.vms", ["a(0,0).jpg"], r"1 of the files that it names are not beside it, such as a\(1,0\).jpg"),
        ("a.mrxs", ["a/Slidedat.ini"], None),
        ("a.vms", ["a(0,0).jpg", "a(1,0).jpg"], None),
        ("a.svs", [], None),
    ],
)
def test_a_slide_without_the_files_that_hold_its_pixels_is_told(
    tmp_path: Path, name: str, beside: list[str], words: str | None
) -> None:
    (tmp_path / name).write_text("ImageFile(0,0)=a(0,0).jpg\nImageFile(1,0)=a(1,0).jpg\nOptimisationFile=a.opt\n")
    for other in beside:
        (tmp_path / other).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / other).touch()

    found = missing_part(tmp_path / name)

    assert (found is None) if words is None else (found is not None and re.search(words, found))
