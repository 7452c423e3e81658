"""The sink that stores the coordinates of a slide's tiles and, optionally, their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from slideloom import (
    Draft,
    OutputError,
    PatientFile,
    Prepared,
    Rgb,
    Scene,
    Sink,
    SlideInfo,
    TileBatch,
    Tiles,
    Writer,
    path_inside,
    storing_in,
    sync_path,
)

from slideloom_hdf5.conventions import Attribute, coords_attributes, file_name_of, job_folder
from slideloom_hdf5.settings import HDF5

# Of each data set's tiles, as HDF5 1 has it; the 8 MB of HDF5 2 would hide a full disk until the end of a small slide,
# and the order in which tiles reach the file would depend on the library.
_CACHE_BYTES = 1 << 20


class HDF5Sink(Sink):
    """Writes one HDF5 file per slide."""

    def __init__(self, settings: HDF5) -> None:
        self._settings = settings
        self.keeps_pixels = settings.images

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/patches/`."""
        settings, geometry = self._settings, scene.geometry
        home = path_inside(folder, settings.folder, job_folder(geometry, settings.style))
        return HDF5Writer(
            path_inside(home, "patches", file_name_of(info.name, settings.style)),
            attributes=coords_attributes(
                info, geometry, style=settings.style, home=home.relative_to(folder).as_posix()
            ),
            tile_px=geometry.tile_px if settings.images else None,
        )

    def encode(self, batch: TileBatch) -> Sequence[Rgb | None]:
        """The tiles' pixels unchanged, or nothing if only coordinates are stored."""
        return list(batch.rgb) if self._settings.images else [None] * len(batch)


class HDF5Writer(Writer):
    """Collects places, and writes pixels as they come; `prepare` adds the places, `commit` names the file."""

    def __init__(self, path: Path, *, attributes: Mapping[str, Attribute], tile_px: int | None) -> None:
        self._path = path
        self._attributes = attributes
        self._coords: list[NDArray[np.int64]] = []
        self._stream: PatientFile | None = None
        self._file: h5py.File | None = None
        self._images: h5py.Dataset | None = None
        self._prepared: tuple[Prepared, ...] | None = None
        with storing_in(path.parent):
            self._draft = Draft(path)
            self._stream = PatientFile(self._draft.partial)
            self._file = h5py.File(self._stream, "w", rdcc_nbytes=_CACHE_BYTES)
            if tile_px is not None:
                shape = (tile_px, tile_px, 3)
                self._images = self._file.create_dataset(
                    "imgs", shape=(0, *shape), maxshape=(None, *shape), chunks=(1, *shape), dtype=np.uint8
                )
                self._images.attrs["wsi_name"] = attributes["name"]

    def write(self, tiles: Tiles, encoded: Sequence[Rgb | None]) -> None:
        """Collect coordinates; store pixels."""
        self._coords.append(np.stack((tiles.x, tiles.y), axis=1))
        if self._images is None or self._stream is None:
            return
        with storing_in(self._path.parent):
            for rgb in encoded:  # one by one, so that the file does not depend on the size of batches
                self._images.resize(len(self._images) + 1, axis=0)
                self._images[-1] = rgb
                self._stream.check()

    def targets(self) -> Sequence[Path]:
        """The slide's file."""
        return (self._draft.path,)

    def prepare(self) -> Sequence[Prepared]:
        """Store the places, make the file durable, and count its rows."""
        with storing_in(self._path.parent):
            self._prepared = self._prepare()
        return self._prepared

    def commit(self) -> Sequence[Path]:
        """Give the file its name.

        If no tile was written, the file of an earlier run is removed as well.
        """
        try:
            with storing_in(self._path.parent):
                return self._commit()
        finally:
            self.abort()  # nothing temporary is left, whatever happened

    def _prepare(self) -> tuple[Prepared, ...]:
        if not any(map(len, self._coords)) or self._file is None:
            return ()
        count, has_images = sum(map(len, self._coords)), self._images is not None
        coords = self._file.create_dataset(
            "coords", data=np.concatenate(self._coords), maxshape=(None, 2), chunks=(1, 2), dtype=np.int64
        )
        for name in sorted(self._attributes):
            coords.attrs[name] = self._attributes[name]
        self._close()
        self._check_rows(count, ("coords", "imgs") if has_images else ("coords",))
        sync_path(self._draft.partial)
        return (Prepared(self._draft.path, self._draft.partial, tiles=count),)

    def _commit(self) -> Sequence[Path]:
        if self._prepared is None:
            self._prepared = self._prepare()
        if not self._prepared:
            self._draft.withdraw()
            return ()
        made = self._draft.publish()
        sync_path(self._path.parent)
        return (made,)

    def _check_rows(self, wanted: int, names: Sequence[str]) -> None:
        # Opened here: the library would ask for a lock, which some file systems do not have.
        with self._draft.partial.open("rb") as stored, h5py.File(stored, "r") as file:
            found = {name: len(file[name]) for name in names}
        if set(found.values()) != {wanted}:
            raise OutputError(
                f"{self._path}: holds {found} where {wanted} tiles were written; check the disk, then run again"
            )

    def _close(self) -> None:
        file, stream, self._file, self._stream, self._images = self._file, self._stream, None, None, None
        if file is not None and stream is not None:
            file.close()
            stream.close()
            stream.check()

    def abort(self) -> None:
        """Remove the unfinished file."""
        with suppress(OSError):  # the file is discarded, so a full disk does not matter here
            self._close()
        self._draft.discard()
