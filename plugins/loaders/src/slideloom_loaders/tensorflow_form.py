"""The TensorFlow loader. Imported only when a loader is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import tensorflow as tf
from slideloom.base.errors import ConfigError
from slideloom.settings.options import Settings
from slideloom.steps.companions import MASK
from slideloom.steps.normalizer import Normalizer
from slideloom_cohort.serving import tile_stores
from slideloom_cohort.slides import TiledSlides

from slideloom_loaders.augmenting import BLUR_SIGMA, JPEG_QUALITY, Augmentation
from slideloom_loaders.index import TileIndex
from slideloom_loaders.preparing import Preparation, batch_of
from slideloom_loaders.sampling import balanced_weights

Tensor = Any  # TensorFlow has no types

_MISSING = -1


def make_dataset(
    dataset: TiledSlides,
    preparation: Preparation,
    *,
    by: Sequence[str],
    of_regions: bool,
    shuffle: int,
    seed: int,
    infinite: bool,
    info: bool,
    slidenames: bool,
    standardize: bool,
    in_graph: bool,
    batch_size: int,
    drop_last: bool,
) -> Tensor:
    """The dataset; see `slideloom_loaders.tensorflow_loader`."""
    index = preparation.index
    if by and of_regions and "label" in by:
        raise ConfigError(
            "balance='label' with labels of regions needs random access; use dataset.torch, or balance something else"
        )
    elements = (
        _balanced(dataset, preparation, by, shuffle=shuffle, seed=seed)
        if by
        else _tiles(dataset, preparation, np.unique(index.slide), shuffle, seed)
    )
    if index.targets is not None:
        elements = _labelled(elements, index, of_regions=of_regions)
    if by:
        elements = elements.take(len(index))
    if infinite:
        elements = elements.repeat()
    px = dataset.tiling.size_px
    # New numbers in every epoch, the same for the same seed.
    numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True)
    batches = tf.data.Dataset.zip((elements, numbers)).batch(batch_size, drop_remainder=drop_last)
    extra = [name for name, wanted in (("target", index.targets is not None), ("slide", slidenames)) if wanted]
    finish = _finisher(preparation, px, extra, info=info, standardize=standardize, in_graph=in_graph)
    batches = batches.map(finish, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    if not infinite:
        count = len(index) // batch_size if drop_last else -(-len(index) // batch_size)
        if not count:
            raise ConfigError(f"no batch: drop_last leaves none of {len(index)} tiles with batch_size={batch_size}")
        batches = batches.apply(tf.data.experimental.assert_cardinality(count))
    batches = batches.prefetch(tf.data.AUTOTUNE)
    batches.classes, batches.tiles, batches.mask_classes = index.classes, len(index), preparation.beside.classes
    return batches


def _tiles(dataset: TiledSlides, preparation: Preparation, slides: Any, shuffle: int, seed: int) -> Tensor:
    index = preparation.index
    companions: dict[str, Any] = {name: name == MASK for name in preparation.beside.names}
    more: dict[str, Any] = {"beside": companions} if companions else {}  # other formats may not know it
    paths = {item.slide: item.tfrecord for item in dataset.stored()}
    chosen = [paths[index.slides[slide]] for slide in np.asarray(slides).tolist()]
    files = [path for path in chosen if path is not None]
    return tile_stores().tensorflow(files, shuffle=shuffle, seed=seed, **more)


def _balanced(dataset: TiledSlides, preparation: Preparation, by: Sequence[str], *, shuffle: int, seed: int) -> Tensor:
    """Tiles drawn by weight from groups of slides; each slide is in one group, because labels here belong to slides."""
    index = preparation.index
    weights = balanced_weights(index.groups(by))
    columns = np.stack(index.groups(by), axis=1)
    groups, member = np.unique(columns, axis=0, return_inverse=True)
    member = member.reshape(-1)
    share = max(1, shuffle // len(groups))
    datasets = [
        _tiles(dataset, preparation, np.unique(index.slide[member == group]), share, seed).repeat()
        for group in range(len(groups))
    ]
    drawn = np.bincount(member, weights=weights)
    return tf.data.Dataset.sample_from_datasets(
        datasets, weights=drawn.tolist(), seed=seed, rerandomize_each_iteration=True
    )


def _labelled(elements: Tensor, index: TileIndex, *, of_regions: bool) -> Tensor:
    """Elements with their `target`, without those that the index leaves out."""
    targets = index.targets if index.targets is not None else np.empty(0, np.int64)
    names = np.array(index.slides, dtype=object)[index.slide]
    if of_regions:
        x, y = index.locations.T.tolist()
        keys = [f"{name}/{left}/{top}" for name, left, top in zip(names, x, y, strict=True)]
    else:
        firsts = np.unique(index.slide, return_index=True)[1]
        keys, targets = names[firsts].tolist(), targets[firsts]
    is_class = bool(index.classes)
    blank = _MISSING if is_class else np.nan
    values = tf.constant(targets, tf.int64 if is_class else tf.float32)
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(tf.constant(keys, tf.string), values), default_value=blank
    )

    def with_target(element: dict[str, Tensor]) -> dict[str, Tensor]:
        key = element["slide"]
        if of_regions:
            parts = [key, tf.strings.as_string(element["loc_x"]), tf.strings.as_string(element["loc_y"])]
            key = tf.strings.join(parts, "/")
        return {**element, "target": table.lookup(key)}

    def is_known(element: dict[str, Tensor]) -> Tensor:
        return element["target"] != _MISSING if is_class else ~tf.math.is_nan(element["target"])

    return elements.map(with_target, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).filter(is_known)


def _finisher(
    preparation: Preparation, px: int, extra: Sequence[str], *, info: bool, standardize: bool, in_graph: bool
) -> Any:
    normalize = _normalizer(preparation, in_graph=in_graph)
    augmentation, beside = preparation.augmentation, preparation.beside
    draws_stain = augmentation.stain

    def finished(images: Tensor, numbers: Tensor) -> Tensor:
        if normalize is not None:
            # Random staining depends on this number, which is new in every epoch.
            images = normalize(images, numbers % (1 << 31) if draws_stain else tf.zeros_like(numbers))
        images = augmented(images, numbers, augmentation)
        return tf.image.per_image_standardization(images) if standardize else images

    def finish(element: dict[str, Tensor], numbers: Tensor) -> Tensor:
        images = finished(tf.ensure_shape(element["image"], [None, px, px, 3]), numbers)
        parts = [images]
        if beside.has_masks:
            masks = tf.ensure_shape(element[MASK], [None, px, px])[..., None]
            parts.append(tf.cast(augmented(masks, numbers, _turning(augmentation))[..., 0], tf.int64))
        if beside.contexts:
            parts.append({name: finished(element[name], numbers) for name in beside.contexts})
        parts += [element[name] for name in extra]
        if info:
            parts.append({name: element[name] for name in ("slide", "loc_x", "loc_y")})
        return tuple(parts) if len(parts) > 1 else images

    return finish


def _turning(augmentation: Augmentation) -> Augmentation:
    """Flips and rotation alone; the draws for them are the same."""
    return attrs.evolve(augmentation, blur=False, jpeg=False, stain=False)


def _normalizer(preparation: Preparation, *, in_graph: bool) -> Any:
    """A function that normalizes images (B, H, W, 3) uint8 with numbers (B,), or None."""
    settings: Settings[Normalizer] | None = preparation.normalizer
    if settings is None:
        return None
    step = settings.build()
    form = step.tensorflow_form() if in_graph else None
    if form is not None:
        return form

    def in_numpy(images: Any, numbers: Any) -> Any:
        places = np.zeros((len(images), 2), np.int64)
        done = step.apply(batch_of(np.array(images), np.asarray(numbers, np.int64), places, ""))
        return np.where(done.ok[:, None, None, None], done.rgb, images)

    def wrapped(images: Tensor, numbers: Tensor) -> Tensor:
        result = tf.numpy_function(in_numpy, [images, numbers], tf.uint8)
        return tf.ensure_shape(result, images.shape)

    return wrapped


def augmented(images: Tensor, numbers: Tensor, augmentation: Augmentation) -> Tensor:
    """Images (B, H, W, 3) after flips, rotation, blur and JPEG, each seeded by its number (B,)."""
    if augmentation.is_plain:
        return images

    def one(pair: tuple[Tensor, Tensor]) -> Tensor:
        image, number = pair
        draws = tf.random.stateless_uniform([7], seed=tf.stack([number, tf.zeros_like(number)]))
        if augmentation.flip_x:
            image = tf.cond(draws[0] < 0.5, lambda: image[:, ::-1], lambda: image)
        if augmentation.flip_y:
            flipped = image
            image = tf.cond(draws[1] < 0.5, lambda: flipped[::-1], lambda: flipped)
        if augmentation.rotate:
            image = tf.image.rot90(image, tf.cast(draws[2] * 4, tf.int32))
        if augmentation.blur:
            sharp = image
            image = tf.cond(draws[3] < 0.5, lambda: _blurred(sharp, draws[4]), lambda: sharp)
        if augmentation.jpeg:
            whole = image
            image = tf.cond(draws[5] < 0.5, lambda: _compressed(whole, draws[6]), lambda: whole)
        return image

    shape = images.shape[1:]
    return tf.map_fn(one, (images, numbers), fn_output_signature=tf.TensorSpec(shape, tf.uint8))


def _compressed(image: Tensor, draw: Tensor) -> Tensor:
    worst, best = JPEG_QUALITY
    quality = tf.cast(tf.round(worst + (best - worst) * draw), tf.int32)
    return tf.ensure_shape(tf.image.adjust_jpeg_quality(image, quality), image.shape)


def _blurred(image: Tensor, draw: Tensor) -> Tensor:
    low, high = BLUR_SIGMA
    sigma = low + (high - low) * draw
    reach = int(np.ceil(3 * high))
    kernel = tf.exp(-0.5 * (tf.range(-reach, reach + 1, dtype=tf.float32) / sigma) ** 2)
    kernel = kernel / tf.reduce_sum(kernel)
    values = tf.pad(tf.cast(image, tf.float32), [[reach, reach], [reach, reach], [0, 0]], mode="REFLECT")[None]
    depthwise = tf.tile(kernel[:, None, None, None], [1, 1, 3, 1])
    rows = tf.nn.depthwise_conv2d(values, depthwise, [1, 1, 1, 1], "VALID")
    both = tf.nn.depthwise_conv2d(rows, tf.transpose(depthwise, [1, 0, 2, 3]), [1, 1, 1, 1], "VALID")
    return tf.cast(tf.round(both[0]), tf.uint8)
