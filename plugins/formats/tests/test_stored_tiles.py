"""Deflate streams that libtiff takes for whole."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

import pytest
from slideloom_formats.tiff import (
    StoredTiles,
    TiffDirectory,
    TiffError,
    TiffTag,
    check_tile_places,
    deflate_check,
    lacks_tiles,
    stored_tiles,
)
from slideloom_formats.tiff.stored_tiles import deflate_fault

PIXELS = zlib.compress(bytes(16))


def directory(**values: int | tuple[int, ...]) -> TiffDirectory:
    """An image of 4 x 4 grey pixels in one tile or strip."""
    tags = {"WIDTH": 4, "HEIGHT": 4, "BITS": 8, "COMPRESSION": 8, "SAMPLES": 1, **values}
    many = {name: value if isinstance(value, tuple) else (value,) for name, value in tags.items()}
    raw = {int(TiffTag[name]): (17, struct.pack(f"<{len(value)}q", *value)) for name, value in many.items()}
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


YCBCR = {"PHOTOMETRIC": 6, "SAMPLES": 3}


@pytest.mark.parametrize(
    ("how", "needed"),
    [
        ({}, 16),
        ({"SAMPLES": 3}, 48),
        ({"SAMPLES": 3, "PLANAR": 2, "TILE_OFFSETS": (0, 0, 0), "TILE_BYTES": (16, 16, 16)}, 16),
        (YCBCR, 24),  # four blocks of four values of luma and two of chroma
        ({**YCBCR, "SUBSAMPLING": (2, 1)}, 32),
        ({**YCBCR, "SUBSAMPLING": (1, 1)}, 48),
    ],
    ids=["grey", "RGB", "planes", "YCbCr", "YCbCr 2 x 1", "YCbCr 1 x 1"],
)
def test_a_tile_that_is_not_compressed_has_as_many_bytes_as_its_pixels_take(
    tmp_path: Path, how: dict[str, int | tuple[int, ...]], needed: int
) -> None:
    """libtiff reads that many whatever the file says: the bytes of a JPEG are then shown as noise."""
    path = tmp_path / "a.tif"
    path.write_bytes(bytes(64))
    plain: dict[str, int | tuple[int, ...]] = {"COMPRESSION": 1, "TILE_WIDTH": 4, "TILE_HEIGHT": 4, "TILE_OFFSETS": 0}

    def fault(length: int) -> str | None:
        image = directory(**{**plain, "TILE_BYTES": length, **({} if "PLANAR" in how else how)})
        if "PLANAR" in how:
            image = directory(**{**plain, **how, "TILE_BYTES": (16, length, 16)})
        tiles = stored_tiles(path, image)
        assert tiles is not None
        return tiles.fault(x=0, y=0, width=4, height=4)

    assert fault(needed) is None
    assert fault(needed + 1) is None
    assert fault(0) is None  # never written
    assert f"it has {needed - 1} of {needed} bytes" in str(fault(needed - 1))


def test_a_chroma_that_no_number_of_pixels_shares_is_an_error(tmp_path: Path) -> None:
    image = directory(COMPRESSION=1, **YCBCR, SUBSAMPLING=(0, 2), STRIP_OFFSETS=0, STRIP_BYTES=24)

    with pytest.raises(TiffError, match="chroma for 0 x 2 pixels"):
        stored_tiles(tmp_path / "a.tif", image)


def tiled(side: int, lengths: tuple[int, ...]) -> TiffDirectory:
    """A square image in tiles of 4 x 4."""
    return directory(
        WIDTH=side, HEIGHT=side, TILE_WIDTH=4, TILE_HEIGHT=4, TILE_OFFSETS=(8,) * len(lengths), TILE_BYTES=lengths
    )


@pytest.mark.parametrize(
    ("base", "level", "lacks"),
    [
        ((1,) * 16, (1, 1, 1, 1), False),
        ((1,) * 16, (1, 1, 1, 0), True),
        ((1,) * 10 + (0, 0, 1, 1, 0, 0), (1, 1, 1, 0), False),  # nor does the full image have any there
        ((1,) * 10 + (0, 0, 1, 1, 0, 1), (1, 1, 1, 0), True),
        ((0,) * 16, (1, 0, 0, 0), False),
    ],
)
def test_a_level_lacks_tiles_where_only_the_full_image_has_bytes(
    base: tuple[int, ...], level: tuple[int, ...], lacks: bool
) -> None:
    assert lacks_tiles(tiled(8, level), tiled(16, base)) is lacks


def test_an_image_must_say_where_each_of_its_tiles_is() -> None:
    check_tile_places(tiled(8, (1, 1, 1, 1)))

    with pytest.raises(TiffError, match="has 3 places of tiles"):
        check_tile_places(tiled(8, (1, 1, 1)))
