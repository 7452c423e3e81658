"""The sink that stores each tile as a separate file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
from slideloom import (
    ImageEncoder,
    Scene,
    Sink,
    SlideInfo,
    TileBatch,
    Tiles,
    Writer,
    discard_path,
    partial_path,
    path_inside,
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
        path = path_inside(folder, self._settings.folder, scene.geometry.label, info.name)
        return ImageWriter(path, slide=info.name, extension=self._settings.format)

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
        self._partial = partial_path(path)
        self._old = path.with_name(f".{path.name}.old")
        self._count = 0
        with storing_in(path.parent):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._recover()
            discard_path(self._partial)
            self._partial.mkdir()

    def _recover(self) -> None:
        if self._old.exists() and not self._path.exists():
            self._old.rename(self._path)
        discard_path(self._old)

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

    def _write_new(self, name: str, contents: bytes) -> None:
        with (self._partial / name).open("xb") as file:
            file.write(contents)

    def commit(self) -> Sequence[Path]:
        """Make the files durable and give their folder its name.

        If no tile was written, the folder of an earlier run is removed as well.
        """
        try:
            with storing_in(self._path.parent):
                return self._commit()
        finally:
            self.abort()  # nothing temporary is left, whatever happened

    def _commit(self) -> Sequence[Path]:
        if self._count == 0:
            discard_path(self._path)
            return ()
        if hasattr(os, "sync"):
            os.sync()  # once for all files: syncing thousands one by one takes longer than writing them
        if self._path.exists():
            self._path.rename(self._old)
        self._partial.rename(self._path)
        sync_path(self._path.parent)
        discard_path(self._old)
        return (self._path,)

    def abort(self) -> None:
        """Remove the unfinished folder."""
        discard_path(self._partial)
        self._recover()
