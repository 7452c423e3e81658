"""TFRecord framing: length, masked CRC-32C of the length, data, masked CRC-32C of the data.

Source: https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details; CRC-32C: RFC 3720, B.4.
"""

from __future__ import annotations

import struct

import google_crc32c

HEAD = struct.Struct("<QI")  # length of the data in bytes, masked CRC of those 8 bytes
_CRC = struct.Struct("<I")
OVERHEAD = HEAD.size + _CRC.size  # 16 bytes per record, in addition to the data
_MASK = 0xA282EAD8


def masked(crc: int) -> int:
    """The CRC as stored: rotated right by 15 bits, plus a constant, modulo 2**32."""
    return (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF


def masked_crc(*parts: bytes) -> int:
    """The masked CRC-32C of these bytes one after another."""
    crc = 0
    for part in parts:
        crc = google_crc32c.extend(crc, part)
    return masked(crc)


def framed(*parts: bytes) -> bytes:
    """A complete record whose data is these bytes one after another."""
    length = struct.pack("<Q", sum(map(len, parts)))
    return b"".join((length, _CRC.pack(masked_crc(length)), *parts, _CRC.pack(masked_crc(*parts))))


def data_length(head: bytes) -> int:
    """Length of the data that a record's 12-byte head announces.

    Raises:
        ValueError: its CRC does not match, so the length cannot be trusted.
    """
    length, crc = HEAD.unpack(head)
    if masked_crc(head[:8]) != crc:
        raise ValueError("the length's CRC does not match")
    return int(length)


def data_is_intact(data: bytes, crc: bytes) -> bool:
    """True if the 4 bytes after the data are its masked CRC."""
    return _CRC.pack(masked_crc(data)) == crc
