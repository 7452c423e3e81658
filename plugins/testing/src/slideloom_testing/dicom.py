"""Whole-slide DICOM files of known pixels, uncompressed.

Source: DICOM PS3.3 A.32.8 (VL Whole Slide Microscopy Image), PS3.5 7.1 (explicit VR little endian), PS3.10 7.1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from attrs import frozen
from slideloom import Rgb

WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"
EXPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2.1"
_LONG = {b"OB", b"OW", b"SQ", b"UN"}  # value representations whose length takes 4 bytes
_Element = tuple[int, bytes, bytes]


@frozen
class Instance:
    """What an instance says of itself.

    Attributes:
        series: UID of its series; the instances of one slide have the same.
        number: of the instance, which makes its UID.
        kind: third value of its image type: VOLUME, LABEL, OVERVIEW or THUMBNAIL.
        sop_class: of what kind the file is.
        optical_paths: number of channels.
        syntax: transfer syntax; pixels are written uncompressed whatever it says.
        concatenation: UID of the concatenation it is part of, or "".
        before: elements to come before the series, such as references to other series.
    """

    series: str = "1.2.826.0.1.3680043.8.498.1"
    number: int = 1
    kind: str = "VOLUME"
    sop_class: str = WHOLE_SLIDE
    optical_paths: int = 1
    syntax: str = EXPLICIT_LITTLE_ENDIAN
    concatenation: str = ""
    before: tuple[_Element, ...] = ()


def write_dicom(path: Path, rgb: Rgb, instance: Instance | None = None, *, tile: int = 64, mpp: float = 0.5) -> Path:
    """Write one instance: an image in tiles, of which those at the far sides are padded with white."""
    about = instance or Instance()
    height, width = rgb.shape[:2]
    rows, columns = -(-height // tile), -(-width // tile)
    padded = np.full((rows * tile, columns * tile, 3), 255, np.uint8)
    padded[:height, :width] = rgb
    frames = padded.reshape(rows, tile, columns, tile, 3).swapaxes(1, 2)
    sop = f"{about.series}.{about.number}"
    size = (width * mpp / 1000, height * mpp / 1000)  # of the image in mm
    measures = _sequence(
        0x00289110, [(0x00180050, b"DS", b"0.001"), (0x00280030, b"DS", _text(f"{mpp / 1000}\\{mpp / 1000}"))]
    )
    elements: list[_Element] = [
        (0x00080008, b"CS", _text(f"ORIGINAL\\PRIMARY\\{about.kind}\\NONE")),
        (0x00080016, b"UI", _uid(about.sop_class)),
        (0x00080018, b"UI", _uid(sop)),
        *about.before,
        (0x00080060, b"CS", b"SM"),
        (0x0020000D, b"UI", _uid(f"{about.series}.0")),
        (0x0020000E, b"UI", _uid(about.series)),
        (0x00200013, b"IS", _text(str(about.number))),
        *([(0x00209161, b"UI", _uid(about.concatenation))] if about.concatenation else []),
        (0x00209311, b"CS", b"TILED_FULL"),
        (0x00280002, b"US", struct.pack("<H", 3)),
        (0x00280004, b"CS", b"RGB "),
        (0x00280006, b"US", struct.pack("<H", 0)),
        (0x00280008, b"IS", _text(str(rows * columns * about.optical_paths))),
        (0x00280010, b"US", struct.pack("<H", tile)),
        (0x00280011, b"US", struct.pack("<H", tile)),
        (0x00280100, b"US", struct.pack("<H", 8)),
        (0x00280101, b"US", struct.pack("<H", 8)),
        (0x00280102, b"US", struct.pack("<H", 7)),
        (0x00280103, b"US", struct.pack("<H", 0)),
        (0x00480001, b"FL", struct.pack("<f", size[0])),
        (0x00480002, b"FL", struct.pack("<f", size[1])),
        (0x00480006, b"UL", struct.pack("<I", width)),
        (0x00480007, b"UL", struct.pack("<I", height)),
        (0x00480302, b"UL", struct.pack("<I", about.optical_paths)),
        (0x00480303, b"UL", struct.pack("<I", 1)),
        _sequence(0x52009229, [measures]),
        (0x7FE00010, b"OW", frames.tobytes() * about.optical_paths),
    ]
    meta = [
        (0x00020001, b"OB", b"\0\1"),
        (0x00020002, b"UI", _uid(about.sop_class)),
        (0x00020003, b"UI", _uid(sop)),
        (0x00020010, b"UI", _uid(about.syntax)),
        (0x00020012, b"UI", _uid("1.2.826.0.1.3680043.8.498.9")),
    ]
    described = b"".join(map(_encoded, meta))
    length = _encoded((0x00020000, b"UL", struct.pack("<I", len(described))))
    path.write_bytes(bytes(128) + b"DICM" + length + described + b"".join(map(_encoded, elements)))
    return path


def reference_to(series: str) -> _Element:
    """A sequence that names another series, before the file's own."""
    return _sequence(0x00081115, [(0x0020000E, b"UI", _uid(series))])


def _sequence(tag: int, item: Sequence[_Element]) -> _Element:
    """A sequence of one item."""
    content = b"".join(map(_encoded, item))
    return tag, b"SQ", struct.pack("<HHI", 0xFFFE, 0xE000, len(content)) + content


def _encoded(element: _Element) -> bytes:
    tag, kind, value = element
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF) + kind
    length = b"\0\0" + struct.pack("<I", len(value)) if kind in _LONG else struct.pack("<H", len(value))
    return head + length + value


def _text(text: str) -> bytes:
    return text.encode() + b" " * (len(text) % 2)


def _uid(uid: str) -> bytes:
    return uid.encode()
