"""Makes loaders: checks the arguments first, then imports PyTorch or TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
from slideloom.base.errors import ConfigError
from slideloom.plugins.shorthand import step_settings
from slideloom.settings.options import Settings
from slideloom_cohort.slides import TiledSlides

from slideloom_loaders.augmenting import Augmentation
from slideloom_loaders.index import Labels, tile_index
from slideloom_loaders.preparing import Preparation, check_tile_based, draws, with_stain
from slideloom_loaders.sampling import balanced_weights


def torch_loader(
    dataset: TiledSlides,
    *,
    batch_size: int = 32,
    labels: Labels = None,
    classes: Sequence[str] | None = None,
    normalizer: str | Settings[Any] | None = None,
    augment: str | None = None,
    balance: str | Sequence[str] | None = None,
    shuffle: bool = True,
    seed: int = 0,
    infinite: bool = False,
    iterable: bool = False,
    from_slides: bool = False,
    info: bool = False,
    drop_last: bool = False,
    allow_missing: bool = False,
    num_workers: int = 0,
    **options: Any,
) -> Any:  # Any: torch is not imported before
    """A `torch.utils.data.DataLoader` of a dataset's tiles.

    Batches are `images`, or with labels `(images, targets)`. Images are (B, 3, tile_px, tile_px) uint8; targets are
    int64 class numbers (`loader.dataset.classes` has their names) or float32 values. `loader.dataset[i]` is tile `i`.

    Args:
        dataset: the dataset.
        batch_size: tiles per batch.
        labels: a column of the annotations; "roi" for the label of each tile's region (tiles without one are left
            out); a mapping from slide to value; or None.
        classes: names of classes in the order of their numbers; tiles of other classes are left out. Pass the training
            loader's classes to the validation loader. By default all classes, sorted.
        normalizer: name or settings of a stain normalizer; a tile that cannot be normalized stays unchanged. One that
            draws by itself, such as "stain-augment", does so anew in each epoch.
        augment: words, "flip, rotate, blur, jpeg, stain", or letters, "xyrjbn". Stain augmentation draws around the
            normalizer's target (with "macenko:around=own" around each tile's own staining); without a normalizer it
            shifts hue and saturation.
        balance: draw each "label", "patient" or "slide" equally often; several are nested, the outermost first. By
            default as set by `dataset.balance`. Tiles are then drawn with replacement.
        shuffle: a new order in each epoch; False keeps the stored order, slide by slide.
        seed: seed of order and augmentation; the same seed gives the same epochs for any number of workers.
        infinite: repeat epochs without end.
        iterable: make an iterable-style dataset; each worker then makes batches of its own share of the tiles.
        from_slides: read tiles from slides instead of TFRecords, with the pixels before JPEG encoding.
        info: end each batch with {"slide", "loc_x", "loc_y"}.
        drop_last: leave out the last batch if it is smaller.
        allow_missing: leave out slides whose stored tiles are missing, cut short, or from a failed run; by default
            they are an error that names them.
        num_workers: number of processes that read, decode, normalize and augment.
        options: other arguments of `torch.utils.data.DataLoader`, such as `pin_memory=True`.

    Raises:
        ConfigError: there are no tiles, a slide lacks its tiles or has no label, or an option is wrong.
    """
    preparation = _prepared(
        dataset,
        labels=labels,
        classes=classes,
        normalizer=normalizer,
        augment=augment,
        seed=seed,
        from_slides=from_slides,
        allow_missing=allow_missing,
    )
    by = _balance(dataset, balance)
    weights = balanced_weights(preparation.index.groups(by)) if by else None
    try:
        from slideloom_loaders.torch_form import make_loader
    except ImportError as error:
        raise ConfigError(f"dataset.torch needs PyTorch ({error}): pip install slideloom[torch]") from error
    return make_loader(
        preparation,
        weights=weights,
        shuffle=shuffle,
        seed=seed,
        infinite=infinite,
        iterable=iterable,
        info=info,
        batch_size=batch_size,
        drop_last=drop_last,
        num_workers=num_workers,
        options=options,
    )


def tensorflow_loader(
    dataset: TiledSlides,
    *,
    batch_size: int = 32,
    labels: Labels = None,
    classes: Sequence[str] | None = None,
    normalizer: str | Settings[Any] | None = None,
    augment: str | None = None,
    balance: str | Sequence[str] | None = None,
    shuffle: bool = True,
    shuffle_tiles: int = 2048,
    seed: int = 0,
    infinite: bool = False,
    info: bool = False,
    drop_last: bool = False,
    allow_missing: bool = False,
    in_graph: bool = False,
) -> Any:  # Any: TensorFlow is not imported before
    """A `tf.data.Dataset` of tiles, read from TFRecords and augmented by TensorFlow's own operations.

    Elements are `images`, or with labels `(images, targets)`. Images are (B, tile_px, tile_px, 3) uint8; targets are
    int64 class numbers or float32 values. Attributes of the dataset: `classes`, and `tiles`, the number of tiles.

    Args:
        dataset, batch_size, labels, classes, normalizer, augment, seed, infinite, info, drop_last,
            allow_missing: as `torch_loader`.
        balance: as `torch_loader`, except that labels of regions cannot be balanced.
        shuffle: in each epoch, read files in a new order and draw tiles from a buffer of `shuffle_tiles`.
        shuffle_tiles: size of that buffer in encoded tiles.
        in_graph: use TensorFlow operations for normalization too, so that the dataset can be saved or served by
            another machine. By default numpy is called, which is several times as fast on a CPU.

    Raises:
        ConfigError: there are no tiles, a slide lacks its tiles or has no label, or an option is wrong.
    """
    preparation = _prepared(
        dataset,
        labels=labels,
        classes=classes,
        normalizer=normalizer,
        augment=augment,
        seed=seed,
        from_slides=False,
        allow_missing=allow_missing,
    )
    try:
        from slideloom_loaders.tensorflow_form import make_dataset
    except ImportError as error:
        raise ConfigError(
            f"dataset.tensorflow needs TensorFlow ({error}): pip install slideloom[tensorflow]"
        ) from error
    return make_dataset(
        dataset,
        preparation,
        by=_balance(dataset, balance),
        of_regions=labels == "roi",
        shuffle=shuffle_tiles if shuffle else 0,
        seed=seed,
        infinite=infinite,
        info=info,
        in_graph=in_graph,
        batch_size=batch_size,
        drop_last=drop_last,
    )


def _prepared(
    dataset: TiledSlides,
    *,
    labels: Labels,
    classes: Sequence[str] | None,
    normalizer: str | Settings[Any] | None,
    augment: str | None,
    seed: int,
    from_slides: bool,
    allow_missing: bool,
) -> Preparation:
    augmentation = Augmentation.parse(augment)
    settings = step_settings("normalizer", normalizer) if isinstance(normalizer, str) else normalizer
    check_tile_based(settings)
    augmentation = attrs.evolve(augmentation, stain=augmentation.stain or draws(settings))
    if augmentation.stain:
        settings = with_stain(settings, step_settings("normalizer", "hsv-augment"))
    index = tile_index(dataset, labels=labels, classes=classes, from_slides=from_slides, allow_missing=allow_missing)
    return Preparation(index, settings, augmentation, seed)


def _balance(dataset: TiledSlides, balance: str | Sequence[str] | None) -> tuple[str, ...]:
    if balance is None:
        return dataset.balanced
    return (balance,) if isinstance(balance, str) else tuple(balance)
