"""The contract of folders that are not local, in which a slide is many files: what each holds, or that it is absent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import Future

from attrs import frozen

from slideloom.base.addresses import Address
from slideloom.base.closing import Closing


@frozen
class RemoteState:
    """What tells whether a file that is not local has changed.

    Attributes:
        size: in bytes.
        version: what changes whenever its content does, such as an ETag; "" if nobody tells.
    """

    size: int
    version: str


class RemoteFolder(Closing, ABC):
    """The files below an address. Thread-safe.

    That a file is not there is no error. That it cannot be had always is one: whoever reads a folder must be able to
    tell an empty place from a failed request.

    Attributes:
        address: of the folder, without a slash at its end.
    """

    address: Address

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.name

    @abstractmethod
    def ask(self, name: str, start: int | None = None, end: int | None = None) -> Future[bytes | None]:
        """The bytes of a file below the folder, asked for in the background; None if there is no such file.

        Args:
            name: its path below the folder, with `/`.
            start: of the range to read; of a negative one, so many bytes at the end. By default all.
            end: of the range; None for the end of the file.

        Its result raises:
            OSError: it cannot be read, also after several tries; `strerror` says why.
            LostSlide: no more of the folder will be read, as after a refusal, or where a file has changed.
        """

    def read(self, name: str) -> bytes | None:
        """All bytes of a file, or None; otherwise as `ask`."""
        return self.ask(name).result()

    @abstractmethod
    def states(self, names: Sequence[str]) -> list[RemoteState | None]:
        """Size and version of each file, asked for in parallel; None for one that is not there.

        Raises:
            OSError, LostSlide: as `ask`.
        """

    @abstractmethod
    def close(self) -> None:
        """Release it. Called once or more often."""
