"""A file that is not local, without a network: bytes in memory."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from slideloom.base.addresses import Address
from slideloom.slides.remote_file import RemoteFile


class BytesAt(RemoteFile):
    """Bytes as a file at an address, for tests of readers that take ranges."""

    def __init__(self, address: Address, content: bytes) -> None:
        self.address = address
        self.size = len(content)
        self.version = sha256(content).hexdigest()
        self.is_closed = False
        self._content = content

    def read(self, offset: int, length: int) -> bytes:
        """See `RemoteFile.read`."""
        if offset < 0 or length < 0 or offset + length > self.size or self.is_closed:
            raise ValueError(f"bytes {offset} to {offset + length} are not in the file, which has {self.size}")
        return self._content[offset : offset + length]

    def read_pieces(self, pieces: Sequence[tuple[int, int]]) -> list[memoryview]:
        """See `RemoteFile.read_pieces`."""
        return [memoryview(self.read(start, end - start)) for start, end in pieces]

    def copy_to(self, path: Path) -> None:
        """See `RemoteFile.copy_to`."""
        path.write_bytes(self._content)

    def close(self) -> None:
        """See `RemoteFile.close`."""
        self.is_closed = True
