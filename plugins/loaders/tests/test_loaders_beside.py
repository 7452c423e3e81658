"""Masks and context in loaders: as stored, turned with their tiles, the same everywhere; and a model that learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slideloom as sl
from slideloom_testing import write_demo_rois, write_demo_slide

torch = pytest.importorskip("torch")

PX, UM = 64, 64.0
CLASSES = {"background": 0, "tumor": 1, "stroma": 2}


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> sl.Project:
    """Three demo slides with masks of tumor and stroma, and context of 128 um; regions choose no tiles."""
    folder = tmp_path_factory.mktemp("masked")
    (folder / "slides").mkdir()
    for seed, name in enumerate(("one", "two", "three")):
        truth = write_demo_slide(folder / f"slides/{name}.svs", size=sl.Size(1200, 900), mpp=1.0, seed=seed)
        write_demo_rois(truth, folder / "roi", name)
    made = sl.Project.create(folder / "project", slides=folder / "slides", roi=folder / "roi")
    report = made.extract_tiles(
        PX, UM, tile_mask="roi", mask_classes=["tumor", "stroma"], context_um=[128], roi_method="ignore",
        img_format="png", grayspace_fraction=1, jobs=1, threads=2, report=False,
    )  # fmt: skip
    assert not report.failed
    return made


@pytest.fixture
def dataset(masked: sl.Project) -> sl.Dataset:
    return masked.dataset(PX, UM)


Sample = dict[str, np.ndarray]


def by_place(loader: Any) -> dict[tuple[str, int, int], Sample]:
    """Image (H, W, 3), mask (H, W) and context of each tile."""
    found: dict[tuple[str, int, int], Sample] = {}
    for images, masks, context, info in loader:
        places = zip(info["slide"], info["loc_x"].tolist(), info["loc_y"].tolist(), strict=True)
        for row, place in enumerate(places):
            found[place] = {
                "image": images[row].numpy().transpose(1, 2, 0),
                "mask": masks[row].numpy(),
                "context": context["context_128um"][row].numpy().transpose(1, 2, 0),
            }
    return found


def test_masks_and_context_are_those_of_the_tile(dataset: sl.Dataset, masked: sl.Project) -> None:
    loader = dataset.torch(16, masks=True, context=True, info=True)
    found = by_place(loader)

    assert dict(loader.dataset.mask_classes) == CLASSES
    assert len(found) == dataset.summary().tiles
    assert {value for sample in found.values() for value in np.unique(sample["mask"])} == {0, 1, 2}
    slide = sl.open_slide(dataset.slide_paths()["one"])
    regions = sl.load_regions(masked.sources["main"].roi, slide.info)
    outlines = {label: [each.shape for each in regions.items if each.label == label] for label in ("tumor", "stroma")}
    for (name, x, y), sample in found.items():
        if name != "one":
            continue
        box = sl.Box(x - 32, y - 32, 64, 64)
        expected = np.zeros((PX, PX), np.int64)
        for label, shapes in outlines.items():
            expected[sl.Outlines.of(shapes).mask(extent=box, shape=(PX, PX))] = CLASSES[label]
        assert np.array_equal(sample["mask"], expected)
        assert np.array_equal(sample["image"], slide.read_at(box, sl.Size(PX, PX)))
        around = sl.Box(x - 64, y - 64, 128, 128)
        assert np.array_equal(sample["context"], slide.read_at(around, sl.Size(PX, PX)))
    slide.close()


def as_tile(rgb: np.ndarray) -> list[np.ndarray]:
    """All that flips and quarter turns make of an array."""
    return [np.rot90(each, turns) for each in (rgb, rgb[:, ::-1]) for turns in range(4)]


def test_a_mask_is_mirrored_and_turned_as_its_tile_and_changed_by_nothing_else(dataset: sl.Dataset) -> None:
    options: dict[str, Any] = {"masks": True, "context": True, "info": True, "shuffle": False}
    plain = by_place(dataset.torch(16, **options))
    turned = by_place(dataset.torch(16, augment="flip, rotate", seed=3, **options))
    blurred = by_place(dataset.torch(16, augment="flip, rotate, blur, jpeg, stain", seed=3, **options))

    used = set()
    for place, sample in plain.items():
        versions = {name: as_tile(array) for name, array in sample.items()}
        (way,) = [
            i for i, image in enumerate(versions["image"]) if np.array_equal(image, turned[place]["image"])
        ][:1]  # fmt: skip
        used.add(way)
        for name in ("mask", "context"):
            assert np.array_equal(turned[place][name], versions[name][way]), (place, name)
        assert np.array_equal(blurred[place]["mask"], turned[place]["mask"])
    assert len(used) == 8


@pytest.mark.parametrize("iterable", [False, True])
def test_workers_give_the_same(dataset: sl.Dataset, iterable: bool) -> None:
    options: dict[str, Any] = {"masks": True, "context": True, "info": True, "augment": "xyrn", "seed": 5}
    alone = by_place(dataset.torch(16, **options))
    shared = by_place(dataset.torch(16, num_workers=2, iterable=iterable, **options))

    assert alone.keys() == shared.keys()
    assert all(np.array_equal(alone[place][name], shared[place][name]) for place in alone for name in alone[place])


def test_tiles_read_from_slides_have_the_same_masks_and_context(dataset: sl.Dataset) -> None:
    options: dict[str, Any] = {"masks": True, "context": True, "info": True, "normalizer": "reinhard-fast"}
    stored, read = (by_place(dataset.torch(32, from_slides=flag, **options)) for flag in (False, True))

    assert stored.keys() == read.keys()
    assert all(np.array_equal(stored[place][name], read[place][name]) for place in stored for name in stored[place])


def test_tensorflow_gives_the_same_and_turns_both_alike(dataset: sl.Dataset) -> None:
    pytest.importorskip("tensorflow")
    expected = by_place(dataset.torch(16, masks=True, context=True, info=True))
    options: dict[str, Any] = {"masks": True, "context": True, "info": True, "shuffle": False}
    for augment in (None, "flip, rotate"):
        elements = dataset.tensorflow(16, augment=augment, seed=1, **options)
        assert dict(elements.mask_classes) == CLASSES
        count = 0
        for images, masks, context, info in elements:
            for row, slide in enumerate(info["slide"].numpy()):
                sample = expected[slide.decode(), int(info["loc_x"][row]), int(info["loc_y"][row])]
                parts = {"image": images[row], "mask": masks[row], "context": context["context_128um"][row]}
                ways = as_tile(np.arange(64 * 64).reshape(64, 64)) if augment else [np.arange(64 * 64).reshape(64, 64)]
                assert any(
                    all(
                        np.array_equal(
                            part.numpy().reshape(64 * 64, -1), sample[name].reshape(64 * 64, -1)[way.ravel()]
                        )
                        for name, part in parts.items()
                    )
                    for way in ways
                )
                count += 1
        assert count == len(expected)


def test_what_was_not_stored_is_refused_with_the_way_to_store_it(masked: sl.Project, dataset: sl.Dataset) -> None:
    masked.extract_tiles(PX, 128.0, jobs=1, threads=2, report=False)
    plain = masked.dataset(PX, 128.0)

    with pytest.raises(sl.ConfigError, match="have no masks; extract them again with tile_mask='roi'"):
        plain.torch(4, masks=True)
    with pytest.raises(sl.ConfigError, match="have no context"):
        plain.torch(4, context=True)
    with pytest.raises(sl.ConfigError, match="have no context_99um; they have context_128um"):
        dataset.torch(4, context=["context_99um"])


def test_batches_without_masks_are_as_they_were(dataset: sl.Dataset) -> None:
    (images,) = (next(iter(dataset.torch(4))),)

    assert images.shape == (4, 3, PX, PX)
    assert dataset.torch(4).dataset.mask_classes is None


@pytest.fixture
def tissue(tmp_path: Path) -> sl.Dataset:
    """Tiles of 32 px and 128 um of two demo slides, with masks of all their tissue as somebody drew it."""
    (tmp_path / "slides").mkdir()
    for seed, name in enumerate(("train", "held-out")):
        truth = write_demo_slide(tmp_path / f"slides/{name}.svs", size=sl.Size(1200, 900), mpp=1.0, seed=seed)
        regions = sl.Regions((sl.Region("a", truth.shape("tissue"), "tissue"),))
        (tmp_path / "roi").mkdir(exist_ok=True)
        sl.write_regions_geojson(tmp_path / "roi" / f"{name}.geojson", regions)
    project = sl.Project.create(tmp_path / "project", slides=tmp_path / "slides", roi=tmp_path / "roi")
    project.extract_tiles(
        32, 128.0, tile_mask="roi", mask_classes=["tissue"], roi_method="ignore", grayspace_fraction=1,
        jobs=1, threads=2, report=False,
    )  # fmt: skip
    return project.dataset(32, 128.0)


def test_a_small_network_learns_from_tiles_and_masks(tissue: sl.Dataset) -> None:
    """Trained on one slide, it marks the tissue of another with an IoU above 0.8; to mark everything has less."""
    torch.manual_seed(0)
    layers = [torch.nn.Conv2d(3, 8, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(8, 8, 5, padding=2)]
    network = torch.nn.Sequential(*layers, torch.nn.ReLU(), torch.nn.Conv2d(8, 2, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-2)
    options: dict[str, Any] = {"masks": True, "standardize": True}
    loader = tissue.filter(slides=["train"]).torch(16, augment="flip, rotate", seed=1, **options)
    for _ in range(15):
        for images, masks in loader:
            loss = torch.nn.functional.cross_entropy(network(images), masks)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    both = either = true = total = 0
    with torch.no_grad():
        for images, masks in tissue.filter(slides=["held-out"]).torch(64, shuffle=False, **options):
            found, wanted = network(images).argmax(1) == 1, masks == 1
            both, either = both + int((found & wanted).sum()), either + int((found | wanted).sum())
            true, total = true + int(wanted.sum()), total + wanted.numel()

    assert both / either > 0.8 > true / total, f"IoU {both / either:.3f}, tissue {true / total:.3f}"


def test_the_loader_is_pickled_with_what_it_reads_beside(dataset: sl.Dataset, tmp_path: Path) -> None:
    import pickle

    tiles = dataset.torch(4, masks=True).dataset
    again = pickle.loads(pickle.dumps(tiles))

    assert all(torch.equal(one, other) for one, other in zip(tiles[3], again[3], strict=True))
