"""The files of an OME-Zarr slide: what they say, and which chunks there are.

Source: OME-Zarr 0.4 and 0.5 (ngff.openmicroscopy.org); Zarr specifications 2 and 3.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slideloom import parse_json

Attributes = Mapping[str, Any]  # Any: what JSON holds
_MOST_BYTES = 1 << 26  # of a group's description


class Store:
    """The files below the folder, or in the ZIP file, that a slide is.

    Args:
        path: of the folder or ZIP file.

    Raises:
        ValueError: it is neither. OSError: it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: frozenset[str] | None = None
        if path.is_dir():
            return
        if not zipfile.is_zipfile(path):
            raise ValueError("it is neither a folder nor a ZIP file")
        try:
            with zipfile.ZipFile(path) as archive:
                self._names = frozenset(archive.namelist())
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(str(error)) from error

    @property
    def is_zip(self) -> bool:
        """True for a ZIP file."""
        return self._names is not None

    def has(self, name: str) -> bool:
        """True if there is a file of this name."""
        return (self.path / name).is_file() if self._names is None else name in self._names

    def text(self, name: str) -> bytes:
        """What a small file holds.

        Raises:
            ValueError: it is missing or too large. OSError: it cannot be read.
        """
        if not self.has(name):
            raise ValueError(f"it has no {name}")
        if self._names is None:
            with (self.path / name).open("rb") as file:
                content = file.read(_MOST_BYTES + 1)
        else:
            try:
                with zipfile.ZipFile(self.path) as archive, archive.open(name) as file:
                    content = file.read(_MOST_BYTES + 1)
            except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
                raise ValueError(str(error)) from error
        if len(content) > _MOST_BYTES:
            raise ValueError(f"{name} is too large")
        return content

    def attributes(self, group: str) -> Attributes:
        """What a group says of itself: OME-Zarr's part of it, of either version.

        Raises:
            ValueError: it is no group, or its description is damaged. OSError: it cannot be read.
        """
        prefix = f"{group}/" if group else ""
        if self.has(f"{prefix}zarr.json"):
            described = parse_json(self.text(f"{prefix}zarr.json"))
            found = described.get("attributes", {}) if isinstance(described, dict) else {}
            found = found.get("ome", found) if isinstance(found, dict) else {}
        elif self.has(f"{prefix}.zattrs"):
            found = parse_json(self.text(f"{prefix}.zattrs"))
        else:
            raise ValueError(f"it has neither {prefix}zarr.json nor {prefix}.zattrs")
        if not isinstance(found, dict):
            raise ValueError("its attributes are no table")
        return found
