"""What a file holds, in a few numbers: its size, its MD5, and what S3 will call this content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import attrs
from attrs import frozen

_PART = 16 << 20
_MOST_PARTS = 9000  # S3 takes 10,000


@frozen
class Print:
    """What a file held when it was put, or was about to be.

    Attributes:
        bytes: its size.
        md5: of all of it, 32 hexadecimal digits.
        etag: what S3 calls it: `md5`, or if it is put in parts, the MD5 of theirs and their number.
        version: what the store said of its version afterwards; "" before, or if it says nothing.
        changed_ns: when the local file was last changed.
    """

    bytes: int
    md5: str
    etag: str
    version: str = ""
    changed_ns: int = 0

    @classmethod
    def of(cls, path: Path) -> Self:
        """Of a local file, which is read completely.

        Raises:
            OSError: it cannot be read.
        """
        state, total, parts = path.stat(), hashlib.md5(usedforsecurity=False), []
        with path.open("rb", buffering=0) as file:
            while part := file.read(part_bytes(state.st_size)):
                total.update(part)
                parts.append(hashlib.md5(part, usedforsecurity=False).digest())
        md5 = total.hexdigest()
        of_parts = hashlib.md5(b"".join(parts), usedforsecurity=False).hexdigest()
        etag = md5 if len(parts) < 2 else f"{of_parts}-{len(parts)}"
        return cls(state.st_size, md5, etag, changed_ns=state.st_mtime_ns)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Self:
        """The print that `as_table` wrote.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        words = {name: str(table[name]) for name in ("md5", "etag", "version")}
        return cls(bytes=int(table["bytes"]), changed_ns=int(table["changed_ns"]), **words)

    def as_table(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return attrs.asdict(self)

    def is_of(self, path: Path) -> bool:
        """True if a local file has not changed since, as far as its size and time tell.

        Raises:
            OSError: it cannot be looked at.
        """
        state = path.stat()
        return (state.st_size, state.st_mtime_ns) == (self.bytes, self.changed_ns)


def part_bytes(size: int) -> int:
    """Bytes of each part, but the last, in which a file of this size is put."""
    return max(_PART, -(-size // _MOST_PARTS))


def md5_of(path: Path, size: int) -> str:
    """The MD5 of the first bytes of a local file.

    Raises:
        OSError: it cannot be read.
    """
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(size, _PART))):
            found.update(block)
            size -= len(block)
    return found.hexdigest()
