"""DICOM files by OpenSlide whose frames are not where their offset table says: libdicom would end the process."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from slideloom import Point, Size, SlideError
from slideloom_openslide import OpenSlideReader
from slideloom_testing.dicom import write_dicom

pydicom = pytest.importorskip("pydicom")
imagecodecs = pytest.importorskip("imagecodecs")


@pytest.fixture
def slide_path(tmp_path: Path) -> Path:
    """Four frames of 64 x 64 pixels in JPEG 2000, with an offset table."""
    picture = np.random.default_rng(0).integers(0, 255, (128, 128, 3)).astype(np.uint8)
    path = write_dicom(tmp_path / "a.dcm", picture)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.90"
    tiles = [np.ascontiguousarray(picture[y : y + 64, x : x + 64]) for y in (0, 64) for x in (0, 64)]
    frames = [bytes(imagecodecs.jpeg2k_encode(tile, codecformat="j2k")) for tile in tiles]
    dataset.PixelData = pydicom.encaps.encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path)
    return path


def test_a_whole_table_is_no_obstacle(slide_path: Path) -> None:
    reader = OpenSlideReader().build()

    assert reader.recognises(slide_path)
    assert reader.refusal(slide_path) is None
    with reader.open(slide_path) as slide:
        assert slide.read(Point(64, 64), 0, Size(64, 64)).std() > 50


@pytest.mark.parametrize("place", [2**31, 20_001], ids=["beyond the file", "beside a frame"])
def test_a_table_that_points_beside_a_frame_is_refused(slide_path: Path, place: int) -> None:
    content = bytearray(slide_path.read_bytes())
    table = content.index(b"\xfe\xff\x00\xe0" + (16).to_bytes(4, "little")) + 8
    content[table + 12 : table + 16] = place.to_bytes(4, "little")
    slide_path.write_bytes(content)
    reader = OpenSlideReader().build()

    assert not reader.recognises(slide_path)
    with pytest.raises(SlideError, match=r"frame 4 is not at byte \d+, where its offset table says.*copy it again"):
        reader.open(slide_path)


def test_a_file_that_is_cut_short_is_refused(slide_path: Path) -> None:
    slide_path.write_bytes(slide_path.read_bytes()[:-20_000])
    reader = OpenSlideReader().build()

    assert not reader.recognises(slide_path)
    with pytest.raises(SlideError, match=r"frame \d is not at byte \d+.*cut short"):
        reader.open(slide_path)


def test_a_file_without_its_table_says_so(slide_path: Path) -> None:
    content = bytearray(slide_path.read_bytes())
    table = content.index(b"\xfe\xff\x00\xe0" + (16).to_bytes(4, "little"))
    content[table : table + 4] = bytes(4)
    slide_path.write_bytes(content)

    assert "do not begin with an offset table" in str(OpenSlideReader().build().refusal(slide_path))
