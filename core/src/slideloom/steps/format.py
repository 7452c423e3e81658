"""The contract of formats: what is said of a file that no reader takes."""

from __future__ import annotations

from abc import ABC
from collections.abc import Collection
from pathlib import Path
from typing import ClassVar


class Format(ABC):
    """A format of slides, as the core needs to know it. What no installed format knows goes to readers as it is.

    One object is made when plugins are listed, so heavy modules are imported in its methods. They may be called from
    several threads at once, never change a file, and raise nothing for a file of another format.

    Attributes:
        name: for messages, such as "TIFF".
        readers_say_more: True if a reader tells more exactly than `refusal` what it does not take of this format, so
            that `refusal` is called only if no reader says anything.
    """

    name: ClassVar[str]
    readers_say_more: ClassVar[bool] = False

    def refusal(self, path: Path) -> str | None:
        """Why no reader takes a file of this format, and what to do; None if it may be readable, or another format.

        Called for a file that no reader recognises. The text goes on after the file's name and a colon.
        """
        return None

    def advice(self, path: Path, readers: Collection[str]) -> str | None:
        """What a file is, and what would read it; None if there is nothing to say, or it is of another format.

        Called if no `refusal` explains why no reader recognises a file.

        Args:
            path: of the file.
            readers: names of the readers that were asked.
        """
        return None
