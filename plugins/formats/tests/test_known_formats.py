"""What the core is told of formats: each as the contract says, and what is special about it."""

from __future__ import annotations

import struct
from pathlib import Path

from slideloom_formats.known import Czi, Dicom, ISyntax, Mirax, OmeZarr, Picture, Tiff, Vms, Vsi
from slideloom_testing.contracts import FormatContract


class TestMirax(FormatContract):
    format = Mirax()


class TestVms(FormatContract):
    format = Vms()


class TestVsi(FormatContract):
    format = Vsi()


class TestISyntax(FormatContract):
    format = ISyntax()


class TestOmeZarr(FormatContract):
    format = OmeZarr()


class TestDicom(FormatContract):
    format = Dicom()


class TestCzi(FormatContract):
    format = Czi()


class TestTiff(FormatContract):
    format = Tiff()


class TestPicture(FormatContract):
    format = Picture()


def tiff_of(path: Path, *, compression: int) -> Path:
    """A TIFF of one pixel in some compression, as far as its directory goes."""
    tags = {256: 1, 257: 1, 258: 8, 259: compression, 262: 1, 273: 8, 277: 1, 278: 1, 279: 1}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    path.write_bytes(b"II*\0" + struct.pack("<IIH", 12, 0, len(tags)) + entries + bytes(4))
    return path


def test_the_compression_of_a_tiff_is_named_and_what_reads_it_unless_that_was_asked(tmp_path: Path) -> None:
    path = tiff_of(tmp_path / "a.tif", compression=50002)

    converted = "convert it to JPEG (QuPath, bfconvert)"
    installed = "pip install slideloom-tifffile, which reads most compressions"
    assert Tiff().advice(path, ["tiff", "vips"]) == f"it is a TIFF in JPEG XL (50002): {installed}, or {converted}"
    assert Tiff().advice(path, ["tifffile"]) == f"it is a TIFF in JPEG XL (50002): {converted}"
