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

ROI = "roi"
Labels = str | Mapping[str, Any] | None  # a column, "roi", or a value by slide
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
    classes: Sequence[str] | None = None,
    from_slides: bool = False,
    allow_missing: bool = False,
) -> TileIndex:
    """The tiles of a dataset.

    Args:
        dataset: the dataset.
        labels: a column of the annotations; "roi" for the label of each tile's region (tiles without one are left
            out); a mapping from slide to value; or None. Numbers stay numbers.
        classes: names of classes in the order of their numbers; tiles of other classes are left out. By default all
            classes, sorted.
        from_slides: read tiles from slides instead of TFRecords.
        allow_missing: leave out slides whose stored tiles are missing, cut short, or from a failed run.

    Raises:
        ConfigError: there are no tiles, a slide lacks its tiles, or a slide has no label.
    """
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
    opened: list[TileStore] = slide_tiles(dataset, stored) if from_slides else [item.open() for item in stored]
    kept = [(item, store) for item, store in zip(stored, opened, strict=True) if len(store)]
    patients = dataset.patients()
    slides = tuple(item.slide for item, _ in kept)
    counts = [len(store) for _, store in kept]
    slide = np.repeat(np.arange(len(kept)), counts)
    number = np.concatenate([np.arange(count) for count in counts]) if counts else np.empty(0, np.int64)
    places_of = [_locations(store) for _, store in kept]
    locations = np.concatenate(places_of) if places_of else np.empty((0, 2), np.int64)
    values = _values(dataset, [item for item, _ in kept], places_of, labels)
    index = TileIndex(
        slides,
        tuple(store for _, store in kept),
        tuple(patients[name] for name in slides),
        slide,
        number,
        locations,
        None,
    )
    return index if values is None else _labelled(index, values, classes)


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


def _values(
    dataset: TiledSlides, stored: Sequence[StoredSlide], places: Sequence[NDArray[np.int64]], labels: Labels
) -> NDArray[Any] | None:
    """(N,) labels as objects, None for a tile without a label."""
    if labels is None:
        return None
    if labels == ROI:
        columns = [_region_labels(item, where) for item, where in zip(stored, places, strict=True)]
        return np.concatenate(columns) if columns else np.empty(0, object)
    by_slide = dataset.labels(labels) if isinstance(labels, str) else labels
    without = [item.slide for item in stored if by_slide.get(item.slide) in (None, "")]
    if without:
        remedy = f"use filter_blank='{labels}'" if isinstance(labels, str) else "give a label to each"
        raise ConfigError(f"no label for slide {named(without)}; {remedy}, or leave these slides out")
    values = np.empty(sum(map(len, places)), object)
    values[:] = [by_slide[item.slide] for item, where in zip(stored, places, strict=True) for _ in range(len(where))]
    return values


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


def _labelled(index: TileIndex, values: NDArray[Any], classes: Sequence[str] | None) -> TileIndex:
    present = {value for value in values.tolist() if value is not None}
    if classes is None and present and all(isinstance(value, int | float) for value in present):
        return _with_targets(index, np.ones(len(values), bool), values.astype(np.float32), ())
    names = tuple(sorted(map(str, present))) if classes is None else tuple(classes)
    if not present & set(names) and not {str(value) for value in present} & set(names):
        found = ", ".join(sorted(map(str, present))) or "none"
        raise ConfigError(f"no tile has a label among {', '.join(names) or 'any class'} (labels found: {found})")
    numbers = {name: number for number, name in enumerate(names)}
    codes = np.array([numbers.get(str(value), _UNKNOWN) for value in values.tolist()], np.int64)
    return _with_targets(index, codes >= 0, codes, names)


def _with_targets(
    index: TileIndex, keep: NDArray[np.bool_], targets: NDArray[Any], classes: tuple[str, ...]
) -> TileIndex:
    return TileIndex(
        index.slides,
        index.stores,
        index.patients,
        index.slide[keep],
        index.number[keep],
        index.locations[keep],
        targets[keep],
        classes,
    )
