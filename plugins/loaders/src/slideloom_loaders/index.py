"""The tiles of a loader: one row per tile, with its slide, its number in the slide's store, and its target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray
from slideloom.base.errors import ConfigError
from slideloom.settings.options import did_you_mean
from slideloom.steps.store import TileStore
from slideloom_cohort.slides import TiledSlides, named
from slideloom_cohort.stored import StoredSlide

from slideloom_loaders.from_slides import slide_tiles
from slideloom_loaders.labels import Labels, Meaning, by_slide, meaning_of, of_column

ROI = "roi"
_UNKNOWN = -1


@frozen
class TileIndex:
    """N tiles of a dataset.

    Attributes:
        slides: names of slides, sorted; `stores` and `patients` have the same order.
        stores: the stored tiles of each slide.
        patients: the patient of each slide.
        slide: (N,) int64, index into `slides`.
        number: (N,) int64, number of the tile in its store.
        locations: (N, 2) int64, centre in level-0 pixels, -1 where it is not known.
        targets: (N,) int64 index into `classes`, or float32 values; None without labels.
        classes: names of classes, or () if targets are values.
    """

    slides: tuple[str, ...]
    stores: tuple[TileStore, ...] = field(repr=False)
    patients: tuple[str, ...] = field(repr=False)
    slide: NDArray[np.int64] = field(eq=False, repr=False)
    number: NDArray[np.int64] = field(eq=False, repr=False)
    locations: NDArray[np.int64] = field(eq=False, repr=False)
    targets: NDArray[Any] | None = field(eq=False, repr=False)
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.slide)

    def groups(self, by: Sequence[str]) -> list[NDArray[np.int64]]:
        """A column (N,) of group numbers for each of the words "label", "patient", "slide" in `by`.

        Raises:
            ConfigError: a word is none of these, or there are no classes to balance.
        """
        return [self._group(name) for name in by]

    def _group(self, name: str) -> NDArray[np.int64]:
        if name == "slide":
            return self.slide
        if name == "patient":
            return np.unique(np.array(self.patients, dtype=object), return_inverse=True)[1].reshape(-1)[self.slide]
        if name == "label":
            if self.targets is None or not self.classes:
                raise ConfigError("balance='label' needs labels that are classes; name a column or 'roi' as labels")
            return self.targets
        raise ConfigError(f"balance: '{name}' is not known{did_you_mean(name, ('label', 'patient', 'slide'))}")


def tile_index(
    dataset: TiledSlides,
    *,
    labels: Labels = None,
    classes: Sequence[Any] | None = None,
    regression: bool | None = None,
    from_slides: bool = False,
    allow_missing: bool = False,
) -> TileIndex:
    """The tiles of a dataset; at least one.

    Args:
        dataset: the dataset.
        labels: a column of the annotations; "roi" for the label of each tile's region (tiles without one are left
            out); a mapping from slide to value; or None. `slideloom_loaders.labels` says which are classes.
        classes: classes in the order of their numbers; tiles of other classes are left out. By default all classes,
            sorted.
        regression: True takes labels as numbers, False as classes, whatever they are.
        from_slides: read tiles from slides instead of TFRecords.
        allow_missing: leave out slides whose stored tiles are missing, cut short, or from a failed run.

    Raises:
        ConfigError: there are no tiles, a slide lacks its tiles, or a slide has no label.
    """
    stored = _served(dataset, from_slides=from_slides, allow_missing=allow_missing)
    opened: list[TileStore] = slide_tiles(dataset, stored) if from_slides else [item.open() for item in stored]
    kept = [(item, store) for item, store in zip(stored, opened, strict=True) if len(store)]
    if not kept:
        reports = ", ".join(str(source.out) for source in dataset.sources)
        raise ConfigError(
            f"none of {len(stored)} slides has a tile of {dataset.label}: regions, QC or filters left none; the "
            f"reports in {reports} say which"
        )
    patients = dataset.patients()
    slides = tuple(item.slide for item, _ in kept)
    places = [_locations(store) for _, store in kept]
    index = TileIndex(
        slides,
        tuple(store for _, store in kept),
        tuple(patients[name] for name in slides),
        np.repeat(np.arange(len(kept)), [len(store) for _, store in kept]),
        np.concatenate([np.arange(len(store)) for _, store in kept]),
        np.concatenate(places),
        None,
    )
    if labels is None:
        return index
    items = [item for item, _ in kept]
    if isinstance(labels, str) and labels == ROI:
        values = np.concatenate([_region_labels(item, where) for item, where in zip(items, places, strict=True)])
        known = {f"region '{label}'": label for label in values.tolist() if label is not None}
    else:
        given = _slide_labels(dataset, slides, labels, as_text=classes is not None or regression is not None)
        values = np.array([given[name] for name in slides], object)[index.slide]
        known = {f"slide {name}": value for name, value in given.items()}
    return _labelled(index, values, meaning_of(known, classes=classes, regression=regression))


def _served(dataset: TiledSlides, *, from_slides: bool, allow_missing: bool) -> list[StoredSlide]:
    """The slides whose tiles can be read."""
    every = dataset.stored()
    if not allow_missing:
        _check_whole(every, from_slides=from_slides)
    stored = [item for item in every if (item.tile_table if from_slides else item.tfrecord) is not None]
    if not stored:
        places = ", ".join(str(source.tfrecords / dataset.label) for source in dataset.sources)
        hint = "run extract_tiles first (with save_tfrecords=False to store no tile)" if from_slides else (
            "run extract_tiles first, or use from_slides=True after a run without TFRecords"
        )  # fmt: skip
        raise ConfigError(f"no tiles of {dataset.label} in {places}; {hint}")
    return stored


def _check_whole(stored: Sequence[StoredSlide], *, from_slides: bool) -> None:
    found = {item.slide: item.table_problem if from_slides else item.problem for item in stored}
    problems = {slide: problem for slide, problem in found.items() if problem}
    if problems:
        slide, problem = next(iter(problems.items()))
        raise ConfigError(
            f"{len(problems)} of {len(stored)} slides lack their stored tiles: {named(list(problems))} ({slide}: "
            f"{problem}); run extract_tiles again, or go on without them with allow_missing=True"
        )


def _locations(store: TileStore) -> NDArray[np.int64]:
    found = store.locations
    return np.full((len(store), 2), _UNKNOWN, np.int64) if found is None else found


def _slide_labels(
    dataset: TiledSlides, slides: Sequence[str], labels: str | Mapping[str, Any], *, as_text: bool
) -> dict[str, Any]:
    """The label of each slide; those of a column as text, or as the floats that it may hold."""
    column = of_column(dataset.labels(labels), as_text=as_text) if isinstance(labels, str) else None
    found = by_slide(labels if column is None else column, slides)
    without = [slide for slide in slides if slide not in found]
    if without:
        remedy = "give a label to each" if column is None else f"use filter_blank='{labels}'"
        raise ConfigError(f"no label for slide {named(without)}; {remedy}, or leave these slides out")
    return found


def _region_labels(item: StoredSlide, places: NDArray[np.int64]) -> NDArray[Any]:
    if item.tile_table is None:
        raise ConfigError(
            f"slide {item.slide}: labels of regions need its tile table in {item.source.out}, which another program's "
            "TFRecords do not have; extract the slide with slideloom, or use a column as labels"
        )
    frame = item.table()
    by_place = dict(zip(zip(frame["loc_x"], frame["loc_y"], strict=True), frame["label"], strict=True))
    column = np.empty(len(places), object)
    column[:] = [by_place.get((x, y)) for x, y in places.tolist()]
    return column


def _labelled(index: TileIndex, values: NDArray[Any], meaning: Meaning) -> TileIndex:
    """The tiles that have a target, with it."""
    keep, targets = meaning.targets(values.tolist())
    return TileIndex(
        index.slides,
        index.stores,
        index.patients,
        index.slide[keep],
        index.number[keep],
        index.locations[keep],
        targets[keep],
        meaning.classes,
    )
