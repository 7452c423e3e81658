"""What is closed when a `with` statement ends."""

from __future__ import annotations

from types import TracebackType
from typing import Self


class Closing:
    """Something open: `with` closes it at its end."""

    def close(self) -> None:
        """Release it."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
