"""The contract of readers: a file in, an open slide out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

from slideloom.base.errors import SlideError
from slideloom.slides.remote_file import RemoteFile
from slideloom.slides.remote_folder import RemoteFolder
from slideloom.slides.slide import Slide


class Reader(ABC):
    """Opens slides of a family of formats."""

    @abstractmethod
    def recognises(self, path: Path) -> bool:
        """True if this reader can open the file, judged by content; the extension alone is not enough.

        Called once per slide and reader. Must be fast and must not raise for a file of another format.
        """

    def refusal(self, path: Path) -> str | None:
        """Why this reader does not recognise a file of its kind, and what to do; None if it cannot tell.

        Called for a file that no reader recognises. Must not raise.
        """
        return None

    @abstractmethod
    def open(self, path: Path) -> Slide:
        """The slide, ready to read.

        Raises:
            SlideError: the file is damaged or not a slide; the message names the file and the remedy.
        """

    def recognises_remote(self, file: RemoteFile) -> bool:
        """True if this reader can read the file where it is, by ranges of its bytes. By default it cannot.

        A file that no reader takes so is copied, and then `recognises` and `open` are asked. Otherwise as `recognises`,
        but what the system says of the network may be raised.
        """
        return False

    def open_remote(self, file: RemoteFile) -> Slide:
        """As `open`, of a file that `recognises_remote`. The slide closes the file when it is closed."""
        raise SlideError(f"{file.name}: this reader takes local files only")

    def recognises_remote_folder(self, folder: RemoteFolder) -> bool:
        """True if this reader can read the folder where it is, file by file. By default it cannot.

        Otherwise as `recognises`, but what the system says of the network may be raised.
        """
        return False

    def open_remote_folder(self, folder: RemoteFolder) -> Slide:
        """As `open`, of a folder that `recognises_remote_folder`. The slide sets `identity`, and closes the folder."""
        raise SlideError(f"{folder.name}: this reader takes local folders only")
