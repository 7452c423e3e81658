"""What decoders do not tell of damaged JPEG and PNG, or only on standard error, told by their bytes.

Source: ITU-T T.81 (JPEG); W3C PNG (third edition), section 5.
"""

from __future__ import annotations

import zlib

import simplejpeg

_PNG = b"\x89PNG\r\n\x1a\n"


def jpeg_fault(content: bytes, *, width: int, height: int) -> str | None:
    """What is wrong with a JPEG of this size; None if it is whole."""
    try:
        found_height, found_width, _, _ = simplejpeg.decode_jpeg_header(content)
        if (found_width, found_height) != (width, height):
            return f"its JPEG has {found_width} x {found_height} pixels"
        # All of it is decoded, but for one pixel in 64: as much as it takes to find every warning.
        simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        return f"its JPEG is damaged ({error})"
    return None


def png_fault(content: bytes) -> str | None:
    """What is wrong with a PNG, which is made of chunks with a checksum each; None if it is whole."""
    at = len(_PNG)
    while content.startswith(_PNG) and at + 12 <= len(content):
        length = int.from_bytes(content[at : at + 4], "big")
        kind, end = content[at + 4 : at + 8], at + 8 + length
        if end + 4 > len(content):
            break
        if zlib.crc32(content[at + 4 : end]) != int.from_bytes(content[end : end + 4], "big"):
            return f"the checksum of its PNG's chunk {kind.decode('ascii', 'replace')} is wrong"
        if kind == b"IEND":
            return None
        at = end + 4
    return "its PNG is cut short"
