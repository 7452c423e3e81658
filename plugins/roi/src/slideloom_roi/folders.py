"""The files of a folder of regions: on a disk, or at an address, of which only what is needed is copied."""

from __future__ import annotations

import shutil
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp
from unicodedata import normalize

from slideloom import Address, ConfigError, OutputError, RoiError, SlideError, path_inside, path_of_name, registry

from slideloom_roi.contents import bytes_of
from slideloom_roi.drafts import Mistake
from slideloom_roi.finding import listed


class Folder(ABC):
    """A folder with files of regions."""

    @abstractmethod
    def files(self, within: str = "") -> Sequence[Path]:
        """All files in it, or in a folder below it, such as "lab1/case7"; none if there is no such folder.

        Raises:
            OutputError: `within` would lead elsewhere.
        """

    @abstractmethod
    def shown(self, path: Path) -> str:
        """How messages and reports name a file of it."""

    def read(self, path: Path) -> bytes:
        """The content of a file.

        Raises:
            RoiError: it cannot be read.
        """
        try:
            return bytes_of(path)
        except Mistake as error:
            raise RoiError(f"{self.shown(path)}: {error}") from error
        except OSError as error:
            reason = f"cannot be read ({error.strerror or error}); check the file"
            raise RoiError(f"{self.shown(path)}: {reason}") from error


class LocalFolder(Folder):
    """A folder on a disk.

    Raises:
        ConfigError: there is none.
    """

    def __init__(self, folder: Path, *, used_by: str) -> None:
        if not folder.is_dir():
            raise ConfigError(f"{folder}: no such folder of regions; set `folder` of {used_by!r}")
        self._folder = folder

    def __str__(self) -> str:
        return str(self._folder)

    def files(self, within: str = "") -> Sequence[Path]:
        """See `Folder.files`."""
        if not within:
            return listed(self._folder)
        # Some systems store accents composed, others in two parts.
        ways = dict.fromkeys((within, normalize("NFC", within), normalize("NFD", within)))
        folder = next((path for way in ways if (path := path_of_name(self._folder, way)).is_dir()), None)
        return () if folder is None else listed(folder)

    def shown(self, path: Path) -> str:
        """See `Folder.shown`."""
        return str(path)


class RemoteFolder(Folder):
    """A folder at an address, or one file. Its files are empty until they are read, and removed with this object.

    Args:
        address: of the folder, or of a file whose name ends in one of the suffixes.
        suffixes: of files of regions.
    """

    def __init__(self, address: Address, suffixes: Sequence[str]) -> None:
        is_file = address.name.lower().removesuffix(".gz").endswith(tuple(suffixes)) and not address.is_folder
        whole = address if is_file or address.is_folder else Address(f"{address.url}/")
        self._address = whole
        found = [whole] if is_file else self._listed(whole)
        self._home = Path(mkdtemp(prefix="slideloom-roi-"))
        weakref.finalize(self, shutil.rmtree, self._home, ignore_errors=True)
        self._places: dict[Path, Address] = {}
        self._copied: set[Path] = set()
        self._has_all = is_file  # True if all files are known, also those in folders below
        self._add(found)

    @staticmethod
    def _listed(folder: Address) -> Sequence[Address]:
        files = registry().remote_files(folder)
        try:
            return files.list(folder)
        except ConfigError:
            with suppress(ConfigError):  # the first error says more
                return files.list(Address(f"{folder.url}**"))  # perhaps it holds nothing but folders
            raise

    def _add(self, found: Sequence[Address]) -> None:
        for item in found:
            below = item.url.startswith(self._address.url)
            between = item.url.removeprefix(self._address.url).split("/")[:-1] if below else []
            with suppress(OutputError):  # a folder of a name that no slide's can have
                folder = path_inside(self._home, *between)
                if item.name:
                    folder.mkdir(parents=True, exist_ok=True)
                    self._places[folder / item.name] = item
                    (folder / item.name).touch()

    def __str__(self) -> str:
        return str(self._address)

    def files(self, within: str = "") -> Sequence[Path]:
        """See `Folder.files`."""
        if not within:
            return [path for path in listed(self._home) if path in self._places]
        folder = path_of_name(self._home, within)
        if not self._has_all:
            self._has_all = True
            below, known = Address(f"{self._address.url}**"), set(self._places.values())
            self._add([item for item in registry().remote_files(below).list(below) if item not in known])
        return [path for path in listed(folder) if path in self._places] if folder.is_dir() else ()

    def shown(self, path: Path) -> str:
        """See `Folder.shown`."""
        return str(self._places[path])

    def read(self, path: Path) -> bytes:
        """See `Folder.read`."""
        if path not in self._copied:
            place = self._places[path]
            try:
                with registry().remote_files(place).open(place) as remote:
                    remote.copy_to(path)
            except SlideError as error:
                raise RoiError(str(error)) from error
            self._copied.add(path)
        return super().read(path)


def folder_at(place: Path | Address, suffixes: Sequence[str], *, used_by: str) -> Folder:
    """The folder at a path or an address.

    Raises:
        ConfigError: there is none, or it cannot be listed.
    """
    if isinstance(place, Address):
        return RemoteFolder(place, suffixes)
    return LocalFolder(place, used_by=used_by)
