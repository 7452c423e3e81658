"""TFRecord files as loaders read them: decoded tiles by number, or a `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import MASK, Rgb, TileStore, TileStores

from slideloom_tfrecord.index import damaged
from slideloom_tfrecord.reader import TFRecordFile, read_records
from slideloom_tfrecord.settings import TFRecordFiles

_RGB = getattr(cv2, "IMREAD_COLOR_RGB", None)  # since OpenCV 4.11 the decoder itself can put red first


def _decoded(encoded: NDArray[np.uint8]) -> Rgb | None:
    try:
        found = cv2.imdecode(encoded, cv2.IMREAD_COLOR if _RGB is None else _RGB)
    except cv2.error:  # raised for empty bytes, or for an impossible image size
        return None
    if found is None:
        return None
    return np.asarray(found if _RGB is not None else cv2.cvtColor(found, cv2.COLOR_BGR2RGB), np.uint8)


def _grey(encoded: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    try:
        found = cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE)
    except cv2.error:
        return None
    return None if found is None else np.asarray(found, np.uint8)


class TFRecordTiles(TileStore):
    """The tiles of one file."""

    def __init__(self, path: Path) -> None:
        self._file = TFRecordFile(path)

    def __len__(self) -> int:
        return len(self._file)

    @property
    def locations(self) -> NDArray[np.int64] | None:
        """See `TileStore.locations`."""
        return self._file.locations

    def read(self, number: int) -> Rgb:
        """See `TileStore.read`."""
        return self._picture(number, self._file[number].image_raw)

    def read_with(self, number: int, names: Sequence[str]) -> tuple[Rgb, dict[str, NDArray[np.uint8]]]:
        """See `TileStore.read_with`."""
        record = self._file[number]
        missing = [name for name in names if name not in record.beside]
        if missing:
            raise damaged(self._file.path, number, f"it has no {missing[0]}; extract the slide again with it")
        pictures = {name: self._picture(number, record.beside[name], is_mask=name == MASK) for name in names}
        return self._picture(number, record.image_raw), pictures

    def _picture(self, number: int, encoded: bytes, *, is_mask: bool = False) -> NDArray[np.uint8]:
        found = (_grey if is_mask else _decoded)(np.frombuffer(encoded, np.uint8))
        if found is None:
            raise damaged(self._file.path, number, "its image cannot be decoded")
        return found

    def close(self) -> None:
        """See `TileStore.close`."""
        self._file.close()


class TFRecordStores(TileStores):
    """See `TFRecordFiles`."""

    suffix: ClassVar[str] = ".tfrecords"

    def __init__(self, _settings: TFRecordFiles) -> None:
        """Files have no options."""

    def open(self, path: Path) -> TileStore:
        """See `TileStores.open`."""
        return TFRecordTiles(path)

    def verify(self, path: Path) -> int:
        """See `TileStores.verify`; checks the CRC of each record."""
        return sum(1 for _ in read_records(path))

    def recompressed(self, rgb: Rgb, quality: int) -> Rgb:
        """See `TileStores.recompressed`."""
        bgr = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR)
        _, encoded = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
        done = _decoded(encoded)
        return rgb if done is None else done

    def tensorflow(
        self, paths: Sequence[Path], *, shuffle: int, seed: int, beside: Mapping[str, bool] | None = None
    ) -> Any:  # Any: a tf.data.Dataset
        """See `TileStores.tensorflow`; needs TensorFlow."""
        from slideloom_tfrecord.tensorflow_form import tiles_of

        return tiles_of(paths, shuffle=shuffle, seed=seed, beside=beside or {})
