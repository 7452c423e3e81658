"""TFRecord files as loaders read them: decoded tiles by number, or a `tf.data.Dataset`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from slideloom import Rgb, TileStore, TileStores

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
        encoded = np.frombuffer(self._file[number].image_raw, np.uint8)
        rgb = _decoded(encoded)
        if rgb is None:
            raise damaged(self._file.path, number, "its image cannot be decoded")
        return rgb

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

    def tensorflow(self, paths: Sequence[Path], *, shuffle: int, seed: int) -> Any:  # Any: a tf.data.Dataset
        """See `TileStores.tensorflow`; needs TensorFlow."""
        from slideloom_tfrecord.tensorflow_form import tiles_of

        return tiles_of(paths, shuffle=shuffle, seed=seed)
