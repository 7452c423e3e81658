"""Damage: bytes, text and TIFF directories that are nearly right. The same name gives the same damage."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable, Iterator

# Numbers that code forgets to expect: bounds of integers, and values that are no size.
_NUMBERS = [0, 1, 2, 3, 7, 255, 256, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1]
_WORDS = [
    "", " ", "0", "-1", "1e999", "-1e999", "nan", "inf", "1e-320", "99999999999999999999", "true", "null", "[]", "{}",
    '"', "'", "\\", "\x00", "\ufeff", "\u202e", "é", "\U0001d518", "a" * 5000, "[" * 3000, "1,5", "=1+1", "../x",
    "\n", "\r\n", ";", "\t", "-0", "0x10", "1_000", "None",
]  # fmt: skip


def damaged(content: bytes, name: str) -> bytes:
    """`content` with the damage of this name: bytes, a hole, a cut, or an entry of a TIFF directory."""
    rng = random.Random(name)
    ways: list[Callable[[bytearray, random.Random], bytearray]] = [_flips, _hole, _cut, _copied, _inserted]
    if content[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        ways += [_tag, _tag, _tag, _tag]
    result = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        if result:
            result = rng.choice(ways)(result, rng)
    return bytes(result)


def damaged_text(text: str, name: str) -> bytes:
    """`text` in UTF-8 with the damage of this name: words, lines, separators, encodings, or bytes."""
    rng = random.Random(name)
    for _ in range(rng.choice((1, 1, 2, 3))):
        text = rng.choice((_word, _word, _word, _lines, _separator, _letter))(text, rng)
    content = text.encode("utf-8", "surrogatepass")
    way = rng.random()
    if way < 0.06:
        return text.encode(rng.choice(("utf-16", "utf-8-sig", "cp1252")), "replace")
    return bytes(_flips(bytearray(content), rng)) if way < 0.12 and content else content


def _place(content: bytearray, rng: random.Random) -> int:
    """Anywhere, and half of the time near the start or the end, where headers are."""
    way = rng.random()
    if way < 0.25:
        return rng.randrange(min(len(content), 512))
    if way < 0.5:
        return len(content) - 1 - rng.randrange(min(len(content), 4096))
    return rng.randrange(len(content))


def _flips(content: bytearray, rng: random.Random) -> bytearray:
    for _ in range(rng.choice((1, 1, 4, 32))):
        content[_place(content, rng)] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
    return content


def _hole(content: bytearray, rng: random.Random) -> bytearray:
    start, size = _place(content, rng), rng.choice((16, 512, 4096, 65536))
    end = min(start + size, len(content))
    content[start:end] = bytes([rng.choice((0, 0xFF))]) * (end - start)
    return content


def _cut(content: bytearray, rng: random.Random) -> bytearray:
    return content[: _place(content, rng)]


def _copied(content: bytearray, rng: random.Random) -> bytearray:
    size = rng.choice((4, 64, 4096))
    start, to = _place(content, rng), _place(content, rng)
    part = content[start : start + size]
    content[to : to + len(part)] = part
    return content


def _inserted(content: bytearray, rng: random.Random) -> bytearray:
    at = _place(content, rng)
    content[at:at] = rng.randbytes(rng.choice((1, 4, 4096)))
    return content


def _tag(content: bytearray, rng: random.Random) -> bytearray:
    """One entry of one directory gets another tag, type, count or value; or a directory another successor."""
    entries = list(_entries(bytes(content)))
    if not entries:
        return _flips(content, rng)
    at, order, is_big = rng.choice(entries)
    number = rng.choice((*_NUMBERS, rng.randrange(len(content)), len(content)))
    wide = "Q" if is_big else "I"
    part, form = rng.choice(((0, "H"), (2, "H"), (4, wide), (12 if is_big else 8, wide), (12 if is_big else 8, wide)))
    limit = 1 << (8 * struct.calcsize(order + form))
    if at + part + struct.calcsize(order + form) <= len(content):
        struct.pack_into(order + form, content, at + part, number % limit)
    return content


def _entries(content: bytes) -> Iterator[tuple[int, str, bool]]:
    """Place of every directory entry of a TIFF, with byte order and whether it is a BigTIFF."""
    order, is_big = ("<" if content[:2] == b"II" else ">"), content[2:4] in (b"+\0", b"\0+")
    wide, entry = ("Q", 20) if is_big else ("I", 12)
    link = 8 if is_big else 4
    seen: set[int] = set()
    while link + 8 <= len(content):
        (at,) = struct.unpack_from(order + wide, content, link)
        head = struct.calcsize(order + ("Q" if is_big else "H"))
        if at in seen or at == 0 or at + head > len(content):
            return
        seen.add(at)
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), content, at)
        for number in range(min(count, 100)):
            if at + head + (number + 1) * entry <= len(content):
                yield at + head + number * entry, order, is_big
        link = at + head + count * entry


def _word(text: str, rng: random.Random) -> str:
    found = list(re.finditer(r"[\w.+-]+", text))
    if not found:
        return rng.choice(_WORDS)
    match = rng.choice(found)
    new = rng.choice((*_WORDS, rng.choice(found)[0], match[0][::-1], match[0] * 2, "-" + match[0], match[0] + "e400"))
    return text[: match.start()] + new + text[match.end() :]


def _lines(text: str, rng: random.Random) -> str:
    lines = text.split("\n")
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    way = rng.randrange(4)
    if way == 0:
        del lines[at]
    elif way == 1:
        lines.insert(at, lines[other])
    elif way == 2:
        lines[at], lines[other] = lines[other], lines[at]
    else:
        lines = lines[: at + 1]
    return "\n".join(lines)


def _separator(text: str, rng: random.Random) -> str:
    old, new = rng.choice(((",", ";"), (",", "\t"), (".", ","), ("\n", "\r\n"), ("\n", "\r"), ('"', "'"), (":", "=")))
    return text.replace(old, new) if rng.random() < 0.5 else text.replace(old, new, 1)


def _letter(text: str, rng: random.Random) -> str:
    if not text:
        return text
    at = rng.randrange(len(text))
    new = rng.choice(("{", "}", "[", "]", '"', ",", ".", "-", "<", ">", "&", "\x00", chr(rng.randrange(0xD7FF))))
    return text[:at] + rng.choice(("", new)) + text[at + 1 :]
