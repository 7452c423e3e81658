"""The contract of tile stores: the files of a sink in, tiles for loaders out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from slideloom.base.errors import PluginError
from slideloom.base.geometry import Rgb


class TileStore(ABC):
    """The stored tiles of one slide, by number, for loaders.

    Can be pickled, and read from several threads at once. Files are opened at the first read.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Number of tiles."""

    @property
    @abstractmethod
    def locations(self) -> NDArray[np.int64] | None:
        """(n, 2) `loc_x` and `loc_y` of each tile's centre, in stored order; None if they are not stored."""

    @abstractmethod
    def read(self, number: int) -> Rgb:
        """Tile `number`, decoded: (tile_px, tile_px, 3) uint8.

        Raises:
            SlideloomError: the tile is damaged; the message names the file and the number.
        """

    def read_with(self, number: int, names: Sequence[str]) -> tuple[Rgb, dict[str, NDArray[np.uint8]]]:
        """Tile `number` with some of its companions by name: masks (h, w), others (h, w, 3), uint8.

        Raises:
            SlideloomError: the tile is damaged, or it has no such companion.
            PluginError: the format stores none.
        """
        if names:
            raise PluginError(f"{type(self).__name__} stores no masks or context; read them from TFRecords")
        return self.read(number), {}

    def close(self) -> None:  # noqa: B027 - nothing to release is a valid answer
        """Close the file; reading another tile opens it again."""


class TileStores(ABC):
    """A format of stored tiles, with one file per slide.

    Attributes:
        suffix: ending of file names after the slide's name, such as ".tfrecords".
    """

    suffix: ClassVar[str]

    @abstractmethod
    def open(self, path: Path) -> TileStore:
        """The tiles in a file.

        Raises:
            SlideloomError: the file is damaged; the message names it.
        """

    def verify(self, path: Path) -> int:
        """Read every tile in a file, and count them.

        Raises:
            SlideloomError: a tile is damaged; the message names the file and the number.
        """
        tiles = self.open(path)
        try:
            for number in range(len(tiles)):
                tiles.read(number)
            return len(tiles)
        finally:
            tiles.close()

    def recompressed(self, rgb: Rgb, quality: int) -> Rgb:
        """A tile (H, W, 3) uint8 after JPEG compression at this quality, for augmentation.

        Raises:
            PluginError: the format has no image library.
        """
        raise PluginError(f"{type(self).__name__} cannot compress tiles; leave 'jpeg' out of augment")

    def tensorflow(
        self, paths: Sequence[Path], *, shuffle: int, seed: int, beside: Mapping[str, bool] | None = None
    ) -> Any:  # Any: a tf.data.Dataset
        """The tiles of many files as a `tf.data.Dataset`, read and decoded by TensorFlow's own operations.

        Args:
            paths: the files.
            shuffle: size of the buffer from which tiles are drawn, with files in random order; 0 keeps stored order.
            seed: for the order, which differs from epoch to epoch.
            beside: companions to read too, by name, and whether each is a mask; only given if there are any.

        Returns:
            Elements {"image": (h, w, 3) uint8, "slide": text, "loc_x": int64, "loc_y": int64}; -1 for a location that
            is not stored; and companions by name, masks (h, w) and others (h, w, 3) uint8.

        Raises:
            PluginError: the format has no such form.
        """
        raise PluginError(f"{type(self).__name__} has no TensorFlow form; use dataset.torch, or a TFRecord sink")
