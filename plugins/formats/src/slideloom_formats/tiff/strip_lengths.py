"""How many bytes the first strip of a TIFF decodes to, where its decoder would stop when it has enough.

The number of strips tells nothing of an image's width. A strip that decodes to more bytes than its rows take does: with
a damaged width, rows would be shown sheared.

Source: TIFF 6.0 (Adobe 1992), sections 9 (PackBits) and 13 (LZW).
"""

from __future__ import annotations

import lzma
from collections.abc import Callable, Mapping
from pathlib import Path

from slideloom_formats.tiff.directories import TiffDirectory, TiffTag
from slideloom_formats.tiff.layout import first_strip_bytes, strip_rows

# Decoding in Python takes a second for so many bytes; writers make strips of 8 KiB to 64 KiB.
_MOST_BYTES = 1 << 19
_CLEAR, _END, _WIDEST = 256, 257, 12  # of LZW: two codes, and bits of the longest code


def first_strip_fault(path: Path, image: TiffDirectory) -> str | None:
    """Says so if the first strip of an image decodes to more bytes than its rows take; else None.

    Args:
        path: of the file.
        image: its directory, read with `TILE_TAGS`.

    Raises:
        TiffError: a number in the directory is impossible.
        OSError: the file cannot be read.
    """
    size = image.size()
    count = _COUNTS.get(image.number(TiffTag.COMPRESSION, 1) or 1)
    offsets, lengths = (image.numbers(tag, most=1) for tag in (TiffTag.STRIP_OFFSETS, TiffTag.STRIP_BYTES))
    is_asked = count is not None and len(offsets) and len(lengths) and 0 < lengths[0] <= _MOST_BYTES
    if count is None or size is None or image.tile_size() is not None or not is_asked or offsets[0] < 0:
        return None
    with path.open("rb") as file:
        file.seek(int(offsets[0]))
        content = file.read(int(lengths[0]))
    rows, needed = strip_rows(image, size), first_strip_bytes(image, size)
    try:
        found = count(content, needed)
    except (lzma.LZMAError, IndexError):  # who decodes it says so
        return None
    if found <= needed:
        return None
    return f"its first strip of {size.width} x {rows} pixels takes {needed} bytes, and decodes to more"


def packbits_bytes(content: bytes, most: int) -> int:
    """Bytes that PackBits decode to, counted up to the first beyond `most`."""
    total = at = 0
    while at < len(content) and total <= most:
        head = content[at]
        if head < 128:
            total, at = total + head + 1, at + head + 2
        else:  # 128 means nothing
            total, at = total + (257 - head if head > 128 else 0), at + (2 if head > 128 else 1)
    return total


def lzw_bytes(content: bytes, most: int) -> int:
    """Bytes that LZW decodes to, counted up to the first beyond `most`; 0 of its older form, least bits first.

    Raises:
        IndexError: a code is none.
    """
    if content[:2] == b"\0\1":
        return 0
    lengths: list[int] = []  # of the text of each code
    width, last, total, held, bits = 9, -1, 0, 0, 0
    for byte in content:
        held, bits = (held << 8 | byte) & 0xFFFFFF, bits + 8
        if bits < width:
            continue
        bits -= width
        code = held >> bits & (1 << width) - 1
        if code == _END or total > most:
            break
        if code == _CLEAR:
            lengths, width, last = [1] * 256 + [0, 0], 9, -1
            continue
        if last >= 0:
            lengths.append(lengths[last] + 1)
            if len(lengths) + 1 == 1 << width and width < _WIDEST:  # one code early, as TIFF has it
                width += 1
        total, last = total + lengths[code], code
    return total


def lzma_bytes(content: bytes, most: int) -> int:
    """Bytes that LZMA decodes to, counted up to the first beyond `most`.

    Raises:
        lzma.LZMAError: it is damaged.
    """
    return len(lzma.LZMADecompressor().decompress(content, most + 1))


_COUNTS: Mapping[int, Callable[[bytes, int], int]] = {5: lzw_bytes, 32773: packbits_bytes, 34925: lzma_bytes}
