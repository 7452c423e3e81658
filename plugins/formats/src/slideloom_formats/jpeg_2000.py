"""The structure of JPEG 2000, whose decoder makes pixels of damaged data without a word.

Source: ITU-T T.800 annex A (codestream) and annex I (JP2 file).
"""

from __future__ import annotations

import re
import struct

_START, _CODING, _TILE_PART, _END = 0xFF4F, 0xFF52, 0xFF90, 0xFFD9
_LEAST_TILE_PART = 12
# A marker above FF8F cannot occur within packets, but for those that begin a packet and end its head.
_ILLEGAL = re.compile(rb"\xff[\x90\x93-\xff]")


class Jpeg2000:
    """The structure of a JPEG 2000 image.

    Attributes:
        is_transformed: True if its colours are transformed within, so that what is decoded is RGB.

    Raises:
        ValueError: it is damaged.
    """

    def __init__(self, content: bytes) -> None:
        self.is_transformed = False
        self._content = content
        try:
            self._follow(self._codestream())
        except struct.error as error:
            raise ValueError("its JPEG 2000 codestream is cut short") from error

    def _codestream(self) -> int:
        """Where the codestream begins; it may lie in a JP2 file, which is made of boxes."""
        content = self._content
        at = 0
        if content[4:8] == b"jP  ":
            while content[at + 4 : at + 8] != b"jp2c":
                length = struct.unpack_from(">I", content, at)[0]
                if length < 8:
                    raise ValueError("its JPEG 2000 boxes are damaged")
                at += length
            at += 16 if struct.unpack_from(">I", content, at)[0] == 1 else 8
        if self._word(at) != _START:
            raise ValueError("it does not begin as JPEG 2000 does")
        return at + 2

    def _word(self, at: int) -> int:
        return int(struct.unpack_from(">H", self._content, at)[0])

    def _follow(self, at: int) -> None:
        """Walk the marker segments and tile parts to the end marker."""
        while (marker := self._word(at)) != _END:
            if marker == _TILE_PART:
                at = self._tile_part(at)
                continue
            if marker < 0xFF50:
                raise ValueError(f"its JPEG 2000 codestream has {marker:04x} where a marker must be")
            if marker == _CODING:
                self.is_transformed = self._content[at + 8] == 1
            at += 2 + self._word(at + 2)

    def _tile_part(self, at: int) -> int:
        """Where the tile part at `at` ends; a length of 0 means the end of the codestream."""
        length = int(struct.unpack_from(">I", self._content, at + 6)[0])
        end = at + length if length else len(self._content.rstrip(b"\0")) - 2
        if (length and length < _LEAST_TILE_PART) or end + 2 > len(self._content):
            raise ValueError("a tile part of its JPEG 2000 codestream ends beyond its bytes")
        begin = self._content.find(b"\xff\x93", at, end)
        if begin < 0 or _ILLEGAL.search(self._content, begin + 2, end):
            raise ValueError("a tile part of its JPEG 2000 codestream is damaged")
        return end
