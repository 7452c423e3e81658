"""The files of an OME-Zarr slide: what they say, and which chunks there are.

Source: OME-Zarr 0.4 and 0.5 (ngff.openmicroscopy.org); Zarr specifications 2 and 3.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from slideloom import RemoteFolder, parse_json

Attributes = Mapping[str, Any]  # Any: what JSON holds
_MOST_BYTES = 1 << 26  # of a group's description


class Store:
    """The files below the folder, or in the ZIP file, that a slide is.

    Args:
        place: of the folder or ZIP file, or a folder that is not local.

    Attributes:
        remote: the folder, if it is not local.

    Raises:
        ValueError: it is neither a folder nor a ZIP file. OSError: it cannot be read.
    """

    def __init__(self, place: Path | RemoteFolder) -> None:
        self.remote = place if isinstance(place, RemoteFolder) else None
        self.name = place.name
        self._path = place if isinstance(place, Path) else Path()
        self._names: frozenset[str] | None = None
        self._asked: dict[str, bytes | None] = {}  # small files of a remote folder
        if self.remote is not None or self._path.is_dir():
            return
        if not zipfile.is_zipfile(self._path):
            raise ValueError("it is neither a folder nor a ZIP file")
        try:
            with zipfile.ZipFile(self._path) as archive:
                self._names = frozenset(archive.namelist())
        except (zipfile.BadZipFile, NotImplementedError) as error:
            raise ValueError(str(error)) from error

    @property
    def is_zip(self) -> bool:
        """True for a ZIP file."""
        return self._names is not None

    def has(self, name: str) -> bool:
        """True if there is a file of this name; of a remote folder, for small files only."""
        if self.remote is not None:
            return self._fetched(name) is not None
        return (self._path / name).is_file() if self._names is None else name in self._names

    def text(self, name: str) -> bytes:
        """What a small file holds.

        Raises:
            ValueError: it is missing or too large. OSError: it cannot be read.
            LostSlide: no more of a remote folder can be read.
        """
        if not self.has(name):
            raise ValueError(f"it has no {name}")
        content = self._fetched(name) if self.remote is not None else self._read(name)
        if content is None or len(content) > _MOST_BYTES:
            raise ValueError(f"{name} is too large")
        return content

    def _read(self, name: str) -> bytes:
        if self._names is None:
            with (self._path / name).open("rb") as file:
                return file.read(_MOST_BYTES + 1)
        try:
            with zipfile.ZipFile(self._path) as archive, archive.open(name) as file:
                return file.read(_MOST_BYTES + 1)
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
            raise ValueError(str(error)) from error

    def _fetched(self, name: str) -> bytes | None:
        if self.remote is None:
            raise RuntimeError("the folder is local")
        if name not in self._asked:
            self._asked[name] = self.remote.read(name)
        return self._asked[name]

    def small_files(self) -> Mapping[str, bytes]:
        """What was read of a remote folder's small files, by name."""
        return {name: content for name, content in self._asked.items() if content is not None}

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
