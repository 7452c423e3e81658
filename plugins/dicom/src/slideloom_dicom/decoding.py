"""The pixels of a frame, from its bytes.

Source: DICOM PS3.5 8.2 and annex A (transfer syntaxes), PS3.3 C.7.6.3.1.2 (photometric interpretation); ITU-T T.81
annex B (JPEG markers), T.871 (JFIF); ITU-T T.800 A.6.1 (JPEG 2000, coding style).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import imagecodecs
import numpy as np
import simplejpeg
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Rgb, opencv_in_one_thread
from slideloom_formats.jpeg_2000 import Jpeg2000

Samples = NDArray[np.uint8] | NDArray[np.uint16]  # (rows, columns) or (rows, columns, 3)

RAW = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
_JPEG = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51")
_JPEG_LOSSLESS = ("1.2.840.10008.1.2.4.57", "1.2.840.10008.1.2.4.70")
_JPEG_LS = ("1.2.840.10008.1.2.4.80", "1.2.840.10008.1.2.4.81")
_RLE = "1.2.840.10008.1.2.5"
_RLE_HEAD = 64  # bytes: the number of segments, and the places of 15
_JPEG_2000 = ("1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.4.91")
_HTJ2K = ("1.2.840.10008.1.2.4.201", "1.2.840.10008.1.2.4.202", "1.2.840.10008.1.2.4.203")
_JPEG_XL = ("1.2.840.10008.1.2.4.110", "1.2.840.10008.1.2.4.111", "1.2.840.10008.1.2.4.112")
_NAMES = {
    **dict.fromkeys(RAW, "uncompressed"), **dict.fromkeys(_JPEG, "JPEG"), **dict.fromkeys(_JPEG_LS, "JPEG-LS"),
    **dict.fromkeys(_JPEG_LOSSLESS, "lossless JPEG"), _RLE: "RLE", **dict.fromkeys(_JPEG_2000, "JPEG 2000"),
    **dict.fromkeys(_HTJ2K, "HTJ2K"), **dict.fromkeys(_JPEG_XL, "JPEG XL"),
}  # fmt: skip
_GREY = ("MONOCHROME1", "MONOCHROME2")
_YBR = ("YBR_FULL", "YBR_FULL_422")
# The colour transforms of JPEG 2000 and JPEG XL, which their decoders undo.
_UNDONE = ("YBR_ICT", "YBR_RCT", "XYB")
_SOI, _SOS, _APP0, _APP14 = b"\xff\xd8", 0xDA, 0xE0, 0xEE
_EOI, _JPEG_LS_FRAME = b"\xff\xd9", 0xF7
_ADOBE = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00"  # its transform follows
_ADOBE_TRANSFORM = 11  # bytes from "Adobe"
_COLOUR_TRANSFORM = 8  # bytes from the marker of the coding style of JPEG 2000


@frozen
class PixelFormat:
    """How the frames of an image are stored.

    Attributes:
        rows, columns: of a frame.
        samples: 1 for grey, 3 for colour.
        bits: of a sample that carry a value.
        is_wide: samples take two bytes.
        is_planar: each colour's samples of a frame lie together, in frames that are not compressed.
        photometric: what the samples mean, such as "RGB".
        syntax: transfer syntax, as a UID.
    """

    rows: int
    columns: int
    samples: int
    bits: int
    is_wide: bool
    is_planar: bool
    photometric: str
    syntax: str

    @property
    def raw_bytes(self) -> int:
        """Of a frame that is not compressed."""
        return self.rows * self.columns * self.samples * (2 if self.is_wide else 1)

    @property
    def compression(self) -> str:
        """In words, such as "JPEG-LS"."""
        return _NAMES.get(self.syntax, self.syntax)

    def obstacle(self) -> str | None:
        """What cannot be shown of it; None if nothing."""
        if self.syntax not in _NAMES:
            return f"its pixels are stored in a way that is not read (transfer syntax {self.syntax})"
        colours = {1: _GREY, 3: ("RGB", *_YBR, *_UNDONE)}.get(self.samples, ())
        if self.photometric not in colours:
            meaning = self.photometric or "of no stated meaning"
            return f"its {self.samples} samples per pixel are {meaning}, not RGB or grey"
        if not self.is_wide and self.bits != 8:
            return f"its samples have {self.bits} bits in 8"
        if self.bits > 16 or (self.is_wide and self.samples > 1 and self.photometric != "RGB"):
            return f"its {self.photometric} samples have {self.bits} bits"
        if self.syntax in RAW and self.photometric == "YBR_FULL_422":
            return "its pixels are uncompressed with halved colours (YBR_FULL_422)"
        return None


def decoded(content: bytes, pixels: PixelFormat) -> Samples:
    """The samples of a frame: RGB, or grey that grows with brightness.

    Raises:
        ValueError: its bytes are damaged, or hold something else than the file says.
    """
    try:
        stored = _stored(content, pixels)
    except (RuntimeError, OverflowError, MemoryError) as error:  # imagecodecs' errors are RuntimeErrors
        raise ValueError(str(error) or type(error).__name__) from error
    dtype = np.uint16 if pixels.is_wide else np.uint8
    shape = (pixels.rows, pixels.columns, pixels.samples) if pixels.samples > 1 else (pixels.rows, pixels.columns)
    if stored.shape != shape or stored.dtype != dtype:
        raise ValueError(f"it holds {stored.shape} {stored.dtype} samples, and the file says {shape} {dtype.__name__}")
    if pixels.photometric == "MONOCHROME1":
        return _typed(((1 << pixels.bits) - 1 - stored.astype(np.int32)).clip(0), pixels)
    if pixels.photometric in _YBR and not _is_rgb(content, pixels):
        with opencv_in_one_thread():
            rgb: Rgb = cv2.cvtColor(stored[..., [0, 2, 1]], cv2.COLOR_YCrCb2RGB).astype(np.uint8, copy=False)
        return rgb
    return stored


def _stored(content: bytes, pixels: PixelFormat) -> Samples:
    if pixels.syntax in RAW:
        flat = np.frombuffer(content, "<u2" if pixels.is_wide else "u1")
        return _in_colours(_typed(flat, pixels), pixels, is_planar=pixels.is_planar)
    if pixels.syntax == _RLE:
        return _run_lengths(content, pixels)
    if pixels.syntax in _JPEG and not pixels.is_wide:
        return _jpeg(content, pixels)
    shape = (pixels.rows, pixels.columns, pixels.samples) if pixels.samples > 1 else (pixels.rows, pixels.columns)
    # The decoder refuses memory that the image does not fill: a damaged size cannot ask for gigabytes.
    out = _typed(np.empty(shape, np.uint16 if pixels.is_wide else np.uint8), pixels)
    if pixels.syntax in (*_JPEG_2000, *_HTJ2K):  # both by OpenJPEG, which reports an end that comes too early
        if pixels.syntax in _JPEG_2000:
            Jpeg2000(content)
        _check_transform(content, pixels)
        return _filled(imagecodecs.jpeg2k_decode, content, out, numthreads=1)
    if pixels.syntax in _JPEG_LS:
        return _jpeg_ls(content, pixels)
    if pixels.syntax in _JPEG_XL:
        return _filled(imagecodecs.jpegxl_decode, content, out, numthreads=1)
    _check_end(content)  # which this decoder does not tell
    colours = {"colorspace": "RGB", "outcolorspace": "RGB"} if pixels.samples > 1 else {}  # as they are stored
    return _filled(imagecodecs.jpeg8_decode, content, out, **colours)


def _filled(decode: Callable[..., Samples], content: bytes, out: Samples, **options: int | str) -> Samples:
    return decode(content, out=out, **options)


def _jpeg_ls(content: bytes, pixels: PixelFormat) -> Samples:
    """Without memory to fill, whose layout would have to be that of the stored components, together or one by one."""
    _check_end(content)  # without an end this decoder reads zeros for seconds before it gives up
    for kind, said in _segments(content):
        if kind == _JPEG_LS_FRAME:
            height, width = (int.from_bytes(said[at : at + 2], "big") for at in (1, 3))
            if (height, width) != (pixels.rows, pixels.columns):
                raise ValueError(f"it holds {width} x {height} pixels, not {pixels.columns} x {pixels.rows}")
            return _typed(np.ascontiguousarray(imagecodecs.jpegls_decode(content)), pixels)
    raise ValueError("it has no frame of JPEG-LS")


def _check_end(content: bytes) -> None:
    """Raises ValueError for a JPEG or JPEG-LS that is cut short."""
    if not content.rstrip(b"\0").endswith(_EOI):
        raise ValueError("its JPEG has no end")


def _is_rgb(content: bytes, pixels: PixelFormat) -> bool:
    """True if decoded samples are RGB whatever the photometric interpretation says of the stored ones."""
    if pixels.syntax in (*_JPEG, *_JPEG_XL):
        return True  # these decoders convert
    return pixels.syntax in _JPEG_LOSSLESS and _adobe_transform(content) == 0


def _typed(values: NDArray[Any], pixels: PixelFormat) -> Samples:  # Any: of whatever kind
    return values.astype(np.uint16, copy=False) if pixels.is_wide else values.astype(np.uint8, copy=False)


def _run_lengths(content: bytes, pixels: PixelFormat) -> Samples:
    """A frame of run lengths (PS3.5 annex G): a segment for each byte of a sample, the highest first.

    imagecodecs' own decoder of whole frames trusts the places of segments, and crashes where they are damaged.
    """
    width = 2 if pixels.is_wide else 1
    count, *places = struct.unpack("<16I", content[:_RLE_HEAD].ljust(_RLE_HEAD, b"\0"))
    ends = [*places[1:count], len(content)]
    if count != pixels.samples * width or places[0] != _RLE_HEAD:
        raise ValueError(f"it has {count} segments instead of {pixels.samples * width}")
    segments = np.empty((pixels.samples, width, pixels.rows * pixels.columns), np.uint8)
    for number, (start, end) in enumerate(zip(places, ends, strict=False)):
        if not _RLE_HEAD <= start < end <= len(content):
            raise ValueError("its segments are out of place")
        # An encoder may pad a segment to an even length, after which one byte more may seem to follow.
        flat = np.frombuffer(imagecodecs.packbits_decode(content[start:end]), np.uint8)
        if flat.size < segments.shape[-1]:
            raise ValueError(f"a segment has {flat.size} samples instead of {segments.shape[-1]}")
        segments[number // width, width - 1 - number % width] = flat[: segments.shape[-1]]
    planes = np.ascontiguousarray(np.moveaxis(segments, 1, -1)).view("<u2" if pixels.is_wide else "u1")
    return _in_colours(_typed(planes.ravel(), pixels), pixels, is_planar=True)


def _in_colours(flat: Samples, pixels: PixelFormat, *, is_planar: bool) -> Samples:
    """Samples in a row as an image."""
    needed = pixels.rows * pixels.columns * pixels.samples
    if flat.size < needed:
        raise ValueError(f"it has {flat.size} samples instead of {needed}")
    flat = flat[:needed]
    if pixels.samples == 1:
        return flat.reshape(pixels.rows, pixels.columns)
    if is_planar:
        planes = flat.reshape(pixels.samples, pixels.rows, pixels.columns)
        return _typed(np.ascontiguousarray(np.moveaxis(planes, 0, -1)), pixels)
    return flat.reshape(pixels.rows, pixels.columns, pixels.samples)


def _jpeg(content: bytes, pixels: PixelFormat) -> Samples:
    """Decoded so that each of libjpeg's warnings is an error: it fills in what is missing, and only warns."""
    height, width, _, _ = simplejpeg.decode_jpeg_header(content)
    if (height, width) != (pixels.rows, pixels.columns):
        raise ValueError(f"it holds {width} x {height} pixels, and the file says {pixels.columns} x {pixels.rows}")
    if pixels.samples == 1:
        grey: Samples = simplejpeg.decode_jpeg(content, "GRAY")[..., 0]
        return grey
    if not _tells_colours(content):
        transform = b"\0" if pixels.photometric == "RGB" else b"\1"
        content = _SOI + _ADOBE + transform + content[2:]
    rgb: Samples = simplejpeg.decode_jpeg(content, "RGB")
    return rgb


def _tells_colours(jpeg: bytes) -> bool:
    """True if a JPEG itself says by a marker of JFIF or of Adobe whether it is RGB or YCbCr.

    Where none does, decoders guess by the names of its components; DICOM's photometric interpretation knows.
    """
    return any(
        (kind == _APP0 and said.startswith(b"JFIF\0")) or (kind == _APP14 and said.startswith(b"Adobe"))
        for kind, said in _segments(jpeg)
    )


def _adobe_transform(jpeg: bytes) -> int | None:
    """0 if an Adobe marker says that the colours are stored as they are; None without one."""
    for kind, said in _segments(jpeg):
        if kind == _APP14 and said.startswith(b"Adobe") and len(said) > _ADOBE_TRANSFORM:
            return said[_ADOBE_TRANSFORM]
    return None


def _segments(jpeg: bytes) -> Iterator[tuple[int, bytes]]:
    """Marker and content of each segment before the image itself."""
    at = 2
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF and jpeg[at + 1] != _SOS:
        length = int.from_bytes(jpeg[at + 2 : at + 4], "big")
        yield jpeg[at + 1], jpeg[at + 4 : at + 2 + length]
        at += 2 + length


def _check_transform(content: bytes, pixels: PixelFormat) -> None:
    """Raises ValueError for JPEG 2000 whose colours are said to be transformed, and are not undone by its decoder."""
    if pixels.photometric not in _UNDONE:
        return
    style = content.find(b"\xff\x52")
    if 0 <= style < len(content) - _COLOUR_TRANSFORM and content[style + _COLOUR_TRANSFORM] == 0:
        raise ValueError(f"its colours are said to be {pixels.photometric}, and its JPEG 2000 has no such transform")
