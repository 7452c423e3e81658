"""The reader passes its contract, tolerates small faults, and gives away no patient's name."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from slideloom import WSI, Point, Rgb, Size, SlideError, open_slide
from slideloom_cli.main import main
from slideloom_hospital import Hospital
from slideloom_testing import ReaderContract, stained

SIDE, SIZE, BARCODE = 128, Size(600, 500), "7F3A21"


def write_scan(archive: Path) -> Path:
    """A slide of 600 x 500 pixels as the scanner leaves it."""
    folder = archive / BARCODE
    folder.mkdir()
    rgb = stained(SIZE)
    for row in range(-(-SIZE.height // SIDE)):
        for column in range(-(-SIZE.width // SIDE)):
            part = rgb[row * SIDE : (row + 1) * SIDE, column * SIDE : (column + 1) * SIDE]
            cv2.imwrite(str(folder / f"r{row:03d}_c{column:03d}.png"), cv2.cvtColor(part, cv2.COLOR_RGB2BGR))
    facts = {"patient": "Erika Mustermann", "mpp": 0.5, "width": SIZE.width, "height": SIZE.height, "tile_px": SIDE}
    (archive / "scans.json").write_text(json.dumps({BARCODE: facts}), encoding="utf-8")
    return folder


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    return write_scan(tmp_path)


class TestHospital(ReaderContract):
    settings = Hospital()

    @pytest.fixture(autouse=True)
    def folder(self, tmp_path_factory: pytest.TempPathFactory) -> None:
        self.slide_path = write_scan(tmp_path_factory.mktemp("archive"))


def test_pixels_are_those_of_the_tiles(scan: Path) -> None:
    with open_slide(scan) as slide:
        assert slide.info.mpp is not None
        assert (slide.info.reader, slide.info.name, slide.info.mpp.mean) == ("hospital", BARCODE, 0.5)
        found: Rgb = slide.read(Point(0, 0), 0, SIZE)

    assert np.array_equal(found, stained(SIZE))


def test_a_damaged_tile_costs_what_touches_it(scan: Path) -> None:
    (scan / "r001_c001.png").write_bytes(b"\x89PNG")

    with open_slide(scan) as slide:
        slide.read(Point(300, 0), 0, Size(100, 100))
        with pytest.raises(SlideError, match=r"r001_c001.png is damaged"):
            slide.read(Point(100, 100), 0, Size(100, 100))


def test_a_tile_that_was_not_scanned_is_background(scan: Path) -> None:
    (scan / "r000_c000.png").unlink()

    with open_slide(scan) as slide:
        assert (slide.read(Point(0, 0), 0, Size(128, 128)) == 255).all()


def test_no_name_leaves_the_archive(scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["extract", scan, "--tile-px", "100", "--tile-um", "50", "--filter", "none", "--out", tmp_path / "out"]
    assert main([str(word) for word in words]) == 0
    assert len(list(WSI(scan, tile_px=100, tile_um=50))) == 30
    (tmp_path / "scans.json").write_text('{"7F3A21": {"patient": "Erika Mustermann", "mpp": "Mustermann"}}')
    assert main(["info", "--reader", "hospital", "--properties", str(scan)]) == 1

    said = "".join(capsys.readouterr())
    written = b"".join(path.read_bytes() for path in (tmp_path / "out").rglob("*") if path.is_file())
    assert "Mustermann" not in said
    assert b"Mustermann" not in written
