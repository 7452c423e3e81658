"""The sink that stores the coordinates of a slide's tiles and, optionally, their pixels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray
from slideloom import (
    Companion,
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
    path_of_name,
    storing_in,
    sync_path,
)

from slideloom_hdf5.conventions import Attribute, coords_attributes, ending_of, job_folder
from slideloom_hdf5.settings import HDF5

# Of each data set's tiles, as HDF5 1 has it; the 8 MB of HDF5 2 would hide a full disk until the end of a small slide,
# and the order in which tiles reach the file would depend on the library.
_CACHE_BYTES = 1 << 20


Encoded = tuple[Rgb | None, Mapping[str, NDArray[np.uint8]]]  # pixels, those of the tile's companions by name


class HDF5Sink(Sink):
    """Writes one HDF5 file per slide."""

    stores_companions = True

    def __init__(self, settings: HDF5) -> None:
        self._settings = settings
        self.keeps_pixels = settings.images

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/patches/`."""
        settings, geometry = self._settings, scene.geometry
        home = path_inside(folder, settings.folder, job_folder(geometry, settings.style))
        return HDF5Writer(
            path_of_name(home / "patches", info.name, ending=ending_of(settings.style)),
            attributes=coords_attributes(
                info, geometry, style=settings.style, home=home.relative_to(folder).as_posix()
            ),
            tile_px=geometry.tile_px if settings.images else None,
            companions=scene.companions,
        )

    def encode(self, batch: TileBatch) -> Sequence[Encoded]:
        """The tiles' pixels unchanged, or nothing if only coordinates are stored; and those of their companions."""
        pixels: Sequence[Rgb | None] = list(batch.rgb) if self._settings.images else [None] * len(batch)
        beside = [{name: found[i] for name, found in batch.companions.items()} for i in range(len(batch))]
        return list(zip(pixels, beside, strict=True))


class HDF5Writer(Writer):
    """Collects places, and writes pixels as they come; `prepare` adds the places, `commit` names the file."""

    def __init__(
        self,
        path: Path,
        *,
        attributes: Mapping[str, Attribute],
        tile_px: int | None,
        companions: Sequence[Companion] = (),
    ) -> None:
        self._path = path
        self._attributes = attributes
        self._coords: list[NDArray[np.int64]] = []
        self._stream: PatientFile | None = None
        self._file: h5py.File | None = None
        self._pictures: dict[str, h5py.Dataset] = {}
        self._prepared: tuple[Prepared, ...] | None = None
        with storing_in(path.parent):
            self._draft = Draft(path)
            self._stream = PatientFile(self._draft.partial)
            self._file = h5py.File(self._stream, "w", rdcc_nbytes=_CACHE_BYTES)
            if tile_px is not None:
                images = self._add("imgs", self._file, (tile_px, tile_px, 3))
                images.attrs["wsi_name"] = attributes["name"]
            for each in companions:
                self._add_companion(each, self._file)

    def _add(self, name: str, file: h5py.File, shape: tuple[int, ...]) -> h5py.Dataset:
        """A data set of pictures, one per tile."""
        self._pictures[name] = file.create_dataset(
            name, shape=(0, *shape), maxshape=(None, *shape), chunks=(1, *shape), dtype=np.uint8
        )
        return self._pictures[name]

    def _add_companion(self, companion: Companion, file: h5py.File) -> None:
        side = companion.size_px
        pictures = self._add(companion.name, file, (side, side) if companion.is_mask else (side, side, 3))
        pictures.attrs["mpp"] = companion.mpp
        if companion.classes is not None:
            pictures.attrs["classes"] = json.dumps(dict(companion.classes))

    def write(self, tiles: Tiles, encoded: Sequence[Encoded]) -> None:
        """Collect coordinates; store pixels."""
        self._coords.append(np.stack((tiles.x, tiles.y), axis=1))
        if not self._pictures or self._stream is None:
            return
        with storing_in(self._path.parent):
            for rgb, companions in encoded:  # one by one, so that the file does not depend on the size of batches
                for name, pictures in self._pictures.items():
                    pictures.resize(len(pictures) + 1, axis=0)
                    pictures[-1] = rgb if name == "imgs" else companions[name]
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
        count, names = sum(map(len, self._coords)), ("coords", *self._pictures)
        coords = self._file.create_dataset(
            "coords", data=np.concatenate(self._coords), maxshape=(None, 2), chunks=(1, 2), dtype=np.int64
        )
        for name in sorted(self._attributes):
            coords.attrs[name] = self._attributes[name]
        self._close()
        self._check_rows(count, names)
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
        file, stream, self._file, self._stream, self._pictures = self._file, self._stream, None, None, {}
        if file is not None and stream is not None:
            file.close()
            stream.close()
            stream.check()

    def abort(self) -> None:
        """Remove the unfinished file."""
        with suppress(OSError):  # the file is discarded, so a full disk does not matter here
            self._close()
        self._draft.discard()
