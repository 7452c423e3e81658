"""The sink that stores the tiles of a slide in tar shards, as the webdataset library reads them."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
from slideloom import (
    Companion,
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
    check_size,
    discard_path,
    path_inside,
    storing_in,
    sync_path,
)

from slideloom_webdataset.keys import safe_name
from slideloom_webdataset.settings import WebDataset

Encoded = tuple[bytes, str | None, dict[str, bytes]]  # the image file, the region's label, companions by name


class WebDatasetSink(Sink):
    """Encodes tiles and writes them to shards, separate for each slide."""

    keeps_pixels = False
    stores_companions = True

    def __init__(self, settings: WebDataset) -> None:
        self._settings = settings
        self._image = ImageEncoder(cv2, settings)

    def open(self, info: SlideInfo, scene: Scene, folder: Path) -> Writer:
        """A writer of `<folder>/<sub-folder>/<tile size>/<slide>-000000.tar` and so on."""
        home = path_inside(folder, self._settings.folder, scene.geometry.label)
        return ShardWriter(home, slide=info.name, scene=scene, settings=self._settings)

    def encode(self, batch: TileBatch) -> Sequence[Encoded]:
        """Each tile as the bytes of its image file, with its label and its companions."""
        images = [self._image(rgb) for rgb in batch.rgb]
        return list(zip(images, batch.labels, self._image.companions(batch), strict=True))


class ShardWriter(Writer):
    """Writes shards under temporary names, which `commit` makes final.

    Shard 000000 is named last and an older one removed first, so whoever sees it sees a complete slide.
    """

    def __init__(self, home: Path, *, slide: str, scene: Scene, settings: WebDataset) -> None:
        self._home = home
        self._slide = slide
        self._mpp = scene.geometry.mpp
        self._companions = {
            each.name: (f"{each.name}.{each.extension(settings.format)}", _about(each)) for each in scene.companions
        }
        self._settings = settings
        self._safe = safe_name(slide)
        self._ours = re.compile(re.escape(self._safe) + r"-\d{6,}\.tar")
        self._shards: list[Draft] = []
        self._sizes: list[int] = []
        self._counts: list[int] = []
        self._prepared: list[Prepared] | None = None
        self._in_shard = 0
        self._places: set[tuple[int, int]] = set()
        self._file: BinaryIO | None = None
        self._tar: tarfile.TarFile | None = None
        with storing_in(home):
            home.mkdir(parents=True, exist_ok=True)
            self._older = {path: Draft(path) for path in self._named()}

    def _named(self) -> list[Path]:
        """The slide's shards under their final names, in order."""
        return sorted(path for path in self._home.iterdir() if self._ours.fullmatch(path.name))

    def write(self, tiles: Tiles, encoded: Sequence[Encoded]) -> None:
        """An image and a JSON file per tile, side by side, and a file for each of its companions."""
        columns = (tiles.index, tiles.loc_x, tiles.loc_y, tiles.grid_x, tiles.grid_y)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        with storing_in(self._home):
            for (number, loc_x, loc_y, grid_x, grid_y), (image, label, companions) in zip(rows, encoded, strict=True):
                place = {"loc_x": loc_x, "loc_y": loc_y, "grid_x": grid_x, "grid_y": grid_y}
                about: dict[str, Any] = {"slide": self._slide, **place, "mpp": self._mpp, "label": label}
                about |= {name: told for name, (_, told) in self._companions.items()}
                beside = {self._companions[name][0]: contents for name, contents in companions.items()}
                key = f"{self._safe}_{loc_x}_{loc_y}"
                if (loc_x, loc_y) in self._places:  # two cells at one position: both are tiles
                    key += f"_{number}"
                self._places.add((loc_x, loc_y))
                self._add(key, {self._settings.format: image, "json": json.dumps(about).encode(), **beside})

    def _add(self, key: str, fields: dict[str, bytes]) -> None:
        is_full = self._in_shard == self._settings.shard_tiles
        tar = self._next_shard() if self._tar is None or is_full else self._tar
        for extension in sorted(fields):  # the library's own writer sorts them too
            entry = tarfile.TarInfo(f"{key}.{extension}")  # time 0, owner 0, no names: equal tiles give equal bytes
            entry.size = len(fields[extension])
            entry.mode = 0o444
            tar.addfile(entry, io.BytesIO(fields[extension]))
        self._in_shard += 1
        self._counts[-1] += 1

    def _next_shard(self) -> tarfile.TarFile:
        self._close()
        path = self._home / f"{self._safe}-{len(self._shards):06d}.tar"
        shard = self._older.get(path) or Draft(path)
        self._shards.append(shard)
        self._counts.append(0)
        self._in_shard = 0
        self._file = shard.partial.open("wb", buffering=1 << 20)
        # With companions, a name may be too long for a plain header; PAX has a further one for such names only.
        layout = tarfile.PAX_FORMAT if self._companions else tarfile.USTAR_FORMAT
        self._tar = tarfile.open(fileobj=self._file, mode="w", format=layout)  # noqa: SIM115
        return self._tar

    def _close(self) -> None:
        tar, file, self._tar, self._file = self._tar, self._file, None, None
        try:
            if tar is not None and file is not None:
                tar.close()
                self._sizes.append(file.tell())
        finally:
            if file is not None:
                file.close()

    def targets(self) -> Sequence[Path]:
        """The slide's shards, also those beyond the last one that is made."""
        return list(self._older)

    def prepare(self) -> Sequence[Prepared]:
        """Make the shards durable."""
        with storing_in(self._home):
            self._prepared = self._prepare()
        return self._prepared

    def commit(self) -> Sequence[Path]:
        """Give the shards their names.

        Shards of an earlier run of this slide are removed, even if no tile was written.
        """
        try:
            with storing_in(self._home):
                return self._exchange()
        finally:
            self.abort()  # nothing temporary is left, whatever happened

    def _prepare(self) -> list[Prepared]:
        self._close()
        for shard, size in zip(self._shards, self._sizes, strict=True):
            check_size(shard.partial, size)
            sync_path(shard.partial)
        return [
            Prepared(shard.path, shard.partial, tiles=count)
            for shard, count in zip(self._shards, self._counts, strict=True)
        ]

    def _exchange(self) -> Sequence[Path]:
        if self._prepared is None:
            self._prepared = self._prepare()
        strangers = [path for path in self._named() if path not in self._older]
        if strangers:
            raise OutputError(
                f"{strangers[0]}: another run has written it meanwhile; let one at a time work in a folder"
            )
        for shard in self._older.values():
            shard.check_untouched()
        for shard in self._older.values():
            shard.withdraw()
        self._publish()
        sync_path(self._home)
        return [shard.path for shard in self._shards]

    def _publish(self) -> None:
        named: list[Draft] = []
        try:
            for shard in reversed(self._shards):
                shard.publish()
                named.append(shard)
        except BaseException:  # half of a slide is worse than none
            for shard in named:
                discard_path(shard.path)
            raise

    def abort(self) -> None:
        """Remove the unfinished shards."""
        with suppress(OSError):  # the file is discarded, so a full disk does not matter here
            self._close()
        for shard in self._shards:
            shard.discard()


def _about(companion: Companion) -> dict[str, Any]:
    """What the JSON file of a tile says of a companion."""
    classes = {} if companion.classes is None else {"classes": dict(companion.classes)}
    return {"mpp": companion.mpp, **classes}
