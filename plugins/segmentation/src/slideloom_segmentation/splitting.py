"""What is trained on, and what is held out: never the same slide, and every class in both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from attrs import frozen
from slideloom import ConfigError, Size, Slide

from slideloom_segmentation.sampling import CELL, PatchArea, Plot
from slideloom_segmentation.settings import SegmentConfig

_VALIDATION_PATCHES = 256  # at most; more would be slower without telling more
_DRAWS = 200  # of slides to hold out, until every class is in both parts
_PICTURE = Size(64, 64)  # of a whole slide, to know a copy by

Parts = tuple[tuple[Plot, ...], tuple[Plot, ...], str]
Place = tuple[Plot, int, int]  # of a patch: its plot, and its top left in model pixels


@frozen
class TrainingSplit:
    """What to train on, and where the patches to validate on are; `text` says how slides were split."""

    train: tuple[Plot, ...]
    places: tuple[Place, ...]
    text: str


def check_different(slides: Sequence[Slide]) -> None:
    """Raise `ConfigError` for a slide that is given twice, which could be trained and validated on."""
    seen: dict[bytes | str, Slide] = {}
    for slide in slides:
        picture = slide.read_at(slide.info.box, _PICTURE).tobytes()
        for known in (slide.info.name, picture):
            if known in seen:
                raise ConfigError(
                    f"segment: {slide.info.path} and {seen[known].info.path} are the same slide, or have one name; a "
                    "slide that is trained on cannot be validated on: leave one out, or rename it"
                )
            seen[known] = slide


def split(plots: Sequence[Plot], config: SegmentConfig) -> TrainingSplit:
    """Plots for training and patches for validation: split by slide, or a single slide into two halves.

    Raises:
        ConfigError: there is nothing to train on, or a class is missing from a part.
    """
    if not plots:
        raise ConfigError("segment: no slide to train on")
    train, validation, text = _halves(plots[0]) if len(plots) == 1 else _by_slide(plots, config)
    for part, role in ((train, "training"), (validation, "validation")):
        for name in _lacking(part, config):
            raise ConfigError(
                f"segment: nothing in the {role} part is '{name}' (validation is {text}); label it in two slides or "
                "more, or leave it out of the labels"
            )
    return TrainingSplit(train, _chosen_places(validation, config, text), text)


def _by_slide(plots: Sequence[Plot], config: SegmentConfig) -> Parts:
    """The first draw with every class in both parts; the first of all where there is none."""
    random = np.random.default_rng([config.seed, 0])
    count = min(len(plots) - 1, max(1, round(config.val_fraction * len(plots))))
    drawn: list[Parts] = []
    for _ in range(_DRAWS):
        chosen = sorted(random.permutation(len(plots)).tolist()[:count])
        train = tuple(plot for i, plot in enumerate(plots) if i not in chosen)
        held_out = tuple(plots[i] for i in chosen)
        drawn.append((train, held_out, f"by slide: {', '.join(plot.slide.info.name for plot in held_out)}"))
        if not _lacking(train, config) and not _lacking(held_out, config):
            return drawn[-1]
    return drawn[0]


def _lacking(part: Sequence[Plot], config: SegmentConfig) -> list[str]:
    return [name for number, name in enumerate(config.classes) if not any(number in plot.cells for plot in part)]


def _halves(plot: Plot) -> Parts:
    whole = plot.window
    places = np.concatenate(list(plot.cells.values())) * CELL
    span = places.max(axis=0) - places.min(axis=0)
    if span[0] >= span[1]:
        middle = int(np.median(places[:, 0]))
        parts, text = (PatchArea(0, 0, middle, whole.y1), PatchArea(middle, 0, whole.x1, whole.y1)), "left and right"
    else:
        middle = int(np.median(places[:, 1]))
        parts, text = (PatchArea(0, 0, whole.x1, middle), PatchArea(0, middle, whole.x1, whole.y1)), "top and bottom"
    train, validation = (plot.within(part) for part in parts)
    if not validation.cells:
        raise ConfigError(f"{plot.slide.info.path.name}: too small to be split for validation; add a second slide")
    return (train,), (validation,), f"the other half of the only slide ({text}), so it says little about other slides"


def _chosen_places(plots: Sequence[Plot], config: SegmentConfig, text: str) -> tuple[Place, ...]:
    """At most 256 patches, with every class among their pixels: without one, its score would say nothing.

    Raises:
        ConfigError: no patch has a pixel of a class.
    """
    side = config.patch_px
    every = [(plot, *at) for plot in plots for at in plot.fixed_places(side)]
    chosen = list(range(len(every)))
    if len(every) > _VALIDATION_PATCHES:
        random = np.random.default_rng([config.seed, 2])
        chosen = sorted(random.choice(len(every), _VALIDATION_PATCHES, replace=False).tolist())
    found = {number for place in chosen for number in _classes_at(every[place], side)}
    for number, name in enumerate(config.classes):
        if number in found:
            continue
        left = (
            place for place in range(len(every)) if place not in chosen and number in _classes_at(every[place], side)
        )
        more = next(left, None)
        if more is None:
            raise ConfigError(
                f"segment: no pixel of the validation part is '{name}' at {config.mpp:g} um/px (validation is {text}); "
                "label more of it, or choose a smaller mpp"
            )
        chosen.append(more)
        found |= _classes_at(every[more], side)
    return tuple(every[place] for place in chosen)


def _classes_at(place: Place, side: int) -> set[int]:
    plot, x, y = place
    return set(np.unique(plot.labels(x, y, side)).tolist())
