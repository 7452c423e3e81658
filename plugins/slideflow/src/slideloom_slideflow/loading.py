"""Loaders by Slideflow's arguments: batches are tuples of images, labels, and what else is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import slideloom
from slideloom import ConfigError

from slideloom_slideflow.balancing import Balance
from slideloom_slideflow.norm import StainNormalizer, our_name


class Batches:
    """Batches of a loader of slideloom's (`loader`), in the order that Slideflow gives their parts.

    Iterate over it: images, labels (None without), then slide names, then x and y, where these are asked for.
    """

    def __init__(self, loader: Any, shape: Callable[[Any], tuple[Any, ...]]) -> None:
        self.loader = loader
        self._shape = shape

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return map(self._shape, self.loader)

    @property
    def dataset(self) -> Any:
        """The tiles by number, as slideloom gives them."""
        return self.loader.dataset


def torch_batches(
    dataset: slideloom.Dataset,
    balance: Balance,
    labels: Any,
    *,
    batch_size: int | None,
    from_wsi: bool,
    augment: bool | str = False,
    drop_last: bool = False,
    incl_loc: bool = False,
    incl_slidenames: bool = False,
    infinite: bool = True,
    normalizer: str | StainNormalizer | None = None,
    num_workers: int | None = None,
    onehot: bool = False,
    standardize: bool = True,
    transform: Callable[[Any], Any] | None = None,
    rank: int | None = None,
    num_replicas: int | None = None,
    persistent_workers: bool = False,
    pin_memory: bool = False,
    prefetch_factor: int | None = None,
    **_without_effect: Any,  # of which `Dataset.torch` has warned
) -> Batches:
    """A loader for PyTorch; images are (B, 3, tile_px, tile_px), float32 from -1 to 1, or uint8 as they are."""
    chosen = _chosen(dataset, balance, labels, augment=augment, normalizer=normalizer)
    workers = num_workers or 0
    options: dict[str, Any] = {"pin_memory": pin_memory}
    if workers:
        options |= {"persistent_workers": persistent_workers, "prefetch_factor": prefetch_factor}
    loader = dataset.torch(
        batch_size=batch_size or 1,
        **chosen,
        infinite=infinite,
        drop_last=drop_last,
        from_slides=from_wsi,
        standardize=standardize,
        rank=rank,
        world_size=num_replicas,
        info=True,
        num_workers=workers,
        **options,
    )
    import torch

    def shape(batch: Any) -> tuple[Any, ...]:
        *parts, info = batch
        images, targets = parts[0], parts[1] if len(parts) > 1 else None
        if onehot and targets is not None:
            targets = torch.nn.functional.one_hot(targets, len(chosen["classes"]))
        if transform is not None:
            images = torch.stack([transform(image) for image in images])
        found = [images, targets]
        found += [info["slide"]] if incl_slidenames else []
        found += [torch.as_tensor(info["loc_x"]), torch.as_tensor(info["loc_y"])] if incl_loc else []
        if batch_size is None:
            found = [None if part is None else part[0] for part in found]
        return tuple(found)

    return Batches(loader, shape)


def tensorflow_batches(
    dataset: slideloom.Dataset,
    balance: Balance,
    labels: Any,
    *,
    batch_size: int | None,
    from_wsi: bool,
    augment: bool | str = False,
    drop_last: bool = False,
    incl_loc: bool = False,
    incl_slidenames: bool = False,
    infinite: bool = True,
    normalizer: str | StainNormalizer | None = None,
    standardize: bool = True,
    transform: Callable[[Any], Any] | None = None,
    **_without_effect: Any,  # of which `Dataset.tensorflow` has warned
) -> Any:  # Any: TensorFlow ships no types
    """A `tf.data.Dataset`; images are (B, tile_px, tile_px, 3), float32 of mean 0 and deviation 1, or uint8."""
    if from_wsi:
        raise ConfigError("tensorflow: from_wsi=True is not offered: TensorFlow reads TFRecords; use torch, or extract")
    chosen = _chosen(dataset, balance, labels, augment=augment, normalizer=normalizer)
    made = dataset.tensorflow(batch_size=batch_size or 1, **chosen, infinite=infinite, drop_last=drop_last, info=True)
    import tensorflow as tf

    def shape(*batch: Any) -> tuple[Any, ...]:
        *parts, info = batch
        images, targets = parts[0], parts[1] if len(parts) > 1 else tf.zeros(tf.shape(parts[0])[0], tf.int64)
        images = tf.image.per_image_standardization(images) if standardize else images
        if transform is not None:
            images = tf.map_fn(transform, images)
        found = [images, targets]
        found += [info["slide"]] if incl_slidenames else []
        found += [info["loc_x"], info["loc_y"]] if incl_loc else []
        return tuple(found)

    shaped = made.map(shape)
    return shaped.unbatch() if batch_size is None else shaped


def _chosen(
    dataset: slideloom.Dataset,
    balance: Balance,
    labels: Any,
    *,
    augment: bool | str,
    normalizer: str | StainNormalizer | None,
) -> dict[str, Any]:
    """The arguments that both frameworks share."""
    by_slide = _by_slide(dataset, labels)
    balance.check(by_slide)
    given: dict[str, Any] = {"augment": augment or None}
    if isinstance(normalizer, StainNormalizer):
        given["normalizer"] = normalizer.ours
    elif normalizer is not None:
        given["normalizer"] = our_name(normalizer)
    values = list(by_slide.values())
    if values and all(isinstance(value, int) and not isinstance(value, bool) and value >= 0 for value in values):
        # Numbers of classes stay what they are, also where a class has no slide here.
        given["classes"] = list(range(max(values) + 1))
    if values:
        given["labels"] = dict(by_slide)
    return given


def _by_slide(dataset: slideloom.Dataset, labels: Any) -> Mapping[str, Any]:
    if labels is None:
        return {}
    if isinstance(labels, str):
        names = dataset.labels(labels)
        order = {name: number for number, name in enumerate(sorted(set(names.values())))}
        return {slide: order[name] for slide, name in names.items()}
    if isinstance(labels, Mapping):
        return labels
    raise ConfigError(
        "labels: a table of tiles is not offered: labels='roi' of slideloom's own loader gives each tile the label of "
        "its region, dataset.ours.torch(labels='roi')"
    )
