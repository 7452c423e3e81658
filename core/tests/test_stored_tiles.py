"""Deflate streams that libtiff takes for whole."""

from __future__ import annotations

import zlib

import pytest
from slideloom.slides.stored_tiles import deflate_fault

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
    import re

    found = deflate_fault(stream, needed)

    assert (found is None) if words is None else (found is not None and re.search(words, found))
