"""Deflate streams that libtiff takes for whole."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest
from slideloom.slides.stored_tiles import StoredTiles, deflate_check, deflate_fault
from slideloom.slides.tiff_directories import TiffDirectory, TiffTag

PIXELS = zlib.compress(bytes(16))


def directory(**values: int) -> TiffDirectory:
    """An image of 4 x 4 grey pixels in one tile or strip."""
    tags = {"WIDTH": 4, "HEIGHT": 4, "BITS": 8, "COMPRESSION": 8, "SAMPLES": 1, **values}
    raw = {int(TiffTag[name]): (17, struct.pack("<q", value)) for name, value in tags.items()}
    return TiffDirectory(at=8, next_at=0, present=frozenset(raw), values=raw, order="<")


@pytest.mark.parametrize(
    ("offset", "length", "words"),
    [
        (0, len(PIXELS), None),
        (0, 0, None),  # never written
        (0, len(PIXELS) - 6, "tile 0: its deflate stream"),
        (-1, 5, "tile 0: it claims 5 bytes from -1 on"),
        (0, -5, "claims -5 bytes"),
        (0, 2**40, "but the file ends at"),
    ],
)
def test_a_tile_is_read_from_its_place_and_no_impossible_place_is_believed(
    tmp_path: Path, offset: int, length: int, words: str | None
) -> None:
    path = tmp_path / "a.tif"
    path.write_bytes(PIXELS)
    image = directory(TILE_WIDTH=4, TILE_HEIGHT=4, TILE_OFFSETS=offset, TILE_BYTES=length)
    check = deflate_check(image)
    assert check is not None

    found = StoredTiles(path, image, check).fault(x=1, y=1, width=2, height=2)

    assert (found is None) if words is None else (found is not None and words in found)


CONTENT = bytes(range(256)) * 16
STREAM = zlib.compress(CONTENT)


@pytest.mark.parametrize(
    ("stream", "needed", "words"),
    [
        (STREAM, len(CONTENT), None),
        (STREAM[:-4], len(CONTENT), None),  # without checksum, as some writers leave it
        (STREAM[:-1] + bytes([STREAM[-1] ^ 1]), len(CONTENT), "incorrect data check"),
        (STREAM, len(CONTENT) - 1, "more than 4095 bytes"),
        (STREAM, len(CONTENT) + 1, "ends after 4096 of 4097 bytes"),
        (STREAM[:40], len(CONTENT), r"ends after \d+ of 4096 bytes"),
        (b"", len(CONTENT), "ends after 0 of 4096"),
        (b"\x55" * 100, len(CONTENT), "is damaged"),
    ],
    ids=["whole", "no checksum", "wrong checksum", "longer", "shorter", "cut", "empty", "something else"],
)
def test_what_is_wrong_with_a_stream_is_told(stream: bytes, needed: int, words: str | None) -> None:
    found = deflate_fault(stream, needed)

    assert (found is None) if words is None else (found is not None and re.search(words, found))
