"""Splits, sampling and augmentation: seeded, without a common patient, balanced as asked."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, strategies as st
from slideloom.base.errors import ConfigError
from slideloom_cohort.splitting import folds, in_drawn_order, patient_labels, share
from slideloom_loaders.augmenting import Augmentation, blurred
from slideloom_loaders.sampling import balanced_weights, epoch_order

PATIENTS = {f"p{i}": "x" if i % 3 else "y" for i in range(30)}  # 20 x, 10 y


def test_a_patient_has_the_label_of_most_of_their_slides() -> None:
    patients = {"a": "p", "b": "p", "c": "p", "d": "q", "e": "q"}
    labels = {"a": "x", "b": "y", "c": "y", "d": "y", "e": "x"}

    assert patient_labels(patients, labels) == {"p": "y", "q": "x"}
    assert patient_labels(patients, None) == {"p": "", "q": ""}


def test_folds_hold_each_patient_once_and_labels_alike() -> None:
    groups = folds(in_drawn_order(PATIENTS, seed=0), 4)

    assert Counter(patient for group in groups for patient in group) == Counter(list(PATIENTS))
    counts = [Counter(PATIENTS[patient] for patient in group) for group in groups]
    assert {count["x"] for count in counts} == {5}
    assert {count["y"] for count in counts} <= {2, 3}


def test_a_share_is_spread_over_the_labels() -> None:
    chosen = share(in_drawn_order(PATIENTS, seed=1), 0.3)

    assert Counter(PATIENTS[patient] for patient in chosen) == {"x": 6, "y": 3}


@given(st.integers(2, 60), st.floats(0.01, 0.99))
def test_a_share_is_never_all_or_nothing_and_has_no_repetition(count: int, fraction: float) -> None:
    patients = [str(i) for i in range(count)]

    chosen = share(patients, fraction)

    assert 1 <= len(chosen) == len(set(chosen)) <= count - 1
    assert abs(len(chosen) - count * fraction) <= 1


def test_another_seed_is_another_order_and_the_same_seed_the_same() -> None:
    first, again, other = (in_drawn_order(PATIENTS, seed=seed) for seed in (1, 1, 2))

    assert first == again != other


@pytest.mark.parametrize("wrong", [0, 1, 31])
def test_a_number_of_folds_that_cannot_be_is_an_error(wrong: int) -> None:
    with pytest.raises(ConfigError, match="from 2 to the number of patients, which is 30"):
        folds(list(PATIENTS), wrong)
    with pytest.raises(ConfigError, match="above 0 and below 1"):
        share(list(PATIENTS), 1.0)


def test_weights_make_labels_alike_and_patients_within_them() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1])
    patients = np.array([0, 1, 1, 1, 1, 2])

    weights = balanced_weights([labels, patients])

    # Half for each label; there are two patients in each, so a quarter for each; shared by their tiles.
    assert weights == pytest.approx([1 / 4, 1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4])


def test_an_epoch_has_each_tile_once_and_depends_on_seed_and_epoch_alone() -> None:
    first, again, next_epoch = (epoch_order(50, seed=3, epoch=epoch, shuffle=True, weights=None) for epoch in (0, 0, 1))

    assert sorted(first.tolist()) == list(range(50))
    assert first.tolist() == again.tolist() != next_epoch.tolist()
    assert epoch_order(5, seed=3, epoch=7, shuffle=False, weights=None).tolist() == [0, 1, 2, 3, 4]


def test_weighted_epochs_draw_groups_alike() -> None:
    labels = np.array([0] * 900 + [1] * 100)

    drawn = labels[epoch_order(1000, seed=0, epoch=0, shuffle=True, weights=balanced_weights([labels]))]

    # 1000 draws with p = 0.5: five standard deviations are 79.
    assert abs(int((drawn == 1).sum()) - 500) < 79


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, Augmentation()),
        ("flip", Augmentation(flip_x=True, flip_y=True)),
        ("flip, rotate", Augmentation(flip_x=True, flip_y=True, rotate=True)),
        ("xr", Augmentation(flip_x=True, rotate=True)),
        ("stain", Augmentation(stain=True)),
        ("xyrjbn", Augmentation(flip_x=True, flip_y=True, rotate=True, blur=True, jpeg=True, stain=True)),
    ],
)
def test_augmentation_is_read_from_words_or_letters(text: str | None, wanted: Augmentation) -> None:
    assert Augmentation.parse(text) == wanted


@pytest.mark.parametrize("text", ["xyrq", "flipp", "rotate,z"])
def test_an_unknown_augmentation_is_an_error(text: str) -> None:
    with pytest.raises(ConfigError, match="augment: '"):
        Augmentation.parse(text)


def test_flips_and_turns_give_the_eight_images_of_a_square_alike() -> None:
    tile = np.arange(4 * 4 * 3, dtype=np.uint8).reshape(4, 4, 3)
    augmentation = Augmentation.parse("flip,rotate")

    seen = Counter(augmentation.apply(tile, seed=0, epoch=0, index=index).tobytes() for index in range(1600))

    turned = [np.rot90(tile, k) for k in range(4)]
    every = {np.ascontiguousarray(image[:, ::way]).tobytes() for image in turned for way in (1, -1)}
    assert set(seen) == every
    assert max(abs(count - 200) for count in seen.values()) < 67  # five standard deviations of 1600 draws, p = 1/8


def test_augmentation_depends_on_seed_epoch_and_tile_alone() -> None:
    tile = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    augmentation = Augmentation.parse("xyrb")

    def images(seed: int, epoch: int) -> list[bytes]:
        return [augmentation.apply(tile, seed=seed, epoch=epoch, index=index).tobytes() for index in range(20)]

    assert images(0, 0) == images(0, 0)
    assert images(0, 0) != images(0, 1)
    assert images(0, 0) != images(1, 0)


def test_blur_spreads_a_point_as_a_gaussian() -> None:
    tile = np.zeros((31, 31, 3), np.uint8)
    tile[15, 15] = 255

    result = blurred(tile, 1.5)[..., 0].astype(float)

    x = np.arange(31) - 15
    bell = np.exp(-0.5 * (x / 1.5) ** 2)
    wanted = 255 * np.outer(bell, bell) / bell.sum() ** 2
    assert np.abs(result - wanted).max() <= 1  # rounding, and the bell cut off at 5 pixels
