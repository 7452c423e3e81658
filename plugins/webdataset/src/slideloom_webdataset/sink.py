"""The sink that stores the tiles of a slide in tar shards, as the webdataset library reads them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

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

from slideloom_webdataset.keys import safe_name
from slideloom_webdataset.settings import WebDataset

Encoded = tuple[bytes, str | None]  # the image file, the region's label


class WebDatasetSink(Sink):
    """Encodes tiles and writes them to shards, separate for each slide."""

    keeps_pixels = False

    def __init__(self, settings: WebDataset) -> None:
        self._settings = settings
        self._image = ImageEncoder(cv2, settings)

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/<slide>-000000.tar` and so on."""
        home = path_inside(folder, self._settings.folder, scene.geometry.label)
        return ShardWriter(home, slide=info.name, mpp=scene.geometry.mpp, settings=self._settings)

    def encode(self, batch: TileBatch) -> Sequence[Encoded]:
        """Each tile as the bytes of its image file, with its label."""
        return [(self._image(rgb), label) for rgb, label in zip(batch.rgb, batch.labels, strict=True)]


class ShardWriter(Writer):
    """Writes shards into a hidden folder; `commit` moves them out of it.

    An old shard 000000 is removed first and the new one moved last, so if it exists, the slide is complete.
    """

    def __init__(self, home: Path, *, slide: str, mpp: float, settings: WebDataset) -> None:
        self._home = home
        self._slide = slide
        self._mpp = mpp
        self._settings = settings
        self._safe = safe_name(slide)
        self._partial = partial_path(home / self._safe)
        self._shards: list[Path] = []
        self._in_shard = 0
        self._places: set[tuple[int, int]] = set()
        self._file: BinaryIO | None = None
        self._tar: tarfile.TarFile | None = None
        with storing_in(home):
            home.mkdir(parents=True, exist_ok=True)
            discard_path(self._partial)
            self._partial.mkdir()

    def write(self, tiles: Tiles, encoded: Sequence[Encoded]) -> None:
        """An image and a JSON file per tile, side by side."""
        columns = (tiles.index, tiles.loc_x, tiles.loc_y, tiles.grid_x, tiles.grid_y)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        with storing_in(self._home):
            for (number, loc_x, loc_y, grid_x, grid_y), (image, label) in zip(rows, encoded, strict=True):
                place = {"loc_x": loc_x, "loc_y": loc_y, "grid_x": grid_x, "grid_y": grid_y}
                about = {"slide": self._slide, **place, "mpp": self._mpp, "label": label}
                key = f"{self._safe}_{loc_x}_{loc_y}"
                if (loc_x, loc_y) in self._places:  # two cells at one position: both are tiles
                    key += f"_{number}"
                self._places.add((loc_x, loc_y))
                self._add(key, {self._settings.format: image, "json": json.dumps(about).encode()})

    def _add(self, key: str, fields: dict[str, bytes]) -> None:
        is_full = self._in_shard == self._settings.shard_tiles
        tar = self._next_shard() if self._tar is None or is_full else self._tar
        for extension in sorted(fields):  # the library's own writer sorts them too
            entry = tarfile.TarInfo(f"{key}.{extension}")  # time 0, owner 0, no names: equal tiles give equal bytes
            entry.size = len(fields[extension])
            entry.mode = 0o444
            tar.addfile(entry, io.BytesIO(fields[extension]))
        self._in_shard += 1

    def _next_shard(self) -> tarfile.TarFile:
        self._close()
        shard = self._partial / f"{self._safe}-{len(self._shards):06d}.tar"
        self._shards.append(shard)
        self._in_shard = 0
        self._file = shard.open("wb", buffering=1 << 20)
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        return self._tar

    def _close(self) -> None:
        tar, file, self._tar, self._file = self._tar, self._file, None, None
        try:
            if tar is not None:
                tar.close()
        finally:
            if file is not None:
                file.close()

    def commit(self) -> Sequence[Path]:
        """Make the shards durable and give them their names.

        Shards of an earlier run of this slide are removed, even if no tile was written.
        """
        try:
            with storing_in(self._home):
                self._close()
                return self._exchange()
        finally:
            self.abort()  # nothing temporary is left, whatever happened

    def _exchange(self) -> Sequence[Path]:
        for shard in self._shards:
            sync_path(shard)
        ours = re.compile(re.escape(self._safe) + r"-\d{6,}\.tar")
        for path in sorted(path for path in self._home.iterdir() if ours.fullmatch(path.name)):
            path.unlink()
        made = [self._home / shard.name for shard in self._shards]
        for shard, path in reversed(list(zip(self._shards, made, strict=True))):
            shard.replace(path)
        sync_path(self._home)
        return made

    def abort(self) -> None:
        """Remove the unfinished shards."""
        with suppress(OSError):  # the file is discarded, so a full disk does not matter here
            self._close()
        discard_path(self._partial)
