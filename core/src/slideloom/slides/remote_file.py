"""The contract of files that are not local: bytes by ranges, an identity, and a copy."""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

from slideloom.base.addresses import Address
from slideloom.base.closing import Closing


class RemoteFile(Closing, ABC):
    """An open file at an address. Thread-safe.

    All bytes that it gives are of one version of the file: if the file changes meanwhile, reading it is an error.

    Attributes:
        address: where it is.
        size: in bytes.
        version: what changes whenever its content does, such as an ETag.
        has_ranges: False if its bytes cannot be had by ranges, so that only `copy_to` reads it.
        gap: bytes between two ranges below which reading them as one is quicker.
    """

    address: Address
    size: int
    version: str
    has_ranges: bool = True
    gap: int = 1 << 16

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.name

    @property
    def identity(self) -> list[object]:
        """What the digest of a slide needs of it: as `fingerprint` of a local file."""
        return [["", self.size, self.version, ""]]

    @abstractmethod
    def read(self, offset: int, length: int) -> bytes:
        """`length` bytes from `offset`; what was read lately need not be asked for again.

        Raises:
            ValueError: they are not in the file.
            OSError: they cannot be read, also after several tries.
            SlideError: the file has changed or is gone, so no more of it will be read.
        """

    @abstractmethod
    def read_pieces(self, pieces: Sequence[tuple[int, int]]) -> Sequence[memoryview]:
        """The bytes of each piece (start, end), asked for in parallel; they must lie within the file.

        A piece that cannot be read is empty: `read` then tells why.

        Raises:
            SlideError: as `read`.
        """

    @abstractmethod
    def copy_to(self, path: Path) -> None:
        """Write the whole file to a local path.

        Raises:
            OSError: the path cannot be written.
            SlideError: the file cannot be read, has changed, or came incomplete.
        """

    @abstractmethod
    def close(self) -> None:
        """Release it. Called once or more often."""

    def stream(self) -> BinaryIO:
        """The file as Python's own files are, for reading."""
        return cast("BinaryIO", RangeStream(self.read, self.size))


class RangeStream(io.RawIOBase):
    """Reads by ranges of bytes from a position that moves.

    Args:
        read: gives the bytes from a place on, as many as asked for.
        size: of what is read, in bytes.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int) -> None:
        super().__init__()
        self._read = read
        self._size = size
        self._at = 0

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """See `io.RawIOBase.tell`."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """See `io.RawIOBase.seek`."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def readinto(self, out: Any) -> int:  # Any: a buffer, which Python 3.11 has no name for
        """See `io.RawIOBase.readinto`."""
        view = memoryview(out).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        if count:
            view[:count] = self._read(self._at, count)
        self._at += count
        return count
