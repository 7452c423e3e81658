"""Passes over a loader: numbered, of a known length, and gone on with exactly where another loader stopped."""

from __future__ import annotations

import pickle
from itertools import islice
from typing import Any

import numpy as np
import pytest
import slideloom as sl

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create"
)  # more workers than this machine has cores

WAYS = [
    pytest.param({}, id="map"),
    pytest.param({"num_workers": 2}, id="map, 2 workers"),
    pytest.param({"iterable": True}, id="iterable"),
    pytest.param({"iterable": True, "num_workers": 2, "persistent_workers": True}, id="iterable, 2 workers"),
    pytest.param({"iterable": True, "num_workers": 3}, id="iterable, 3 workers"),
    pytest.param({"balance": "slide"}, id="balanced"),
    pytest.param({"rank": 1, "world_size": 2}, id="one of two ranks"),
]


def loader_of(dataset: sl.Dataset, **options: Any) -> Any:
    return dataset.torch(16, info=True, augment="flip, rotate", seed=7, **options)


def told(batches: Any) -> list[tuple[Any, ...]]:
    """Pixels and places of batches."""
    return [
        (images.numpy().tobytes(), tuple(info["slide"]), tuple(info["loc_x"].tolist()), tuple(info["loc_y"].tolist()))
        for images, info in batches
    ]


@pytest.mark.parametrize("options", WAYS)
def test_another_loader_goes_on_with_the_batch_after_the_last_one(dataset: sl.Dataset, options: dict[str, Any]) -> None:
    whole = loader_of(dataset, **options)
    epochs = [told(whole) for _ in range(3)]

    for after in (1, 4, 5):
        stopped = loader_of(dataset, **options)
        told(stopped)
        assert told(islice(stopped, after)) == epochs[1][:after]
        state = pickle.loads(pickle.dumps(stopped.state_dict()))
        resumed = loader_of(dataset, **options)
        resumed.load_state_dict(state)

        assert (state["epoch"], state["batches"]) == (1, after)
        assert told(resumed) == epochs[1][after:]
        assert told(resumed) == epochs[2]


@pytest.mark.parametrize("options", WAYS[:4])
def test_a_state_after_a_whole_epoch_is_the_start_of_the_next(dataset: sl.Dataset, options: dict[str, Any]) -> None:
    whole = loader_of(dataset, **options)
    untouched = whole.state_dict()
    states = [whole.state_dict() for _ in whole]
    first, second = told(loader_of(dataset, **options)), told(whole)

    for state, expected in ((untouched, first), (states[-1], second)):
        again = loader_of(dataset, **options)
        again.load_state_dict(state)
        assert told(again) == expected
    assert (states[-1]["epoch"], states[-1]["batches"]) == (0, len(whole))
    assert (whole.state_dict()["epoch"], whole.state_dict()["batches"]) == (2, 0)


@pytest.mark.parametrize("iterable", [False, True])
def test_a_loader_without_end_goes_on_too(dataset: sl.Dataset, iterable: bool) -> None:
    options: dict[str, Any] = {"infinite": True, "iterable": iterable}
    whole = told(islice(loader_of(dataset, **options), 60))  # more than one epoch
    stopped = loader_of(dataset, **options)
    given = told(islice(stopped, 50))
    resumed = loader_of(dataset, **options)
    resumed.load_state_dict(stopped.state_dict())

    assert given + told(islice(resumed, 10)) == whole
    with pytest.raises(TypeError, match="no length"):
        len(resumed)


@pytest.mark.parametrize("options", WAYS[:4])
def test_a_pass_can_be_told_its_epoch(dataset: sl.Dataset, options: dict[str, Any]) -> None:
    whole = loader_of(dataset, **options)
    epochs = [told(whole) for _ in range(3)]
    loader = loader_of(dataset, **options)

    for epoch in (2, 0):
        loader.set_epoch(epoch)
        assert told(loader) == epochs[epoch]
    assert told(loader) == epochs[1]
    with pytest.raises(sl.ConfigError, match="epoch must be at least 0, not -1"):
        loader.set_epoch(-1)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 8}, "seed was 7, not 8"),
        ({"batch_size": 8}, "batch_size was 16, not 8"),
        ({"rank": 0, "world_size": 2}, "world_size was 1, not 2"),
        ({"iterable": True}, "num_workers was None, not 1"),
    ],
)
def test_a_state_of_another_loader_is_refused(dataset: sl.Dataset, change: dict[str, Any], message: str) -> None:
    loader = loader_of(dataset)
    next(iter(loader))

    with pytest.raises(sl.ConfigError, match=f"state is of another loader: {message}"):
        dataset.torch(**{"batch_size": 16, "info": True, "seed": 7, **change}).load_state_dict(loader.state_dict())


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("num_workers", [0, 1, 2, 3])
@pytest.mark.parametrize("batch_size", [7, 16, 100])
def test_an_iterable_loader_knows_its_length(
    dataset: sl.Dataset, num_workers: int, batch_size: int, drop_last: bool
) -> None:
    loader = dataset.torch(batch_size, iterable=True, num_workers=num_workers, drop_last=drop_last)

    assert len(loader) == sum(1 for _ in loader)


def test_two_passes_at_once_are_two_epochs(dataset: sl.Dataset) -> None:
    loader = loader_of(dataset, iterable=True)
    whole = loader_of(dataset)
    first, second = iter(loader), iter(loader)

    assert told([next(first)])[0] == told(whole)[0]
    assert told([next(second)])[0] == told(whole)[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seed": -1}, "seed must be a whole number of at least 0, not -1"),
        ({"seed": 0.5}, "seed must be a whole number"),
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1, not 0"),
        ({"workers": 2}, "unexpected keyword argument 'workers'"),
        ({"prefetch_factor": 4}, "prefetch_factor"),
        ({"normalizer": "macenko", "normalizer_source": "v9"}, "v9"),
        ({"normalizer": "macenko", "normalizer_source": "gone.png"}, r"gone\.png: cannot be read"),
        ({"normalizer_source": "v1"}, "normalizer_source goes with a normalizer given by name"),
        ({"normalizer": 3}, "normalizer must be a name, settings or a fitted normalizer, not int"),
        ({"augment": ["flip", "trun"]}, "augment: 'trun' is not known"),
    ],
)
def test_a_mistake_is_told_when_the_loader_is_made(dataset: sl.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sl.ConfigError, match=message):
        dataset.torch(**{"batch_size": 4, **options})


def images_of(dataset: sl.Dataset, **options: Any) -> Any:
    return torch.cat(list(dataset.torch(64, shuffle=False, **options)))


@pytest.mark.parametrize(("given", "same"), [(True, "xyrjb"), (["flip", "rotate"], "xyr"), (False, None)])
def test_augmentation_is_asked_for_in_many_ways(dataset: sl.Dataset, given: Any, same: str | None) -> None:
    one = dataset.filter(slides=["one"])

    assert torch.equal(images_of(one, augment=given), images_of(one, augment=same))


def test_standardized_images_are_minus_1_to_1(dataset: sl.Dataset) -> None:
    one = dataset.filter(slides=["one"])
    plain, done = images_of(one), images_of(one, standardize=True)

    assert done.dtype == torch.float32
    assert torch.allclose(done, plain.double().float() / 127.5 - 1, atol=1e-6)
    assert done.min() >= -1
    assert done.max() <= 1


def test_batches_end_with_slide_names_and_then_places(dataset: sl.Dataset) -> None:
    images, targets, names, info = next(iter(dataset.torch(8, labels="site", incl_slidenames=True, info=True)))

    assert len(images) == len(targets) == 8
    assert list(names) == list(info["slide"])
    assert set(names) <= {"one", "two", "three"}


def test_a_normalizers_source_is_its_target(dataset: sl.Dataset) -> None:
    one = dataset.filter(slides=["one"])
    by_source, by_settings = (
        images_of(one, normalizer="reinhard-fast", normalizer_source="v1"),
        images_of(one, normalizer="reinhard-fast:target=v1"),
    )

    assert torch.equal(by_source, by_settings)
    assert not torch.equal(by_source, images_of(one, normalizer="reinhard-fast"))


def test_a_fitted_normalizer_is_taken_as_it_is(dataset: sl.Dataset) -> None:
    one = dataset.filter(slides=["one"])
    fitted = sl.StainNormalizer("reinhard-fast").fit("v1")

    assert torch.equal(images_of(one, normalizer=fitted), images_of(one, normalizer="reinhard-fast:target=v1"))
    own = fitted.fit(images_of(one)[:20].permute(0, 2, 3, 1).numpy())
    image = images_of(one, normalizer=own)[0]
    assert torch.equal(image, own.transform(images_of(one)[0]))


def test_weights_that_are_missing_are_told_when_the_loader_is_made(dataset: sl.Dataset) -> None:
    pytest.importorskip("slideloom_cyclegan")

    with pytest.raises(sl.ConfigError, match="cyclegan: no weights given"):
        dataset.torch(normalizer="cyclegan", num_workers=1)
    with pytest.raises(sl.ConfigError, match=r"gone\.pth: no such file"):
        dataset.torch(normalizer="cyclegan:direction=he2mt,weights=gone.pth")


def test_mirrored_and_turned_tiles_are_the_stored_ones_in_one_copy(dataset: sl.Dataset) -> None:
    plain = dataset.torch(16, shuffle=False).dataset
    turned = dataset.torch(16, shuffle=False, augment="flip, rotate").dataset

    seen = set()
    for number in range(60):
        image, original = turned[number].numpy(), plain[number].numpy()
        assert image.flags.c_contiguous
        ways = [np.rot90(original, k, (1, 2))[:, :, ::way] for k in range(4) for way in (1, -1)]
        fitting = [way for way, candidate in enumerate(ways) if np.array_equal(image, candidate)]
        assert fitting
        seen |= set(fitting)
    assert len(seen) == 8
    assert turned._preparation.read([(0, 1)])[0].base is not None  # a view: nothing was copied before
