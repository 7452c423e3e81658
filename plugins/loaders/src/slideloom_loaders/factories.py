"""Makes loaders: checks the arguments first, then imports PyTorch or TensorFlow."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

from slideloom import pip_install
from slideloom.base.errors import ConfigError
from slideloom_cohort.slides import TiledSlides

from slideloom_loaders.augmenting import Augmentation
from slideloom_loaders.index import tile_index
from slideloom_loaders.labels import Labels
from slideloom_loaders.normalizing import Given, loader_normalizer
from slideloom_loaders.passing import Plan
from slideloom_loaders.preparing import Preparation
from slideloom_loaders.ranks import share_of
from slideloom_loaders.sampling import balanced_weights

Augment = str | Sequence[str] | bool | None


def torch_loader(
    dataset: TiledSlides,
    *,
    batch_size: int = 32,
    labels: Labels = None,
    classes: Sequence[Any] | None = None,
    regression: bool | None = None,
    normalizer: Given = None,
    normalizer_source: str | Path | None = None,
    augment: Augment = None,
    balance: str | Sequence[str] | None = None,
    shuffle: bool = True,
    seed: int = 0,
    infinite: bool = False,
    iterable: bool = False,
    from_slides: bool = False,
    info: bool = False,
    incl_slidenames: bool = False,
    standardize: bool = False,
    drop_last: bool = False,
    allow_missing: bool = False,
    rank: int | None = None,
    world_size: int | None = None,
    num_workers: int = 0,
    **options: Any,
) -> Any:  # Any: torch is not imported before
    """A `torch.utils.data.DataLoader` of a dataset's tiles.

    Batches are `images`, or with labels `(images, targets)`. Images are (B, 3, tile_px, tile_px) uint8; targets are
    int64 class numbers (`loader.dataset.classes` has their names) or float32 values. `loader.dataset[i]` is tile `i`.

    Each pass over the loader is the next epoch; `loader.set_epoch` chooses another. `loader.state_dict()` holds epoch
    and batch, and `loader.load_state_dict` continues with the batch after it.

    Args:
        dataset: the dataset.
        batch_size: tiles per batch.
        labels: a column of the annotations; "roi" for the label of each tile's region (tiles without one are left
            out); a mapping or pandas Series from slide to value; or None. Whole numbers, text and bools are classes,
            floats are targets, whether from Python, NumPy or pandas. A column of the annotations holds floats if one
            of its values is written as a float, such as "0.5".
        classes: classes in the order of their numbers (names, whole numbers or bools); tiles of other classes are left
            out. Pass the training loader's classes to the validation loader. By default all classes, sorted; whole
            numbers by size.
        regression: True takes whole numbers as targets too, False floats as classes.
        normalizer: name or settings of a stain normalizer, or a fitted one (`slideloom.StainNormalizer`); a tile that
            cannot be normalized stays unchanged. One that draws by itself, such as "stain-augment", does so anew in
            each epoch.
        normalizer_source: target of a normalizer given by name: a preset, an image or a fit file.
        augment: words, "flip, rotate, blur, jpeg, stain", or letters, "xyrjbn"; True is "xyrjb". Stain augmentation
            draws around the normalizer's target (with "macenko:around=own" around each tile's own staining); without a
            normalizer it shifts hue and saturation.
        balance: draw each "label", "patient" or "slide" equally often; several are nested, the outermost first. By
            default as set by `dataset.balance`. Tiles are then drawn with replacement.
        shuffle: a new order in each epoch; False keeps the stored order, slide by slide.
        seed: seed of order and augmentation; the same seed gives the same epochs for any number of workers.
        infinite: repeat epochs without end.
        iterable: make an iterable-style dataset; each worker then makes batches of its own share of the tiles.
        from_slides: read tiles from slides instead of TFRecords, with the pixels before JPEG encoding.
        info: end each batch with {"slide", "loc_x", "loc_y"}.
        incl_slidenames: end each batch with the names of the slides.
        standardize: make images float32, -1 to 1.
        drop_last: leave out the last batch if it is smaller.
        allow_missing: leave out slides whose stored tiles are missing, cut short, or from a failed run; by default
            they are an error that names them.
        rank, world_size: number of this process, and of processes that train together. Each process gets its own tiles
            and the same number of batches. By default from `torch.distributed`, else from the environment variables
            RANK and WORLD_SIZE.
        num_workers: number of processes that read, decode, normalize and augment.
        options: other arguments of `torch.utils.data.DataLoader`, such as `pin_memory=True`.

    Raises:
        ConfigError: there are no tiles, a slide lacks its tiles or has no label (NaN is none), or an option is wrong.
    """
    preparation = _prepared(
        dataset,
        batch_size=batch_size,
        labels=labels,
        classes=classes,
        regression=regression,
        normalizer=normalizer,
        normalizer_source=normalizer_source,
        augment=augment,
        seed=seed,
        from_slides=from_slides,
        allow_missing=allow_missing,
    )
    by = _balance(dataset, balance)
    weights = balanced_weights(preparation.index.groups(by)) if by else None
    share_of(rank, world_size)  # a mistake in them is told here, not by the first pass
    plan = Plan(
        len(preparation.index),
        weights,
        shuffle=shuffle,
        seed=seed,
        infinite=infinite,
        rank=rank,
        world_size=world_size,
    )
    try:
        from slideloom_loaders.torch_form import Form, make_loader
    except ImportError as error:
        remedy = pip_install("slideloom[torch]")
        raise ConfigError(f"dataset.torch needs PyTorch ({error}): {remedy}") from error
    return make_loader(
        preparation,
        plan,
        Form(info=info, slidenames=incl_slidenames, standardize=standardize),
        iterable=iterable,
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
    classes: Sequence[Any] | None = None,
    regression: bool | None = None,
    normalizer: Given = None,
    normalizer_source: str | Path | None = None,
    augment: Augment = None,
    balance: str | Sequence[str] | None = None,
    shuffle: bool = True,
    shuffle_tiles: int = 2048,
    seed: int = 0,
    infinite: bool = False,
    info: bool = False,
    incl_slidenames: bool = False,
    standardize: bool = False,
    drop_last: bool = False,
    allow_missing: bool = False,
    in_graph: bool = False,
) -> Any:  # Any: TensorFlow is not imported before
    """A `tf.data.Dataset` of tiles, read from TFRecords and augmented by TensorFlow's own operations.

    Elements are `images`, or with labels `(images, targets)`. Images are (B, tile_px, tile_px, 3) uint8; targets are
    int64 class numbers or float32 values. Attributes of the dataset: `classes`, and `tiles`, the number of tiles.

    Args:
        dataset, batch_size, labels, classes, regression, normalizer, normalizer_source, augment, seed, infinite, info,
            incl_slidenames, drop_last, allow_missing: as `torch_loader`.
        standardize: make images float32, each with mean 0 and variance 1 (`tf.image.per_image_standardization`).
        balance: as `torch_loader`, except that labels of regions cannot be balanced.
        shuffle: in each epoch, read files in a new order and draw tiles from a buffer of `shuffle_tiles`.
        shuffle_tiles: size of that buffer in encoded tiles.
        in_graph: use TensorFlow operations for normalization too, so that the dataset can be saved or served by
            another machine. By default numpy is called, which is several times as fast on a CPU.

    Raises:
        ConfigError: there are no tiles, a slide lacks its tiles or has no label (NaN is none), or an option is wrong.
    """
    preparation = _prepared(
        dataset,
        batch_size=batch_size,
        labels=labels,
        classes=classes,
        regression=regression,
        normalizer=normalizer,
        normalizer_source=normalizer_source,
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
        of_regions=isinstance(labels, str) and labels == "roi",
        shuffle=shuffle_tiles if shuffle else 0,
        seed=seed,
        infinite=infinite,
        info=info,
        slidenames=incl_slidenames,
        standardize=standardize,
        in_graph=in_graph,
        batch_size=batch_size,
        drop_last=drop_last,
    )


def _prepared(
    dataset: TiledSlides,
    *,
    batch_size: int | None,
    labels: Labels,
    classes: Sequence[Any] | None,
    regression: bool | None,
    normalizer: Given,
    normalizer_source: str | Path | None,
    augment: Augment,
    seed: int,
    from_slides: bool,
    allow_missing: bool,
) -> Preparation:
    _check_number("seed", seed, least=0)
    if batch_size is not None:
        _check_number("batch_size", batch_size, least=1)
    augmentation = Augmentation.parse(augment)
    settings, augmentation = loader_normalizer(normalizer, source=normalizer_source, augmentation=augmentation)
    index = tile_index(
        dataset,
        labels=labels,
        classes=classes,
        regression=regression,
        from_slides=from_slides,
        allow_missing=allow_missing,
    )
    return Preparation(index, settings, augmentation, int(seed))


def _check_number(name: str, value: Any, *, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")


def _balance(dataset: TiledSlides, balance: str | Sequence[str] | None) -> tuple[str, ...]:
    if balance is None:
        return dataset.balanced
    return (balance,) if isinstance(balance, str) else tuple(balance)
