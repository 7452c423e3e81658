"""Loaders for TensorFlow: the pixels and labels of the PyTorch loader, in `tf.data`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import slideloom as sl
from slideloom_testing.fixtures import DemoFiles

tf = pytest.importorskip("tensorflow")
torch = pytest.importorskip("torch")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory, demo_slide: DemoFiles) -> sl.Dataset:
    """One slide in two copies, so that slides can be told apart; regions are labelled tumor and stroma."""
    folder = tmp_path_factory.mktemp("cohort")
    (folder / "slides").mkdir()
    (folder / "roi").mkdir()
    (region_file,) = [path for path in demo_slide.rois.iterdir() if path.stem == demo_slide.path.stem]
    for name in ("one", "two"):
        (folder / f"slides/{name}.svs").write_bytes(demo_slide.path.read_bytes())
        (folder / f"roi/{name}{region_file.suffix}").write_bytes(region_file.read_bytes())
    (folder / "labels.csv").write_text("patient,slide,site\np1,one,North\np2,two,South\n")
    project = sl.Project.create(
        folder / "project", slides=folder / "slides", roi=folder / "roi", annotations=folder / "labels.csv"
    )
    project.extract_tiles(64, 64, jobs=1, report=False)
    return project.dataset(64, 64)


Place = tuple[str, int, int]


def from_tensorflow(elements: Any) -> dict[Place, tuple[np.ndarray, Any]]:
    found: dict[Place, tuple[np.ndarray, Any]] = {}
    for images, *targets, info in elements:
        names = [name.decode() for name in info["slide"].numpy()]
        places = zip(names, info["loc_x"].numpy().tolist(), info["loc_y"].numpy().tolist(), strict=True)
        labels = targets[0].numpy().tolist() if targets else [None] * len(names)
        for place, image, label in zip(places, images.numpy(), labels, strict=True):
            assert place not in found
            found[place] = (image, label)
    return found


def from_torch(loader: Any) -> dict[Place, tuple[np.ndarray, Any]]:
    found: dict[Place, tuple[np.ndarray, Any]] = {}
    for images, *targets, info in loader:
        places = zip(info["slide"], info["loc_x"].tolist(), info["loc_y"].tolist(), strict=True)
        labels = targets[0].tolist() if targets else [None] * len(images)
        for place, image, label in zip(places, images, labels, strict=True):
            found[place] = (image.permute(1, 2, 0).numpy(), label)
    return found


@pytest.mark.parametrize("labels", [None, "site", "roi"])
def test_pixels_and_labels_are_those_of_the_torch_loader(dataset: sl.Dataset, labels: str | None) -> None:
    elements = dataset.tensorflow(16, labels=labels, info=True)

    here, there = from_tensorflow(elements), from_torch(dataset.torch(16, labels=labels, info=True))

    assert here.keys() == there.keys()
    assert elements.tiles == len(here)
    for place, (image, label) in here.items():
        assert np.array_equal(image, there[place][0])
        assert label == there[place][1]


@pytest.mark.parametrize(("in_graph", "most"), [(False, 0), (True, 1)])
def test_normalized_pixels_are_those_of_the_torch_loader(dataset: sl.Dataset, in_graph: bool, most: int) -> None:
    here = from_tensorflow(dataset.tensorflow(16, normalizer="reinhard-fast", in_graph=in_graph, info=True))
    there = from_torch(dataset.torch(16, normalizer="reinhard-fast", info=True))

    for place, (image, _) in here.items():
        assert np.abs(image.astype(int) - there[place][0]).max() <= most


@pytest.mark.parametrize("in_graph", [False, True])
def test_the_same_seed_gives_the_same_epochs_and_epochs_differ(dataset: sl.Dataset, in_graph: bool) -> None:
    options: dict[str, Any] = {"augment": "xyrjbn", "info": True, "seed": 3, "in_graph": in_graph}
    first, again = dataset.tensorflow(16, **options), dataset.tensorflow(16, **options)

    epochs = [from_tensorflow(first), from_tensorflow(first), from_tensorflow(again)]

    assert list(epochs[0]) == list(epochs[2]) != list(epochs[1])
    assert all(np.array_equal(epochs[0][place][0], epochs[2][place][0]) for place in epochs[0])
    assert any(not np.array_equal(epochs[0][place][0], epochs[1][place][0]) for place in epochs[0])


@pytest.mark.parametrize(
    ("labels", "options"),
    [
        (pd.Series([3, 1], index=["one", "two"]), {}),
        ({"one": 10, "two": 9}, {"regression": True}),
        ({"one": 0.5, "two": 1.5}, {}),
        ({"one": True, "two": False}, {"classes": [True, False]}),
    ],
)
def test_labels_mean_what_they_mean_in_the_torch_loader(dataset: sl.Dataset, labels: Any, options: Any) -> None:
    elements = dataset.tensorflow(16, labels=labels, info=True, **options)
    loader = dataset.torch(16, labels=labels, info=True, **options)

    here, there = from_tensorflow(elements), from_torch(loader)
    assert elements.classes == loader.dataset.classes
    assert {place: label for place, (_, label) in here.items()} == {place: label for place, (_, label) in there.items()}


def test_standardized_images_have_mean_0_and_variance_1_and_names_follow_targets(dataset: sl.Dataset) -> None:
    images, targets, names = next(iter(dataset.tensorflow(16, labels="site", standardize=True, incl_slidenames=True)))

    assert images.dtype == tf.float32
    assert np.abs(images.numpy().mean((1, 2, 3))).max() < 1e-4
    deviations = images.numpy().std((1, 2, 3))
    assert np.abs(deviations[deviations > 0] - 1).max() < 1e-3
    assert [{"one": 0, "two": 1}[name.decode()] for name in names.numpy()] == targets.numpy().tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0"),
        ({"batch_size": 10_000, "drop_last": True}, r"no batch: drop_last leaves none of \d+ tiles"),
        ({"normalizer": "macenko", "normalizer_source": "gone.png"}, r"gone\.png: cannot be read"),
        ({"labels": {"one": float("nan"), "two": 1.0}}, "no label for slide one"),
    ],
)
def test_a_mistake_is_told_when_the_dataset_is_made(dataset: sl.Dataset, options: Any, message: str) -> None:
    with pytest.raises(sl.ConfigError, match=message):
        dataset.tensorflow(**options)


@pytest.mark.parametrize("in_graph", [False, True])
def test_a_normalizer_that_draws_varies_each_tile_and_each_epoch(dataset: sl.Dataset, in_graph: bool) -> None:
    elements = dataset.tensorflow(16, normalizer="stain-augment", info=True, in_graph=in_graph)
    plain = from_tensorflow(dataset.tensorflow(16, info=True))

    epochs = [from_tensorflow(elements), from_tensorflow(elements)]

    changes = [[tile.mean((0, 1)) - plain[place][0].mean((0, 1)) for place, (tile, _) in e.items()] for e in epochs]
    assert min(np.std(changes[0], axis=0)) > 2  # grey levels; one draw for all tiles would move all of them alike
    # A few tiles hold too little tissue to be measured, and come as they are.
    assert np.mean([np.array_equal(epochs[0][place][0], epochs[1][place][0]) for place in plain]) < 0.1


def test_flips_and_turns_keep_every_pixel(dataset: sl.Dataset) -> None:
    plain = from_tensorflow(dataset.tensorflow(16, info=True))
    turned = from_tensorflow(dataset.tensorflow(16, info=True, augment="flip,rotate"))

    for place, (image, _) in turned.items():
        original = plain[place][0]
        every = [np.rot90(original, k)[:, ::way] for k in range(4) for way in (1, -1)]
        assert any(np.array_equal(image, candidate) for candidate in every)
    assert sum(np.array_equal(image, plain[place][0]) for place, (image, _) in turned.items()) < len(plain) / 2


def test_stored_order_is_kept_without_shuffling(dataset: sl.Dataset) -> None:
    places = list(from_tensorflow(dataset.tensorflow(16, shuffle=False, info=True)))

    assert places == list(from_torch(dataset.torch(16, shuffle=False, info=True)))


def test_groups_of_slides_are_drawn_alike(dataset: sl.Dataset) -> None:
    counts: Counter[int] = Counter()
    for _, targets in dataset.tensorflow(16, labels="site", balance="label", seed=2):
        counts.update(targets.numpy().tolist())

    total = sum(counts.values())
    assert total == dataset.summary().tiles
    assert abs(counts[0] - total / 2) < 5 * (total / 4) ** 0.5
    with pytest.raises(sl.ConfigError, match=r"use dataset.torch"):
        dataset.tensorflow(16, labels="roi", balance="label")


def test_a_keras_model_takes_the_dataset_as_it_is(dataset: sl.Dataset, tmp_path: Path) -> None:
    elements = dataset.tensorflow(16, labels="roi", drop_last=True)
    model = tf.keras.Sequential(
        [tf.keras.layers.Rescaling(1 / 255), tf.keras.layers.GlobalAveragePooling2D(), tf.keras.layers.Dense(2)]
    )
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True))

    history = model.fit(elements, epochs=1, verbose=0, shuffle=False)

    assert np.isfinite(history.history["loss"][0])
