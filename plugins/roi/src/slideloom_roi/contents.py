"""The bytes and the text of a region file."""

from __future__ import annotations

import codecs
import io
import re
import zlib
from gzip import GzipFile
from pathlib import Path

from slideloom_roi.drafts import Mistake

_GZIP = b"\x1f\x8b"
_MOST_BYTES = 1 << 30  # a small file can unpack to any size
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECLARED = re.compile(rb"\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})[\"']")
_LEGACY = re.compile(
    r"iso-?8859-\d{1,2}|latin-?\d|windows-\d{3,4}|mac\w{2,9}|koi8-[ru]|shift_jis|euc-\w{2}|gb\w{1,5}|big5",
    re.IGNORECASE,
)


def bytes_of(path: Path) -> bytes:
    """A file's content, decompressed if it is gzip, judged by content.

    Raises:
        OSError: it cannot be read.
        Mistake: it is empty, or damaged, or decompresses to more than a gigabyte.
    """
    with path.open("rb") as file:
        raw = file.read()
    if raw.startswith(_GZIP):
        try:
            raw = GzipFile(fileobj=io.BytesIO(raw)).read(_MOST_BYTES + 1)
        except (EOFError, OSError, zlib.error) as error:
            raise Mistake(f"its compression is damaged ({error}); copy it again") from error
        if len(raw) > _MOST_BYTES:
            raise Mistake(f"unpacks to more than {_MOST_BYTES >> 20} MB; is it a file of regions?")
    if not raw.strip(b"\0 \r\n\t"):
        raise Mistake("the file is empty; export the regions again")
    return raw


def decoded(raw: bytes) -> tuple[str, tuple[str, ...]]:
    """A file's text, and a sentence if its encoding had to be guessed.

    Raises:
        Mistake: it is not text.
    """
    encoding = next((name for mark, name in _MARKS if raw.startswith(mark)), None)
    if encoding is None and raw.count(0) > len(raw) / 4:
        # Latin text in UTF-16 has a zero as every other byte.
        encoding = "utf-16-le" if raw[1::2].count(0) > raw[::2].count(0) else "utf-16-be"
    if encoding is None and (declared := _DECLARED.match(raw)):
        encoding = _known(declared[1].decode("ascii"))
    try:
        return raw.decode(encoding or "utf-8"), ()
    except UnicodeDecodeError as error:
        if encoding is not None:
            raise Mistake(f"the file is damaged: not {encoding} at byte {error.start}; save it as UTF-8") from None
    try:
        return raw.decode("cp1252"), ("not UTF-8: read as Windows-1252; check names with special letters",)
    except UnicodeDecodeError:
        return raw.decode("latin-1"), ("not UTF-8: read as Latin-1; check names with special letters",)


def _known(name: str) -> str | None:
    """The single-byte or East Asian encoding that XML declares; others are recognised by their bytes."""
    if not _LEGACY.fullmatch(name):
        return None
    try:
        return codecs.lookup(name).name
    except LookupError:
        return None
