"""Settings of the reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings


@frozen
class Hospital(Settings[Reader]):
    """Folders of PNG tiles, named by barcode, with their facts in scans.json."""

    name: ClassVar[str] = "hospital"
    opens_folders: ClassVar[bool] = True

    def build(self) -> Reader:
        """The reader."""
        from slideloom_hospital.folder import FolderReader

        return FolderReader()
