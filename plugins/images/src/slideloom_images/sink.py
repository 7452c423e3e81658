"""The sink that stores each tile as a separate file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
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
    path_inside,
    storing_in,
    sync_path,
)

from slideloom_images.settings import Images

Encoded = tuple[bytes, dict[str, bytes]]  # the tile's file, those of its companions by name


class ImageSink(Sink):
    """Encodes tiles and writes one folder of files per slide, and one for each companion of the tiles."""

    keeps_pixels = False
    stores_companions = True

    def __init__(self, settings: Images) -> None:
        self._settings = settings
        self._image = ImageEncoder(cv2, settings)

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/<slide>/`."""
        settings, label = self._settings, scene.geometry.label
        beside = {
            each.name: Folder(
                path_inside(folder, f"{settings.folder}-{each.name}", label, info.name), each.extension(settings.format)
            )
            for each in scene.companions
        }
        path = path_inside(folder, settings.folder, label, info.name)
        return ImageWriter(Folder(path, settings.format), slide=info.name, beside=beside)

    def encode(self, batch: TileBatch) -> Sequence[Encoded]:
        """Each tile as the bytes of its file, and of those of its companions."""
        tiles = [self._image(rgb) for rgb in batch.rgb]
        return list(zip(tiles, self._image.companions(batch), strict=True))


class Folder:
    """A folder of files that is hidden until it is complete.

    Args:
        path: its final name.
        extension: of its files.
    """

    def __init__(self, path: Path, extension: str) -> None:
        self.path = path
        self.extension = extension
        self._count = 0
        self._bytes = 0
        with storing_in(path.parent):
            self.draft = Draft(path)
            self.draft.partial.mkdir()

    def write(self, name: str, contents: bytes) -> None:
        """Write a new file.

        Raises:
            FileExistsError: there is one with this name.
        """
        with (self.draft.partial / f"{name}.{self.extension}").open("xb") as file:
            file.write(contents)
        self._count += 1
        self._bytes += len(contents)

    def check(self) -> Prepared:
        """The folder, if its files are as they were written.

        Raises:
            OutputError: they are not.
        """
        with os.scandir(self.draft.partial) as entries:
            sizes = [entry.stat().st_size for entry in entries]
        if (len(sizes), sum(sizes)) != (self._count, self._bytes):
            raise OutputError(
                f"{self.path}: {len(sizes)} files of {sum(sizes)} bytes are there where {self._count} of "
                f"{self._bytes} were written; check the disk, then run again"
            )
        return Prepared(self.path, self.draft.partial, tiles=self._count)


class ImageWriter(Writer):
    """Writes files into hidden folders, which `commit` renames.

    A finished folder of an earlier run is moved aside during the exchange. If the process crashes at that moment, the
    next writer moves it back, so that the old result is never lost before the new one is in place.

    Args:
        tiles: the folder of the tiles.
        slide: the slide's name.
        beside: a folder for each companion of the tiles, by its name.
    """

    def __init__(self, tiles: Folder, *, slide: str, beside: Mapping[str, Folder]) -> None:
        self._tiles = tiles
        self._slide = slide
        self._beside = beside
        self._count = 0
        self._prepared: tuple[Prepared, ...] | None = None

    @property
    def _folders(self) -> list[Folder]:
        """All of them, that of the tiles last: whoever sees it sees a complete slide."""
        return [*self._beside.values(), self._tiles]

    def write(self, tiles: Tiles, encoded: Sequence[Encoded]) -> None:
        """One file per tile, named after the tile's centre, and one of the same name for each of its companions."""
        places = zip(tiles.index.tolist(), tiles.loc_x.tolist(), tiles.loc_y.tolist(), strict=True)
        with storing_in(self._tiles.path.parent):
            for (number, loc_x, loc_y), (contents, companions) in zip(places, encoded, strict=True):
                name = f"{self._slide}-{loc_x}-{loc_y}"
                try:
                    self._tiles.write(name, contents)
                except FileExistsError:  # two cells at one position: both are tiles
                    name = f"{name}-{number}"
                    self._tiles.write(name, contents)
                for each, folder in self._beside.items():
                    folder.write(name, companions[each])
        self._count += len(encoded)

    def targets(self) -> Sequence[Path]:
        """The slide's folders."""
        return [folder.draft.path for folder in self._folders]

    def prepare(self) -> Sequence[Prepared]:
        """Make the files durable, and count them."""
        with storing_in(self._tiles.path.parent):
            self._prepared = self._prepare()
        return self._prepared

    def commit(self) -> Sequence[Path]:
        """Give the files' folders their names.

        If no tile was written, the folders of an earlier run are removed as well.
        """
        try:
            with storing_in(self._tiles.path.parent):
                return self._commit()
        finally:
            self.abort()  # nothing temporary is left, whatever happened

    def _prepare(self) -> tuple[Prepared, ...]:
        if self._count == 0:
            return ()
        if hasattr(os, "sync"):
            os.sync()  # once for all files: waiting for thousands one by one takes longer than making them
        return tuple(folder.check() for folder in self._folders)

    def _commit(self) -> Sequence[Path]:
        if self._prepared is None:
            self._prepared = self._prepare()
        if not self._prepared:
            for folder in self._folders:
                folder.draft.withdraw()
            return ()
        for folder in self._folders:
            folder.draft.check_untouched()
        made = [folder.draft.publish() for folder in self._folders]
        for folder in self._folders:
            sync_path(folder.path.parent)
        return made[::-1]  # the tiles' first, where reports look for samples

    def abort(self) -> None:
        """Remove the unfinished folders."""
        for folder in self._folders:
            folder.draft.discard()
