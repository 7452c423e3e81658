"""Bytes that came into a file of frames without marks, and tiles that a directory has lost, are refused by name."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pylibCZIrw import czi
from slideloom import Rgb, SlideError, Slides, UnsupportedSlide, open_slide
from slideloom_formats.czi_files import czi_fault
from slideloom_formats.dicom import native_fault
from slideloom_testing.dicom import write_dicom

_PIXELS = struct.pack("<HH", 0x7FE0, 0x0010) + b"OW\0\0"
PADDING = struct.pack("<HH2s2sI", 0xFFFC, 0xFFFC, b"OB", b"\0\0", 8) + bytes(8)


def picture() -> Rgb:
    return np.random.default_rng(3).integers(0, 255, (130, 200, 3), np.uint8)


def with_inserted(content: bytes, frame_byte: int, inserted: bytes) -> bytes:
    at = content.index(_PIXELS) + 12 + frame_byte
    return content[:at] + inserted + content[at:]


def with_length(content: bytes, change: int) -> bytes:
    """The file with another number of bytes said to be pixels."""
    at = content.index(_PIXELS) + 8
    return content[:at] + struct.pack("<I", struct.unpack("<I", content[at : at + 4])[0] + change) + content[at + 4 :]


@pytest.mark.parametrize("reader", ["dicom", "openslide", None])
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda content: with_inserted(content, 0, b"\x01"), "1 bytes behind its pixels are no data elements"),
        (lambda content: with_inserted(content, 5000, bytes(4)), "4 bytes behind its pixels are no data elements"),
        (lambda content: with_inserted(content, 5000, bytes(range(256)) * 16), "4096 bytes behind its pixels"),
        (lambda content: content + b"\0", "1 bytes behind its pixels"),
        (lambda content: content[:-100] , "its pixels end at byte"),
        (lambda content: with_length(content, -12288), r"its pixels take \d+ bytes, and 12 frames"),
        (lambda content: with_length(content + bytes(12288), 12288), r"its pixels take \d+ bytes, and 12 frames"),
    ],
    ids=["one byte", "four", "many", "at the end", "cut", "a frame less", "a frame more"],
)  # fmt: skip
def test_frames_that_would_be_shown_shifted_are_refused(
    tmp_path: Path, change: Callable[[bytes], bytes], said: str, reader: str | None
) -> None:
    path = write_dicom(tmp_path / "a.dcm", picture())
    open_slide(path, slides=Slides(reader=reader)).close()

    path.write_bytes(change(path.read_bytes()))

    with pytest.raises(SlideError, match=rf"a\.dcm.*{said}.*copy it again"):
        open_slide(path, slides=Slides(reader=reader))


def test_elements_may_follow_the_pixels(tmp_path: Path) -> None:
    path = write_dicom(tmp_path / "a.dcm", picture())
    path.write_bytes(path.read_bytes() + PADDING)

    assert native_fault(path) is None
    with open_slide(path) as slide:
        assert np.array_equal(slide.read_at(slide.info.box, slide.info.size), picture())


def write_czi(path: Path) -> Path:
    with czi.create_czi(str(path), compression_options="uncompressed:") as document:
        for x in range(0, 400, 100):
            document.write(data=np.full((100, 100, 3), x // 2, np.uint8), location=(x, 0), scene=0)
        document.write_metadata("slide", scale_x=0.25e-6, scale_y=0.25e-6)
    return path


def directory_of(content: bytes | bytearray) -> int:
    return int(struct.unpack_from("<q", content, 32 + 52)[0]) + 32


def entry_of(content: bytes | bytearray, number: int) -> int:
    """Where a directory entry begins; those of a file have the same axes."""
    at = directory_of(content) + 128
    axes: int = struct.unpack_from("<i", content, at + 28)[0]
    return at + number * (32 + 20 * axes)


def axis_of(content: bytes | bytearray, number: int, axis: bytes) -> int:
    at = entry_of(content, number) + 32
    while content[at : at + 1] != axis:
        at += 20
    return at


def fewer(content: bytearray) -> None:
    struct.pack_into("<i", content, directory_of(content), 3)


def elsewhere(content: bytearray) -> None:
    struct.pack_into("<i", content, axis_of(content, 1, b"X") + 4, 300)


def in_a_billion_channels(content: bytearray) -> None:
    struct.pack_into("<i", content, axis_of(content, 1, b"C") + 4, 1_000_000_000)


def stored_larger(content: bytearray) -> None:
    struct.pack_into("<i", content, axis_of(content, 1, b"X") + 16, 200)


def axes_in_its_copy(content: bytearray) -> None:
    at = struct.unpack_from("<q", content, entry_of(content, 1) + 6)[0]
    struct.pack_into("<i", content, at + 32 + 16 + 28, 1_000_000_000)  # libCZI ends the process for it


def axes_in_the_directory(content: bytearray) -> None:
    struct.pack_into("<i", content, entry_of(content, 1) + 28, 1_000_000_000)


def beyond_a_broken_chain(content: bytearray) -> None:
    elsewhere(content)
    struct.pack_into("<q", content, 16, 1 << 40)  # the room of the first segment


def before_the_file(content: bytearray) -> None:
    struct.pack_into("<q", content, entry_of(content, 1) + 6, -1)


def twice(content: bytearray) -> None:
    one, other = entry_of(content, 1), entry_of(content, 2)
    content[other : other + (other - one)] = content[one:other]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (fewer, "its directory lists 3 tiles and 1 more are stored"),
        (twice, "its directory lists 3 tiles and 1 more are stored"),
        (elsewhere, "its directory and the tile at byte .* differ on where that lies"),
        (in_a_billion_channels, "its directory and the tile at byte .* differ on where that lies"),
        (stored_larger, "its directory and the tile at byte .* differ on .* how large it is stored"),
        (before_the_file, "the tile at byte -1 does not begin as a tile"),
        (axes_in_the_directory, "its directory holds what is no entry of a tile"),
        (beyond_a_broken_chain, "its directory and the tile at byte .* differ on where that lies"),
        (axes_in_its_copy, "the tile at byte .* does not begin as a tile"),
    ],
)
def test_a_tile_that_the_directory_of_a_czi_has_lost_is_no_background(
    tmp_path: Path, change: Callable[[bytearray], None], said: str
) -> None:
    path = write_czi(tmp_path / "a.czi")
    assert czi_fault(path) is None
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)

    for reader in ("czi", None):
        with pytest.raises(SlideError, match=rf"a\.czi: {said}.*copy it again") as raised:
            open_slide(path, slides=Slides(reader=reader))
        assert not isinstance(raised.value, UnsupportedSlide)


def test_what_is_no_czi_has_no_fault_of_one(tmp_path: Path) -> None:
    path = tmp_path / "a.czi"
    for content in (b"", b"ZISRAWFILE", b"ZISRAWFILE" + bytes(600), b"ZISRAWFILE" + b"\xff" * 600):
        path.write_bytes(content)
        assert czi_fault(path) is None
    assert czi_fault(tmp_path) is None
    assert czi_fault(tmp_path / "none.czi") is None


def test_a_czi_of_a_billion_channels_is_refused_at_once(tmp_path: Path) -> None:
    path = write_czi(tmp_path / "a.czi")
    content = bytearray(path.read_bytes())
    in_a_billion_channels(content)
    at = axis_of(content, 1, b"C") + 4  # also in the tile's own copy of its entry
    (tile,) = struct.unpack_from("<q", content, entry_of(content, 1) + 6)
    struct.pack_into("<i", content, tile + 48 + at - entry_of(content, 1), 1_000_000_000)
    path.write_bytes(content)
    assert czi_fault(path) is None

    with pytest.raises(SlideError, match=r"a\.czi: says that it has 100000000\d channels; it is damaged"):
        open_slide(path, slides=Slides(reader="czi"))
