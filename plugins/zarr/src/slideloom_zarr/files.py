"""Which folders and ZIP files are OME-Zarr slides.

Nothing here imports zarr, which takes a second: folders of slides are looked at by this.
"""

from __future__ import annotations

from pathlib import Path

from slideloom import Reader, RemoteFolder, Slide, SlideError

from slideloom_zarr.settings import OmeZarrReader
from slideloom_zarr.store import Store

_SLIDE_KEYS = ("multiscales", "bioformats2raw.layout", "plate")


class ZarrFiles(Reader):
    """Opens OME-Zarr slides.

    Args:
        settings: the image, channel and focal plane to show, what missing chunks are, and how much memory to use.
    """

    def __init__(self, settings: OmeZarrReader) -> None:
        self._settings = settings

    def recognises(self, path: Path) -> bool:
        """True for a folder or ZIP file whose first group says that it holds images, or a whole plate of them."""
        try:
            attributes = Store(path).attributes("")
        except (OSError, ValueError):
            return False
        return any(key in attributes for key in _SLIDE_KEYS)

    def recognises_remote_folder(self, folder: RemoteFolder) -> bool:
        """As `recognises`; what the network does is raised."""
        try:
            attributes = Store(folder).attributes("")
        except ValueError:
            return False
        return any(key in attributes for key in _SLIDE_KEYS)

    def open(self, path: Path) -> Slide:
        """See `Reader.open`."""
        from slideloom_zarr.slide import ZarrSlide  # imports zarr

        if not path.exists():
            raise SlideError(f"{path}: no such file or folder; check the path")
        try:
            store = Store(path)
            attributes = store.attributes("")
        except (OSError, ValueError) as error:
            raise SlideError(
                f"{path.name}: cannot be read as OME-Zarr ({error}); let another reader open it"
            ) from error
        return ZarrSlide(path, store, attributes, self._settings)

    def open_remote_folder(self, folder: RemoteFolder) -> Slide:
        """See `Reader.open_remote_folder`."""
        from slideloom_zarr.slide import ZarrSlide

        store = Store(folder)
        try:
            attributes = store.attributes("")
        except ValueError as error:
            raise SlideError(f"{folder.name}: cannot be read as OME-Zarr ({error}); copy it again") from error
        return ZarrSlide(folder.address, store, attributes, self._settings)
