"""Small TIFF files, byte by byte, and mosaics by libvips."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
import simplejpeg
from slideloom import Rgb

TILE = 64


@attrs.frozen
class TiffLevel:
    """What to write: pixels, and how.

    Attributes:
        rgb: (h, w, 3) uint8.
        rgb_photometric: store R, G and B as they are, instead of YCbCr.
        left_out: numbers of tiles without bytes.
        damaged: numbers of tiles whose bytes are noise.
        description: of the image.
        kind: its subfile type; 1 is a smaller version of another image.
        tags: more tags as (number, type, values).
    """

    rgb: Rgb
    rgb_photometric: bool = False
    left_out: tuple[int, ...] = ()
    damaged: tuple[int, ...] = ()
    description: str = ""
    kind: int = 0
    compression: int = 7
    tags: tuple[tuple[int, int, tuple[int, ...]], ...] = ()


WriteTiff = Callable[..., Path]


@pytest.fixture
def write_tiff(tmp_path: Path) -> WriteTiff:
    """`write_tiff(levels, name=..., order="<", big=False)` writes a tiled JPEG TIFF and returns its path."""

    def write(levels: Sequence[TiffLevel], name: str = "a.tif", *, order: str = "<", big: bool = False) -> Path:
        path = tmp_path / name
        path.write_bytes(tiff_bytes(levels, order=order, big=big))
        return path

    return write


@pytest.fixture
def level() -> type[TiffLevel]:
    """`TiffLevel`."""
    return TiffLevel


@pytest.fixture
def picture() -> Rgb:
    """(150, 200, 3) uint8, smooth and coloured, no multiple of the tile size."""
    return waves(150, 200, wavelength=144)


@pytest.fixture
def large_picture() -> Rgb:
    """(1150, 1200, 3) uint8, so smooth that a sixteenth of it still is."""
    return waves(1150, 1200, wavelength=900)


def waves(height: int, width: int, *, wavelength: float) -> Rgb:
    """Three channels of waves."""
    y, x = np.mgrid[:height, :width] * (2 * np.pi / wavelength)
    channels = [128 + 100 * np.sin(x + k) * np.cos(y * 1.2 + k) for k in range(3)]
    return np.stack(channels, axis=-1).astype(np.uint8)


def jpeg_tiles(level: TiffLevel) -> list[bytes]:
    """The tiles of a level in TIFF order, padded with their edge."""
    height, width = level.rgb.shape[:2]
    columns, rows = -(-width // TILE), -(-height // TILE)
    padded = np.pad(level.rgb, ((0, rows * TILE - height), (0, columns * TILE - width), (0, 0)), mode="edge")
    tiles = []
    for number in range(columns * rows):
        y, x = number // columns * TILE, number % columns * TILE
        tile = np.ascontiguousarray(padded[y : y + TILE, x : x + TILE])
        tiles.append(_jpeg(tile, as_rgb=level.rgb_photometric))
    for number in level.left_out:
        tiles[number] = b""
    for number in level.damaged:
        tiles[number] = tiles[number][:200] + bytes(range(256)) * 2
    return tiles


def _jpeg(tile: Rgb, *, as_rgb: bool) -> bytes:
    if not as_rgb:
        return simplejpeg.encode_jpeg(tile, quality=90, colorspace="RGB", colorsubsampling="420")
    import imagecodecs

    encoded: bytes = imagecodecs.jpeg8_encode(tile, level=90, colorspace="RGB", outcolorspace="RGB")
    return _without_adobe(encoded)


def _without_adobe(jpeg: bytes) -> bytes:
    """Scanners leave the marker out that says RGB: TIFF's photometric tag says it."""
    at = jpeg.find(b"\xff\xee")
    if at < 0:
        return jpeg
    (length,) = struct.unpack(">H", jpeg[at + 2 : at + 4])
    return jpeg[:at] + jpeg[at + 2 + length :]


def tiff_bytes(levels: Sequence[TiffLevel], *, order: str, big: bool) -> bytes:
    """A TIFF of these levels, one directory each, tiles first."""
    offset_type = 16 if big else 4
    body = bytearray(b"II" if order == "<" else b"MM")
    body += struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    link = 8 if big else 4
    for level in levels:
        tiles = jpeg_tiles(level)
        offsets = []
        for tile in tiles:
            offsets.append(len(body) if tile else 0)
            body += tile
        height, width = level.rgb.shape[:2]
        tags: list[tuple[int, int, Any]] = [
            (254, 4, (level.kind,)), (256, 4, (width,)), (257, 4, (height,)), (258, 3, (8, 8, 8)),
            (259, 3, (level.compression,)), (262, 3, (2 if level.rgb_photometric else 6,)), (277, 3, (3,)),
            (284, 3, (1,)), (322, 3, (TILE,)), (323, 3, (TILE,)),
            (324, offset_type, tuple(offsets)), (325, offset_type, tuple(map(len, tiles))), *level.tags,
        ]  # fmt: skip
        if level.description:
            tags.append((270, 2, level.description.encode() + b"\0"))
        link = _append_directory(body, sorted(tags, key=lambda tag: tag[0]), order=order, big=big, link=link)
    return bytes(body)


def _append_directory(
    body: bytearray, tags: Sequence[tuple[int, int, Any]], *, order: str, big: bool, link: int
) -> int:
    """Add a directory and its values; returns where the link to the next one is."""
    letters = {2: "s", 3: "H", 4: "I", 5: "I", 16: "Q"}
    word, room = ("Q", 8) if big else ("I", 4)
    entries = b""
    for number, kind, values in tags:
        if kind == 2:
            raw, count = values, len(values)
        else:
            raw = struct.pack(f"{order}{len(values)}{letters[kind]}", *values)
            count = len(values) // (2 if kind == 5 else 1)
        if len(raw) > room:
            place = struct.pack(order + word, len(body))
            body += raw
        else:
            place = raw.ljust(room, b"\0")
        entries += struct.pack(order + "HH" + word, number, kind, count) + place
    body[link : link + room] = struct.pack(order + word, len(body))
    body += struct.pack(order + ("Q" if big else "H"), len(tags)) + entries
    body += bytes(room)
    return len(body) - room
