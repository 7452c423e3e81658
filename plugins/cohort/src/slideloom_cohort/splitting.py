"""Divides patients into random groups in which every label has about the same share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from slideloom.base.errors import ConfigError


def patient_labels(patients: Mapping[str, str], labels: Mapping[str, str] | None) -> dict[str, str]:
    """The label of each patient: the most frequent label of their slides, in a tie the alphabetically first.

    Args:
        patients: patient by slide.
        labels: label by slide; None gives all patients the same label.
    """
    counts: dict[str, Counter[str]] = {}
    for slide in sorted(patients):
        label = "" if labels is None else labels[slide]
        counts.setdefault(patients[slide], Counter())[label] += 1
    return {
        patient: min(counted, key=lambda label: (-counted[label], label)) for patient, counted in sorted(counts.items())
    }


def in_drawn_order(patients: Mapping[str, str], *, seed: int) -> list[str]:
    """Patients label by label, in random order within each label.

    Args:
        patients: label by patient.
        seed: seed of the order.
    """
    rng = np.random.default_rng(seed)
    ordered: list[str] = []
    for label in sorted(set(patients.values())):
        group = sorted(patient for patient, own in patients.items() if own == label)
        ordered.extend(group[i] for i in rng.permutation(len(group)).tolist())
    return ordered


def folds(ordered: Sequence[str], k: int) -> list[list[str]]:
    """`k` groups of patients; their sizes, and their numbers of patients with each label, differ by at most one.

    Raises:
        ConfigError: there are fewer patients than groups.
    """
    if not 2 <= k <= len(ordered):
        raise ConfigError(f"k must be from 2 to the number of patients, which is {len(ordered)}, not {k}")
    return [list(ordered[i::k]) for i in range(k)]


def share(ordered: Sequence[str], fraction: float) -> list[str]:
    """About this share of the patients, at least one, spread evenly over the order and so over the labels.

    Raises:
        ConfigError: the fraction is not between 0 and 1, or there is only one patient.
    """
    if not 0 < fraction < 1:
        raise ConfigError(f"the fraction must be above 0 and below 1, not {fraction}")
    if len(ordered) < 2:
        raise ConfigError(f"{len(ordered)} patients cannot be divided; at least two are needed")
    count = min(max(1, round(len(ordered) * fraction)), len(ordered) - 1)
    # Equal steps over the order; the first place is half a step from its start.
    places = ((np.arange(count) + 0.5) * len(ordered) / count).astype(int)
    return [ordered[i] for i in places.tolist()]
