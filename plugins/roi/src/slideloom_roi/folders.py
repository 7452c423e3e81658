"""The files of a folder of regions: on a disk, or at an address, of which only what is needed is copied."""

from __future__ import annotations

import shutil
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp

from slideloom import Address, ConfigError, RoiError, SlideError, registry

from slideloom_roi.contents import bytes_of
from slideloom_roi.drafts import Mistake
from slideloom_roi.finding import listed


class Folder(ABC):
    """A folder with files of regions."""

    @abstractmethod
    def files(self) -> Sequence[Path]:
        """All files in it."""

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

    def files(self) -> Sequence[Path]:
        """See `Folder.files`."""
        return listed(self._folder)

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
        found = [whole] if is_file else registry().remote_files(whole).list(whole)
        self._home = Path(mkdtemp(prefix="slideloom-roi-"))
        weakref.finalize(self, shutil.rmtree, self._home, ignore_errors=True)
        self._places: dict[str, Address] = {item.name: item for item in found if item.name}
        self._copied: set[str] = set()
        for name in self._places:
            (self._home / name).touch()

    def __str__(self) -> str:
        return str(self._address)

    def files(self) -> Sequence[Path]:
        """See `Folder.files`."""
        return listed(self._home)

    def shown(self, path: Path) -> str:
        """See `Folder.shown`."""
        return str(self._places[path.name])

    def read(self, path: Path) -> bytes:
        """See `Folder.read`."""
        if path.name not in self._copied:
            place = self._places[path.name]
            try:
                with registry().remote_files(place).open(place) as remote:
                    remote.copy_to(path)
            except SlideError as error:
                raise RoiError(str(error)) from error
            self._copied.add(path.name)
        return super().read(path)


def folder_at(place: Path | Address, suffixes: Sequence[str], *, used_by: str) -> Folder:
    """The folder at a path or an address.

    Raises:
        ConfigError: there is none, or it cannot be listed.
    """
    if isinstance(place, Address):
        return RemoteFolder(place, suffixes)
    return LocalFolder(place, used_by=used_by)
