"""Training and validation slides by Slideflow's strategies; patients are never divided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import slideloom
from attrs import frozen
from slideloom import ConfigError
from slideloom_cohort.splitting import folds, in_drawn_order, patient_labels, share

from slideloom_slideflow.adapting import NotOffered

_INSTEAD = "use 'fixed', 'k-fold' or 'none', or filter by a column of your own"


@frozen
class Split:
    """Names of slides."""

    training: frozenset[str]
    validation: frozenset[str]


def divided(
    dataset: slideloom.Dataset,
    labels: Mapping[str, Any] | str | None,
    *,
    strategy: str,
    fraction: float | None,
    k: int | None,
    number: int | None,
) -> Split:
    """One split.

    Args:
        dataset: whose slides.
        labels: a column, or a label by slide, whose shares are kept alike.
        strategy: "fixed", "k-fold" or "none".
        fraction: share of patients for validation, with "fixed".
        k, number: groups, and which of them, from 1, is for validation, with "k-fold".

    Raises:
        ConfigError: an argument is missing, or there are too few patients.
    """
    slides = frozenset(dataset.slides())
    if strategy == "none":
        return Split(slides, frozenset())
    if strategy == "k-fold":
        if not k or not number or not 1 <= number <= k:
            raise ConfigError("split: 'k-fold' needs val_k_fold and k_fold_iter, from 1 to val_k_fold")
        return list(in_folds(dataset, labels, k))[number - 1]
    if strategy != "fixed":
        raise NotOffered(f"Dataset.split: val_strategy={strategy!r} is not offered: {_INSTEAD}")
    if fraction is None:
        raise ConfigError("split: 'fixed' needs val_fraction")
    return _held_out(dataset, set(share(_ordered(dataset, labels), fraction)))


def in_folds(dataset: slideloom.Dataset, labels: Mapping[str, Any] | str | None, k: int) -> Iterator[Split]:
    """`k` splits; each patient is held out in one of them."""
    for group in folds(_ordered(dataset, labels), k):
        yield _held_out(dataset, set(group))


def _held_out(dataset: slideloom.Dataset, group: set[str]) -> Split:
    patients = dataset.patients()
    held = frozenset(slide for slide, patient in patients.items() if patient in group)
    return Split(frozenset(patients) - held, held)


def _ordered(dataset: slideloom.Dataset, labels: Mapping[str, Any] | str | None) -> list[str]:
    patients = dataset.patients()
    by_slide = dataset.labels(labels) if isinstance(labels, str) else labels
    if by_slide is not None:
        without = sorted(set(patients) - set(by_slide))
        if without:
            raise ConfigError(f"split: no label for {', '.join(without[:5])}")
        by_slide = {slide: str(by_slide[slide]) for slide in patients}
    return in_drawn_order(patient_labels(patients, by_slide), seed=0)
