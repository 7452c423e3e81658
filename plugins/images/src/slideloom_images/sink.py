"""The sink that stores each tile as a separate file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
from slideloom import (
    Draft,
    ImageEncoder,
    OutputError,
    Prepared,
    Scene,
    Sink,
    SlideInfo,
    TileBatch,
    Tiles,
    Writer,
    own_name,
    path_inside,
    path_of_name,
    storing_in,
    sync_path,
)

from slideloom_images.settings import Images


class ImageSink(Sink):
    """Encodes tiles and writes one folder of files per slide."""

    keeps_pixels = False

    def __init__(self, settings: Images) -> None:
        self._settings = settings
        self._image = ImageEncoder(cv2, settings)

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/<slide>/`."""
        path = path_of_name(path_inside(folder, self._settings.folder, scene.geometry.label), info.name)
        return ImageWriter(path, slide=own_name(info.name), extension=self._settings.format)

    def encode(self, batch: TileBatch) -> Sequence[bytes]:
        """Each tile as the bytes of its file."""
        return [self._image(rgb) for rgb in batch.rgb]


class ImageWriter(Writer):
    """Writes files into a hidden folder, which `commit` renames.

    A finished folder of an earlier run is moved aside during the exchange. If the process crashes at that moment, the
    next writer moves it back, so that the old result is never lost before the new one is in place.
    """

    def __init__(self, path: Path, *, slide: str, extension: str) -> None:
        self._path = path
        self._slide = slide
        self._extension = extension
        self._count = 0
        self._bytes = 0
        self._prepared: tuple[Prepared, ...] | None = None
        with storing_in(path.parent):
            self._folder = Draft(path)
            self._folder.partial.mkdir()

    def write(self, tiles: Tiles, encoded: Sequence[bytes]) -> None:
        """One file per tile, named after the tile's centre."""
        places = zip(tiles.index.tolist(), tiles.loc_x.tolist(), tiles.loc_y.tolist(), strict=True)
        with storing_in(self._path.parent):
            for (number, loc_x, loc_y), contents in zip(places, encoded, strict=True):
                name = f"{self._slide}-{loc_x}-{loc_y}"
                try:
                    self._write_new(f"{name}.{self._extension}", contents)
                except FileExistsError:  # two cells at one position: both are tiles
                    self._write_new(f"{name}-{number}.{self._extension}", contents)
        self._count += len(encoded)
        self._bytes += sum(map(len, encoded))

    def _write_new(self, name: str, contents: bytes) -> None:
        with (self._folder.partial / name).open("xb") as file:
            file.write(contents)

    def targets(self) -> Sequence[Path]:
        """The slide's folder."""
        return (self._folder.path,)

    def prepare(self) -> Sequence[Prepared]:
        """Make the files durable, and count them."""
        with storing_in(self._path.parent):
            self._prepared = self._prepare()
        return self._prepared

    def commit(self) -> Sequence[Path]:
        """Give the files' folder its name.

        If no tile was written, the folder of an earlier run is removed as well.
        """
        try:
            with storing_in(self._path.parent):
                return self._commit()
        finally:
            self.abort()  # nothing temporary is left, whatever happened

    def _prepare(self) -> tuple[Prepared, ...]:
        if self._count == 0:
            return ()
        if hasattr(os, "sync"):
            os.sync()  # once for all files: waiting for thousands one by one takes longer than making them
        self._check_files()
        return (Prepared(self._folder.path, self._folder.partial, tiles=self._count),)

    def _commit(self) -> Sequence[Path]:
        if self._prepared is None:
            self._prepared = self._prepare()
        if not self._prepared:
            self._folder.withdraw()
            return ()
        made = self._folder.publish()
        sync_path(self._path.parent)
        return (made,)

    def _check_files(self) -> None:
        with os.scandir(self._folder.partial) as entries:
            sizes = [entry.stat().st_size for entry in entries]
        if (len(sizes), sum(sizes)) != (self._count, self._bytes):
            raise OutputError(
                f"{self._path}: {len(sizes)} files of {sum(sizes)} bytes are there where {self._count} of "
                f"{self._bytes} were written; check the disk, then run again"
            )

    def abort(self) -> None:
        """Remove the unfinished folder."""
        self._folder.discard()
