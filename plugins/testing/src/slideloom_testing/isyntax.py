"""Philips iSyntax files of known pixels: header, seek table, and code blocks of wavelet coefficients without loss.

A file holds, behind an XML header, the coefficients of an integer wavelet transform (Le Gall 5/3) of the colours in
YCoCg-R. Blocks of 128 x 128 coefficients are stored plane by plane of their bits, in Huffman codes and runs of zeros.

Source: Philips, "Pathology iSyntax image format" (header, seek table, code blocks); Le Gall and Tabatabai 1988 (5/3);
Malvar and Sullivan 2003 (YCoCg-R); what libisyntax reads.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from slideloom_testing.isyntax_blocks import BLOCK, encoded

_PAD = 3  # pixels that the transform needs at each side of each level
_CHUNK_LEVELS = 3  # levels whose code blocks of one place are stored together

Plane = NDArray[np.int32]


@frozen
class MadeISyntax:
    """What to write.

    Attributes:
        levels: of the pyramid; the number of times that the transform halves the picture.
        mpp: microns per pixel along x and y, as the header's texts.
        left_out: column and row of tiles of 256 pixels of the coarsest level that are not stored, as scanners do with
            glass.
        without_coarsest: column and row of such tiles of which only the coarsest level is not stored.
        images: JPEG by type, such as LABELIMAGE and MACROIMAGE.
        icc_profile: of the colours, or empty.
        origin: where the header lets its coordinates begin.
        is_nested: what may be of the slide or of its general header is of the latter.
        attributes: of the slide, texts by name, that replace what is written otherwise.
    """

    levels: int = 3
    mpp: tuple[str, str] = ("0.25", "0.25")
    left_out: Collection[tuple[int, int]] = ()
    without_coarsest: Collection[tuple[int, int]] = ()
    images: Mapping[str, bytes] = field(factory=dict)
    icc_profile: bytes = b""
    origin: tuple[int, int] = (-500, 77)
    is_nested: bool = False
    attributes: Mapping[str, str] = field(factory=dict)


def padding(levels: int) -> int:
    """Pixels around the picture at level 0."""
    return (_PAD << levels) - _PAD


def write_isyntax(path: Path, rgb: NDArray[np.uint8], made: MadeISyntax | None = None) -> Path:
    """Write a slide whose level 0 shows `rgb`.

    Args:
        path: of the file.
        rgb: (h, w, 3) uint8.
        made: of which kind.
    """
    return write_coefficients(path, ycocg(rgb), made)


def write_coefficients(path: Path, planes: NDArray[np.int32], made: MadeISyntax | None = None) -> Path:
    """Write a slide of colours that may lie outside of RGB, as those of lossy files do.

    Args:
        path: of the file.
        planes: (3, h, w), Y, Co and Cg of level 0.
        made: of which kind.
    """
    made = made or MadeISyntax()
    height, width = planes.shape[1:]
    coefficients = [
        _transformed(plane, made.levels, beyond=255 if number == 0 else 0) for number, plane in enumerate(planes)
    ]
    blocks = list(_blocks(made, coefficients))
    head = _header(made, width, height, blocks) + b"\r\n\x04"
    table, data = _seek_table(coefficients[0], blocks, len(head))
    path.write_bytes(head + table + data)
    return path


def ycocg(rgb: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(3, h, w): Y, Co and Cg, of which `rgb` comes back without loss."""
    red, green, blue = np.moveaxis(rgb.astype(np.int32), -1, 0)
    orange = red - blue
    rest = blue + (orange >> 1)
    greenness = green - rest
    return np.stack([rest + (greenness >> 1), orange, greenness])


@frozen
class _Block:
    x: int
    y: int
    color: int
    scale: int
    is_low: bool
    values: NDArray[np.int32]  # (1 or 3, BLOCK, BLOCK)


@frozen
class _Level:
    """Coefficients of a level: of its low band, and of the three others, of a multiple of BLOCK along each side."""

    low: Plane
    high: NDArray[np.int32]  # (3, h, w)


def _transformed(plane: NDArray[np.int32], levels: int, *, beyond: int) -> list[_Level]:
    """The levels, the finest first. A low coefficient k lies at pixel 2k + 2 of the level, and a high one at 2k + 1.

    Args:
        plane: (h, w), one colour of the picture.
        levels: how many there are.
        beyond: the value of what fills the last tiles beyond the picture and its padding.
    """
    pad, side = padding(levels), BLOCK << levels
    height, width = (length + 2 * pad for length in plane.shape)
    tall, wide = (-(-length // side) * side for length in (height, width))
    low = np.full((tall, wide), beyond, np.int32)
    low[:height, :width] = np.pad(plane, pad, mode="edge")
    found = []
    for _ in range(levels):
        # Along y first. Rounding makes the order matter.
        (lower, horizontal), (vertical, both) = (_halved(half.T) for half in _halved(low.T))
        found.append(_Level(lower, np.stack([horizontal, vertical, both])))
        low = lower
    return found


def _halved(plane: Plane) -> tuple[Plane, Plane]:
    """Low and high band along x, by lifting, of which the plane's pixels come back."""
    wide = np.pad(plane, ((0, 0), (3, 4)), mode="edge")  # pixel p is at p + 3
    count = plane.shape[1] // 2
    even = wide[:, 1 : 1 + 2 * (count + 3) : 2]  # pixels -2, 0, 2, ...
    odd = wide[:, 2 : 2 + 2 * (count + 2) : 2]  # pixels -1, 1, 3, ...
    high = odd - ((even[:, :-1] + even[:, 1:]) >> 1)  # of pixels -1, 1, 3, ...
    low = even[:, 1:-1] + ((high[:, :-1] + high[:, 1:] + 2) >> 2)  # of pixels 0, 2, 4, ...
    return low[:, 1 : count + 1], high[:, 1 : count + 1]


def _blocks(made: MadeISyntax, coefficients: Sequence[list[_Level]]) -> Any:
    """Code blocks in the order of the file: by place, colour, scale; the low band of the coarsest level at the end."""
    top = made.levels - 1
    scale = top
    while scale >= 0:
        depth = scale % _CHUNK_LEVELS
        rows, columns = (length // BLOCK for length in coefficients[0][scale].low.shape)
        for row in range(rows):
            for column in range(columns):
                is_left_out = (column >> (top - scale), row >> (top - scale)) in made.left_out
                if is_left_out or (scale == top and (column, row) in made.without_coarsest):
                    continue
                for color in range(3):
                    for below in range(depth + 1):
                        for y in range(row << below, (row + 1) << below):
                            for x in range(column << below, (column + 1) << below):
                                yield _block(coefficients, color, scale - below, x, y, is_low=False)
                    if scale == top:
                        yield _block(coefficients, color, scale, column, row, is_low=True)
        scale -= depth + 1


def _block(coefficients: Sequence[list[_Level]], color: int, scale: int, x: int, y: int, *, is_low: bool) -> _Block:
    level = coefficients[color][scale]
    place = np.s_[:, y * BLOCK : (y + 1) * BLOCK, x * BLOCK : (x + 1) * BLOCK]
    return _Block(x, y, color, scale, is_low, (level.low[None] if is_low else level.high)[place])


def _seek_table(levels: list[_Level], blocks: list[_Block], before: int) -> tuple[bytes, bytes]:
    """Where each code block is stored, by its number, with room for those left out; and the code blocks."""
    tiles = [level.low.size // BLOCK**2 for level in levels]
    per_color = sum(tiles) + tiles[-1]
    entries = np.zeros((3 * per_color, 2), np.uint64)
    begin = before + 8 + 40 * len(entries)
    data = bytearray()
    for block in blocks:
        low = block.is_low
        wide = levels[block.scale].low.shape[1] // BLOCK
        number = sum(tiles[: block.scale + low]) + block.y * wide + block.x + block.color * per_color
        content = encoded(block.values)
        # Each block has a tag of its own before it, of 8 bytes.
        data += struct.pack("<HHI", 0x301D, 0x2011, len(content))
        entries[number] = begin + len(data), len(content)
        data += content
    table = b"".join(
        struct.pack("<HHIHHIQHHIQ", 0xFFFE, 0xE000, 32, 0x301D, 0x2010, 8, at, 0x301D, 0x2011, 8, length)
        for at, length in entries.tolist()
    )
    return struct.pack("<HHI", 0x301D, 0x2015, len(table)) + table, bytes(data)


def _block_table(made: MadeISyntax, blocks: list[_Block]) -> bytes:
    rows = []
    for block in blocks:
        step = 2 * BLOCK << block.scale
        first = (_PAD << block.scale) - (_PAD - 1) + ((1 << block.scale) if block.is_low else 0)
        x, y = (origin + first + step * place for origin, place in zip(made.origin, (block.x, block.y), strict=True))
        rows.append(
            struct.pack("<HHIHHIiiIIIHHII", 0xFFFE, 0xE000, 40, 0x301D, 0x200E, 20, x, y, block.color, block.scale,
                        0 if block.is_low else 1, 0x301D, 0x2012, 4, block.scale)
        )  # fmt: skip
    table = b"".join(rows)
    return struct.pack("<I", len(table)) + table


_NAMES = {
    "DICOM_MANUFACTURER": (0x0008, 0x0070),
    "DICOM_MANUFACTURERS_MODEL_NAME": (0x0008, 0x1090),
    "DICOM_DERIVATION_DESCRIPTION": (0x0008, 0x2111),
    "DICOM_ICCPROFILE": (0x0028, 0x2000),
    "PIM_DP_UFS_INTERFACE_VERSION": (0x301D, 0x1001),
    "PIM_DP_UFS_BARCODE": (0x301D, 0x1002),
    "PIM_DP_SCANNED_IMAGES": (0x301D, 0x1003),
    "PIM_DP_IMAGE_TYPE": (0x301D, 0x1004),
    "PIM_DP_IMAGE_DATA": (0x301D, 0x1005),
    "UFS_IMAGE_GENERAL_HEADERS": (0x301D, 0x2000),
    "UFS_IMAGE_NUMBER_OF_BLOCKS": (0x301D, 0x2001),
    "UFS_IMAGE_DIMENSIONS": (0x301D, 0x2003),
    "UFS_IMAGE_DIMENSION_NAME": (0x301D, 0x2004),
    "UFS_IMAGE_DIMENSION_TYPE": (0x301D, 0x2005),
    "UFS_IMAGE_DIMENSION_UNIT": (0x301D, 0x2006),
    "UFS_IMAGE_DIMENSION_SCALE_FACTOR": (0x301D, 0x2007),
    "UFS_IMAGE_DIMENSION_DISCRETE_VALUES_STRING": (0x301D, 0x2008),
    "UFS_IMAGE_BLOCK_HEADER_TEMPLATES": (0x301D, 0x2009),
    "UFS_IMAGE_DIMENSION_RANGES": (0x301D, 0x200A),
    "UFS_IMAGE_DIMENSION_RANGE": (0x301D, 0x200B),
    "UFS_IMAGE_BLOCK_COMPRESSION_METHOD": (0x301D, 0x200F),
    "UFS_IMAGE_PIXEL_TRANSFORMATION_METHOD": (0x301D, 0x2013),
    "UFS_IMAGE_BLOCK_HEADER_TABLE": (0x301D, 0x2014),
}


def _header(made: MadeISyntax, width: int, height: int, blocks: list[_Block]) -> bytes:
    said = {
        "DICOM_MANUFACTURER": "PHILIPS",
        "DICOM_MANUFACTURERS_MODEL_NAME": "UFS Scanner",
        "PIM_DP_UFS_INTERFACE_VERSION": "5.0",
        "PIM_DP_UFS_BARCODE": base64.b64encode(b"made").decode(),
        **made.attributes,
    }
    pictures = [
        _object("DPScannedImage", _text("PIM_DP_IMAGE_TYPE", kind), _text("PIM_DP_IMAGE_DATA", _base64(jpeg)))
        for kind, jpeg in made.images.items()
    ]
    slide = _scanned(made, said, width, height, blocks)
    top = [_text(name, said[name]) for name in list(said) if name.startswith(("DICOM_MANU", "PIM_DP_UFS"))]
    document = _object("DPUfsImport", *top, _array("PIM_DP_SCANNED_IMAGES", *pictures, slide))
    return b'<?xml version="1.0" encoding="UTF-8" ?>' + document.encode()


def _scanned(made: MadeISyntax, said: Mapping[str, str], width: int, height: int, blocks: list[_Block]) -> str:
    pad = padding(made.levels)
    x, y = made.origin
    ranges: tuple[str, ...] = (f"{x} 1 {x + width + 2 * pad - 1}", f"{y} 1 {y + height + 2 * pad - 1}", "0 1 2")
    ranges += (f"0 1 {made.levels - 1}", "0 1 3")
    axes = (
        ("x", "spatial", "MicroMeter", made.mpp[0], ""),
        ("y", "spatial", "MicroMeter", made.mpp[1], ""),
        ("component", "colour", "", "", '"Y" "Co" "Cg"'),
        ("scale", "scale", "", "", ""),
        ("waveletcoef", "waveletcoef", "", "", '"LL" "LH" "HL" "HH"'),
    )
    kinds = ("NAME", "TYPE", "UNIT", "SCALE_FACTOR", "DISCRETE_VALUES_STRING")
    dimensions = [
        _object(
            "UFSImageDimension",
            *(_text(f"UFS_IMAGE_DIMENSION_{kind}", value) for kind, value in zip(kinds, axis, strict=True)),
        )
        for axis in axes
    ]
    sides = f"0 1 {BLOCK - 1}"
    templates = [
        _object(
            "UFSImageBlockHeaderTemplate",
            _ranges([sides, sides, f"{color} 1 {color}", f"{scale} 1 {scale}", "1 1 3"]),
        )
        for scale in range(made.levels)
        for color in range(3)
    ]
    others = [
        *([_text("DICOM_ICCPROFILE", _base64(made.icc_profile))] if made.icc_profile else []),
        _array("UFS_IMAGE_BLOCK_HEADER_TEMPLATES", *templates),
        _text("UFS_IMAGE_BLOCK_COMPRESSION_METHOD", said.get("UFS_IMAGE_BLOCK_COMPRESSION_METHOD", "16")),
        _text("UFS_IMAGE_PIXEL_TRANSFORMATION_METHOD", "1"),
        _text("UFS_IMAGE_BLOCK_HEADER_TABLE", _base64(_block_table(made, blocks))),
    ]
    general = _object(
        "UFSImageGeneralHeader",
        _text("UFS_IMAGE_NUMBER_OF_BLOCKS", str(len(blocks))),
        _array("UFS_IMAGE_DIMENSIONS", *dimensions),
        _ranges(ranges),
        *(others if made.is_nested else []),
    )
    return _object(
        "DPScannedImage",
        _text("PIM_DP_IMAGE_TYPE", "WSI"),
        _text("DICOM_DERIVATION_DESCRIPTION", said.get("DICOM_DERIVATION_DESCRIPTION", "PHILIPS UFS | Compressor=16")),
        _array("UFS_IMAGE_GENERAL_HEADERS", general),
        *([] if made.is_nested else others),
    )


def _ranges(texts: Sequence[str]) -> str:
    return _array(
        "UFS_IMAGE_DIMENSION_RANGES",
        *(_object("UFSImageDimensionRange", _text("UFS_IMAGE_DIMENSION_RANGE", text)) for text in texts),
    )


def _object(kind: str, *parts: str) -> str:
    return f'<DataObject ObjectType="{kind}">{"".join(parts)}</DataObject>'


def _array(name: str, *objects: str) -> str:
    return _attribute(name, "IDataObjectArray", f"\n<Array>\n{''.join(objects)}</Array>\n")


def _text(name: str, value: str) -> str:
    return _attribute(name, "IString", value.replace('"', "&quot;"))


def _attribute(name: str, kind: str, content: str) -> str:
    group, element = _NAMES[name]
    return (
        f'<Attribute Name="{name}" Group="0x{group:04X}" Element="0x{element:04X}" PMSVR="{kind}">{content}</Attribute>'
    )


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode()
