"""Settings of the reader."""

from __future__ import annotations

from typing import ClassVar

from attrs import frozen
from slideloom import Reader, Settings


@frozen
class Hospital(Settings[Reader]):
    """Folders of PNG tiles, named by barcode, with their facts in scans.json."""

    name: ClassVar[str] = "hospital"
    step: ClassVar[str] = "slideloom_hospital.folder:FolderReader"
    opens_folders: ClassVar[bool] = True
