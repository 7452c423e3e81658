"""The PyTorch loader. Imported only when a loader is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from slideloom.base.errors import ConfigError
from slideloom.base.geometry import Rgb
from torch.utils.data import DataLoader, Dataset, IterableDataset, Sampler, get_worker_info

from slideloom_loaders.preparing import Key, Preparation
from slideloom_loaders.sampling import epoch_order

Sample = Any  # an image tensor, or a tuple of image, target and info, depending on the loader's arguments


class _Order:
    """The order of tiles in each epoch."""

    def __init__(self, tiles: int, weights: NDArray[np.float64] | None, *, shuffle: bool, seed: int) -> None:
        self.tiles = tiles
        self._weights = weights
        self._shuffle = shuffle
        self._seed = seed

    def keys(self, epoch: int) -> list[Key]:
        order = epoch_order(self.tiles, seed=self._seed, epoch=epoch, shuffle=self._shuffle, weights=self._weights)
        return [(epoch, number) for number in order.tolist()]


class TileDataset(Dataset[Sample]):
    """Tiles with random access, as a map-style dataset.

    `dataset[i]` is tile `i` of the first epoch, `dataset[epoch, i]` of another: augmentation depends on both.

    Attributes:
        classes: names of classes in the order of their numbers, or () if targets are values.
        index: slide, location and target of each tile.
    """

    def __init__(self, preparation: Preparation, *, info: bool = False) -> None:
        self._preparation = preparation
        self._info = info
        self.index = preparation.index
        self.classes = preparation.index.classes

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | Key) -> Sample:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int | Key]) -> list[Sample]:
        """The samples of a batch, read together."""
        whole = [self._whole(key) for key in keys]
        return [
            self._sample(rgb, number) for rgb, (_, number) in zip(self._preparation.read(whole), whole, strict=True)
        ]

    def _whole(self, key: int | Key) -> Key:
        epoch, number = key if isinstance(key, tuple) else (0, key)
        if not -len(self) <= number < len(self):
            raise IndexError(f"no tile {number}; there are {len(self)}")
        return epoch, int(number) % len(self)

    def _sample(self, rgb: Rgb, number: int) -> Sample:
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        parts: list[Any] = [image]
        if self.index.targets is not None:
            parts.append(self.index.targets[number])
        if self._info:
            x, y = self.index.locations[number].tolist()
            parts.append({"slide": self.index.slides[self.index.slide[number]], "loc_x": x, "loc_y": y})
        return tuple(parts) if len(parts) > 1 else image


class TileStream(IterableDataset[Sample]):
    """The same tiles as an iterable-style dataset; each worker has its own share of every epoch.

    Attributes:
        tiles: the dataset that reads the tiles.
        classes: the classes of `tiles`.
    """

    def __init__(self, tiles: TileDataset, order: _Order, *, infinite: bool, at_once: int) -> None:
        self.tiles = tiles
        self.classes = tiles.classes
        self._order = order
        self._infinite = infinite
        self._at_once = at_once
        # In shared memory, so that persistent workers see which epoch the loader has begun.
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self._epoch.share_memory_()  # type: ignore[no-untyped-call]
        self._begun = False

    def begin_epoch(self) -> None:
        """Note that an epoch begins; the loader calls this before each one, including the first."""
        if self._begun:
            self._epoch += 1
        self._begun = True

    def __iter__(self) -> Iterator[Sample]:
        worker = get_worker_info()
        mine, workers = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        first = int(self._epoch.item())
        for epoch in count(first) if self._infinite else (first,):
            keys = self._order.keys(epoch)[mine::workers]
            for start in range(0, len(keys), self._at_once):
                yield from self.tiles.__getitems__(keys[start : start + self._at_once])


class _KeySampler(Sampler[Key]):
    def __init__(self, order: _Order, *, infinite: bool) -> None:
        self._order = order
        self._infinite = infinite
        self._epoch = 0

    def __iter__(self) -> Iterator[Key]:
        while True:
            epoch, self._epoch = self._epoch, self._epoch + 1
            yield from self._order.keys(epoch)
            if not self._infinite:
                return

    def __len__(self) -> int:
        if self._infinite:
            raise TypeError("an infinite loader has no length")
        return self._order.tiles


class TileLoader(DataLoader[Sample]):
    """A `DataLoader` that tells an iterable-style dataset when an epoch begins."""

    def __iter__(self) -> Any:  # Any: the iterator is torch's own
        if isinstance(self.dataset, TileStream):
            self.dataset.begin_epoch()
        return super().__iter__()


def make_loader(
    preparation: Preparation,
    *,
    weights: NDArray[np.float64] | None,
    shuffle: bool,
    seed: int,
    infinite: bool,
    iterable: bool,
    info: bool,
    batch_size: int,
    drop_last: bool,
    num_workers: int,
    options: Mapping[str, Any],
) -> TileLoader:
    """The loader; see `slideloom_loaders.torch_loader`."""
    mine = {"dataset", "sampler", "batch_sampler"} & set(options)
    if mine:
        raise ConfigError(
            f"dataset.torch makes {', '.join(sorted(mine))} itself; for your own, pass loader.dataset to a DataLoader"
        )
    tiles = TileDataset(preparation, info=info)
    order = _Order(len(tiles), weights, shuffle=shuffle, seed=seed)
    common = {"batch_size": batch_size, "drop_last": drop_last, "num_workers": num_workers, **options}
    if iterable:
        return TileLoader(TileStream(tiles, order, infinite=infinite, at_once=batch_size), **common)
    return TileLoader(tiles, sampler=_KeySampler(order, infinite=infinite), **common)
