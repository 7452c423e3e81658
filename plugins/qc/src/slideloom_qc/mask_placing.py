"""Where a mask lies on its slide, and what its values are called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from attrs import frozen
from numpy.typing import NDArray
from slideloom import Box, ConfigError, SlideError, SlideInfo, parse_json, path_inside

from slideloom_qc.mask_images import MaskImage, Values, read_mask_image
from slideloom_qc.settings import MASK_ENDINGS, MaskOptions

_LEAST_COVERED, _MOST_COVERED = 0.9, 1.1  # of the slide, for masks placed by mpp


@frozen
class PlacedMask:
    """A mask on its slide.

    Attributes:
        path: its file.
        values: (h, w) of bool or whole numbers.
        extent: the level-0 box that they cover.
        notes: sentences for the report.
    """

    path: Path
    values: Values
    extent: Box
    notes: tuple[str, ...] = ()


def mask_of(settings: MaskOptions, info: SlideInfo) -> PlacedMask | None:
    """The slide's mask; None if there is none.

    Raises:
        SlideError: there are several, or it cannot be read, or does not fit the slide.
    """
    names = [f"{info.name}{settings.suffix}{ending}" for ending in MASK_ENDINGS]
    paths = [path for name in names if (path := path_inside(settings.folder, name)).is_file()]
    if len(paths) > 1:
        raise SlideError(
            f"{info.path.name}: several masks: {', '.join(path.name for path in paths)} in {settings.folder}; keep one"
        )
    if not paths:
        return None
    (path,) = paths
    image = read_mask_image(path, max_px=settings.max_px)
    extent = _extent(settings, path, image, info)
    notes = [f"{path.name}: {image.note}"] if image.note else []
    seen = extent.intersection(info.box)
    if seen is None:
        raise SlideError(f"{path}: lies beside {info.path.name}; correct its offset, in level-0 pixels")
    share = seen.width * seen.height / info.size.area
    if share < _LEAST_COVERED:
        notes.append(f"{path.name} covers {share:.0%} of the slide")
    return PlacedMask(path, image.values, extent, tuple(notes))


def without_mask(settings: MaskOptions, info: SlideInfo) -> str:
    """The sentence for a slide without a mask."""
    wanted = f"{info.name}{settings.suffix}"
    return f"no mask {wanted}.png, .tif, .ome.tif or .npy in {settings.folder}"


def _extent(settings: MaskOptions, path: Path, image: MaskImage, info: SlideInfo) -> Box:
    """The level-0 box of what was read."""
    beside = path_inside(settings.folder, f"{info.name}{settings.suffix}.json")
    scale = settings.scale
    if scale == "auto":
        scale = "json" if beside.is_file() else "mpp" if settings.mpp is not None else "size"
    x, y = 0.0, 0.0
    if scale == "json":
        (step_x, step_y), (x, y) = _from_json(beside)
    elif scale == "mpp":
        step_x, step_y = _by_mpp(settings, path, image, info)
    else:
        step_x, step_y = _by_size(path, image, info)
    return Box(x, y, image.covered[0] * step_x, image.covered[1] * step_y)


def _by_size(path: Path, image: MaskImage, info: SlideInfo) -> tuple[float, float]:
    width, height = image.stored.width, image.stored.height
    whole = info.size
    # Sizes that were rounded up or down.
    fits = abs(width * whole.height / whole.width - height) <= 1 + whole.height / whole.width
    fits = fits or abs(height * whole.width / whole.height - width) <= 1 + whole.width / whole.height
    if not fits:
        raise SlideError(
            f"{path}: {width} x {height} pixels, {width / height:.4g} times as wide as high, do not cover "
            f"{info.path.name}, {whole.width} x {whole.height}, {whole.width / whole.height:.4g} times; is it another "
            'slide\'s, cropped or turned? Else give its mpp, or a JSON file beside it with "downsample" and "offset"'
        )
    return whole.width / width, whole.height / height


def _by_mpp(settings: MaskOptions, path: Path, image: MaskImage, info: SlideInfo) -> tuple[float, float]:
    if info.mpp is None or settings.mpp is None:
        raise SlideError(f"{path}: its scale by mpp needs the slide's microns per pixel")
    steps = settings.mpp / info.mpp.x, settings.mpp / info.mpp.y
    sizes = image.stored.width * steps[0], image.stored.height * steps[1]
    whole = info.size.width, info.size.height
    margin = 1.5 * max(steps)
    for size, side in zip(sizes, whole, strict=True):
        if not _LEAST_COVERED * side - margin <= size <= _MOST_COVERED * side + margin:
            raise SlideError(
                f"{path}: {image.stored.width} x {image.stored.height} pixels of {settings.mpp:g} um cover "
                f"{sizes[0]:.0f} x {sizes[1]:.0f} level-0 pixels, but {info.path.name} has {whole[0]} x {whole[1]}; "
                "correct mpp, or lay it down by a JSON file beside it"
            )
    return steps


def _from_json(path: Path) -> tuple[tuple[float, float], tuple[float, float]]:
    """Level-0 pixels per pixel, and the place of the corner."""
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
        if "slideloom_mask" in table:
            raise ValueError("the mask was saved by slideloom: use the step saved-mask")
        unknown = [key for key in table if key not in ("downsample", "offset")]
        if unknown:
            raise ValueError(f"it has {unknown[0]!r}; known are downsample and offset")
        steps, offset = _pair(table["downsample"]), _pair(table.get("offset", [0, 0]))
        if min(steps) <= 0:
            raise ValueError(f"downsample must be above 0, not {table['downsample']}")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SlideError(
            f'{path}: does not say where the mask lies ({error}); write {{"downsample": 32, "offset": [0, 0]}}, both '
            "in level-0 pixels"
        ) from error
    return steps, offset


def _pair(value: Any) -> tuple[float, float]:
    both = value if isinstance(value, list) else [value, value]
    x, y = (float(each) for each in both)
    if not np.isfinite([x, y]).all():
        raise ValueError(f"{value} is no number")
    return x, y


def class_names(settings: MaskOptions) -> Mapping[int, str]:
    """The name of each value, with what follows it such as ":artifact"; empty without classes.

    Raises:
        ConfigError: the table has mistakes.
    """
    words = _words_of_file(settings.labels) if settings.labels is not None else settings.classes
    found: dict[int, str] = {}
    for word in words:
        value, equals, name = word.partition("=")
        if not equals or not value.strip().isdecimal() or not name.strip():
            raise ConfigError(f"mask-files: {word!r} is not VALUE=NAME, such as 1=tumor")
        if int(value) in found:
            raise ConfigError(f"mask-files: the value {int(value)} has two names, {found[int(value)]} and {name}")
        found[int(value)] = name.strip()
    return found


def _words_of_file(path: Path) -> Sequence[str]:
    try:
        table = parse_json(path.read_text(encoding="utf-8"))
        return [f"{int(value)}={name}" for name, value in dict(table).items()]
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(f'{path}: is no table of labels ({error}); write {{"tumor": 1, "stroma": 2}}') from error


def as_numbers(mask: PlacedMask, known: Mapping[int, str]) -> NDArray[np.uint8]:
    """(h, w) uint8: the rank of each pixel's value in `known`.

    Raises:
        SlideError: a value is not in the table.
    """
    present = _present(mask.values)
    beyond = [int(value) for value in present if int(value) not in known]
    if beyond:
        told = ", ".join(f"{value}={name}" for value, name in known.items())
        raise SlideError(
            f"{mask.path}: holds {_some(beyond)}, which the table of classes ({told}) does not name; name all "
            "values, or make the mask again without loss (no JPEG, no averaging)"
        )
    order = list(known)
    numbers = np.zeros(mask.values.shape, np.uint8)
    for value in present.tolist():
        numbers[mask.values == value] = order.index(int(value))
    return numbers


def _present(values: Values) -> Values:
    """The different values, ascending; of small numbers without sorting millions of them."""
    if values.dtype == np.bool_ or values.dtype in (np.uint8, np.uint16):
        counts = np.zeros(1 << 16, np.int64)
        for rows in np.array_split(values, max(1, len(values) // 256)):
            counts += np.bincount(rows.ravel(), minlength=len(counts))
        return np.flatnonzero(counts)
    return np.unique(values)


def nonzero(mask: PlacedMask) -> NDArray[np.bool_]:
    """(h, w) bool of a mask with two values.

    Raises:
        SlideError: it has more.
    """
    present = _present(mask.values)
    if len(present) > 2 or (len(present) == 2 and present[0] != 0):
        raise SlideError(
            f"{mask.path}: holds {_some(present.tolist())}, but a mask without classes has zero and one other value; "
            "name its values by classes, or make it again without loss (no JPEG, no averaging)"
        )
    found: NDArray[np.bool_] = mask.values != 0
    return found


def _some(values: Sequence[Any]) -> str:
    return ", ".join(str(value) for value in values[:5]) + (", ..." if len(values) > 5 else "")
