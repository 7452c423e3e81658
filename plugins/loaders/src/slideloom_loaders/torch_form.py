"""The PyTorch loader. Imported only when a loader is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
import torch
from attrs import field, frozen
from slideloom.base.errors import ConfigError
from slideloom.base.geometry import Rgb
from slideloom.steps.companions import MASK
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset, get_worker_info

from slideloom_loaders.beside import Beside
from slideloom_loaders.passing import Plan, Progress
from slideloom_loaders.preparing import TILE, Key, Pictures, Preparation
from slideloom_loaders.ranks import Share

Sample = Any  # an image tensor, or a tuple of image, target and info, depending on the loader's arguments


@frozen
class Form:
    """What a sample is.

    Attributes:
        beside: its mask comes after the image, then its contexts by name.
        info: it ends with {"slide", "loc_x", "loc_y"}.
        slidenames: it ends with the slide's name.
        standardize: images are float32, -1 to 1, instead of uint8.
    """

    beside: Beside = field(factory=Beside)
    info: bool = False
    slidenames: bool = False
    standardize: bool = False


class TileDataset(Dataset[Sample]):
    """Tiles with random access, as a map-style dataset.

    `dataset[i]` is tile `i` of the epoch that `set_epoch` chose, at first epoch 0; `dataset[epoch, i]` of another:
    augmentation depends on both.

    Attributes:
        classes: names of classes in the order of their numbers, or () if targets are values.
        index: slide, location and target of each tile.
        mask_classes: the value of each class in masks by its name; None without masks.
    """

    def __init__(self, preparation: Preparation, form: Form) -> None:
        self._preparation = preparation
        self._form = form
        self._epoch = _shared([0])  # so that workers that live on see it
        self.index = preparation.index
        self.classes = preparation.index.classes
        self.mask_classes = form.beside.classes

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch tiles are read for, so that they are augmented anew: for a sampler of your own."""
        self._epoch[0] = epoch

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: int | Key) -> Sample:
        return self.__getitems__([key])[0]

    def __getitems__(self, keys: Sequence[int | Key]) -> list[Sample]:
        """The samples of a batch, read together."""
        whole = [self._whole(key) for key in keys]
        return [
            self._sample(pictures, number)
            for pictures, (_, number) in zip(self._preparation.read_with(whole), whole, strict=True)
        ]

    def _whole(self, key: int | Key) -> Key:
        epoch, number = key if isinstance(key, tuple) else (int(self._epoch[0]), key)
        if not -len(self) <= number < len(self):
            raise IndexError(f"no tile {number}; there are {len(self)}")
        return epoch, int(number) % len(self)

    def _sample(self, pictures: Pictures, number: int) -> Sample:
        image, beside = self._image(pictures[TILE]), self._form.beside
        parts: list[Any] = [image]
        if beside.has_masks:
            parts.append(torch.from_numpy(pictures[MASK].astype(np.int64)))
        if beside.contexts:
            parts.append({name: self._image(pictures[name]) for name in beside.contexts})
        if self.index.targets is not None:
            parts.append(self.index.targets[number])
        slide = self.index.slides[self.index.slide[number]]
        if self._form.slidenames:
            parts.append(slide)
        if self._form.info:
            x, y = self.index.locations[number].tolist()
            parts.append({"slide": slide, "loc_x": x, "loc_y": y})
        return tuple(parts) if len(parts) > 1 else image

    def _image(self, rgb: Rgb) -> torch.Tensor:
        # One copy for mirroring, turning and moving the channels to the front.
        image = torch.from_numpy(np.ascontiguousarray(rgb.transpose(2, 0, 1)))
        return image.float().div_(127.5).sub_(1) if self._form.standardize else image


class TileStream(IterableDataset[Sample]):
    """The same tiles as an iterable-style dataset; each rank and each worker has its own share of every epoch.

    Attributes:
        tiles: the dataset that reads the tiles.
        classes: the classes of `tiles`.
        progress: what the next pass begins with.
    """

    def __init__(self, tiles: TileDataset, plan: Plan, *, batch_size: int) -> None:
        self.tiles = tiles
        self.classes = tiles.classes
        self.mask_classes = tiles.mask_classes
        self.progress = Progress()
        self.plan = plan
        self._batch_size = batch_size
        # Epoch, batches to skip, rank and world size of the pass, for workers, which know none of these.
        self._pass = _shared([0, 0, 0, 0])

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass begin with this epoch."""
        self.progress.move_to(epoch)

    def begin(self) -> Progress:
        """Called by the loader for every pass, before its workers begin."""
        begun, share = self.progress.begin(), self.plan.share()
        self.plan.tell_left_out(share)
        self._pass[:] = torch.tensor([begun.epoch, begun.batches, share.rank, share.world_size])
        return begun

    def __len__(self) -> int:
        """Samples of a pass on this rank."""
        if self.plan.infinite:
            raise TypeError("an infinite loader has no length")
        return self.plan.share().count(self.plan.tiles)

    def __iter__(self) -> Iterator[Sample]:
        found = get_worker_info()
        worker, workers = (found.id, found.num_workers) if found is not None else (0, 1)
        epoch, skipped, rank, world_size = self._pass.tolist()
        share = Share(rank, world_size) if world_size else self.plan.share()
        # Batches come from workers in turn; where a pass goes on, the worker whose turn it is comes first.
        worker = (worker + skipped) % workers
        skip = -(-max(0, skipped - worker) // workers) * self._batch_size
        keys = self.plan.stream(epoch, share, skip=skip, worker=worker, workers=workers)
        while batch := list(islice(keys, self._batch_size)):
            yield from self.tiles.__getitems__(batch)


class TileSampler(DistributedSampler[Any]):
    """The keys of this rank's tiles, epoch by epoch.

    It is one of torch's `DistributedSampler`, so that Lightning and others leave it in its place and tell it epochs.

    Attributes:
        progress: what the next pass begins with.
        begun: what the last one began with.
    """

    def __init__(self, tiles: TileDataset, plan: Plan, *, batch_size: int) -> None:
        super().__init__(tiles, num_replicas=1, rank=0, shuffle=plan.shuffle, seed=plan.seed)
        self.progress = Progress()
        self.begun = Progress()
        self.plan = plan
        self._batch_size = batch_size

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass begin with this epoch."""
        super().set_epoch(epoch)
        self.progress.move_to(epoch)

    def __iter__(self) -> Iterator[Key]:
        self.begun, share = self.progress.begin(), self.plan.share()
        self.plan.tell_left_out(share)
        return self.plan.stream(self.begun.epoch, share, skip=self.begun.batches * self._batch_size)

    def __len__(self) -> int:
        if self.plan.infinite:
            raise TypeError("an infinite loader has no length")
        return self.plan.share().count(self.plan.tiles)


class TileLoader(DataLoader[Sample]):
    """A `DataLoader` whose passes can be numbered, interrupted, and gone on with."""

    _at: Progress | None = None  # of the pass that runs, or of the next one

    @property
    def _source(self) -> TileStream | TileSampler:
        """What knows the passes.

        Raises:
            ConfigError: another library has put a sampler of its own there.
        """
        source = self.dataset if isinstance(self.dataset, TileStream) else self.sampler
        if isinstance(source, TileStream | TileSampler):
            return source
        raise ConfigError(
            f"the loader has another sampler, {type(source).__name__}, and knows no epochs; tell "
            "loader.dataset.set_epoch which one it is"
        )

    def set_epoch(self, epoch: int) -> None:
        """Let the next pass be this epoch, from 0 on; without, each pass is the next one."""
        self._source.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Where the loader is: epoch, batches given of it, and what else must be the same to go on there."""
        at = self._at or self._source.progress
        return {"epoch": at.epoch, "batches": at.batches, **self._conditions()}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Let the next pass go on where another loader was, with the batch after the last one it gave.

        Raises:
            ConfigError: that loader had other tiles, another seed or, inside an epoch, other batches.
        """
        here, plan = self._conditions(), self._source.plan
        kept = list(here) if state["batches"] else ["tiles", "seed"]
        differing = [
            f"{name} was {state.get(name)}, not {here[name]}" for name in kept if state.get(name) != here[name]
        ]
        if differing:
            raise ConfigError(f"the state is of another loader: {'; '.join(differing)}; make it with the same")
        is_over = not plan.infinite and state["batches"] >= len(self)
        self._source.progress = Progress(state["epoch"] + 1) if is_over else Progress(state["epoch"], state["batches"])
        self._at = None

    def __len__(self) -> int:
        """Batches of a pass on this rank."""
        if not isinstance(self.dataset, TileStream):
            return super().__len__()
        tiles, size = len(self.dataset), self.batch_size
        workers = max(1, self.num_workers)
        shares = [len(range(worker, tiles, workers)) for worker in range(workers)]
        return sum(
            share if size is None else share // size if self.drop_last else -(-share // size) for share in shares
        )

    def __iter__(self) -> Iterator[Sample]:  # type: ignore[override]  # torch promises its own class of iterators
        """The batches of the next pass, which begins with the first of them: until then, `set_epoch` may say which."""
        begun = self.dataset.begin() if isinstance(self.dataset, TileStream) else None
        for number, batch in enumerate(super().__iter__(), start=1):
            if begun is None and isinstance(self.sampler, TileSampler):
                begun = self.sampler.begun  # torch begins to sample with the first batch
            if begun is not None:
                self._at = Progress(begun.epoch, begun.batches + number)
            yield batch
        self._at = None

    def _conditions(self) -> dict[str, int]:
        plan = self._source.plan
        same = {"tiles": plan.tiles, "seed": plan.seed, "batch_size": self.batch_size or 1}
        same["world_size"] = plan.share().world_size
        if isinstance(self.dataset, TileStream):
            same["num_workers"] = max(1, self.num_workers)
        return same


def make_loader(
    preparation: Preparation,
    plan: Plan,
    form: Form,
    *,
    iterable: bool,
    batch_size: int | None,
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
    tiles = TileDataset(preparation, form)
    common = {"batch_size": batch_size, "drop_last": drop_last, "num_workers": num_workers, **options}
    size = batch_size or 1
    try:
        if iterable:
            stream = TileStream(tiles, plan, batch_size=size)
            loader = TileLoader(stream, **common)
            # Lightning tells epochs to samplers only; that of an iterable-style dataset is a dummy of torch.
            loader.sampler.set_epoch = stream.set_epoch  # type: ignore[attr-defined]
        else:
            loader = TileLoader(tiles, sampler=TileSampler(tiles, plan, batch_size=size), **common)
    except (TypeError, ValueError) as error:  # torch's own words say which option it is
        raise ConfigError(f"dataset.torch: {error}; options are those of torch.utils.data.DataLoader") from error
    if not plan.infinite and not len(loader):
        share = plan.share()
        raise ConfigError(
            f"no batch: drop_last leaves none of {share.count(plan.tiles)} tiles with batch_size={batch_size} and "
            f"{num_workers} workers; choose a smaller batch"
        )
    return loader


def _shared(values: Sequence[int]) -> torch.Tensor:
    found = torch.tensor(values, dtype=torch.int64)
    found.share_memory_()  # type: ignore[no-untyped-call]
    return found
