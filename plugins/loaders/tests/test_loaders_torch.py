"""Loaders for PyTorch on TFRecords of demo slides: same tiles everywhere, random access, labels, staining, training."""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slideloom as sl
from slideloom_tfrecord import TFRecordFile

torch = pytest.importorskip("torch")

Place = tuple[str, int, int]


def by_place(loader: Iterable[Any]) -> dict[Place, np.ndarray]:
    """Images (H, W, 3) by slide and location; every tile at most once."""
    found: dict[Place, np.ndarray] = {}
    for batch in loader:
        images, info = batch[0], batch[-1]
        places = zip(info["slide"], info["loc_x"].tolist(), info["loc_y"].tolist(), strict=True)
        for image, place in zip(images, places, strict=True):
            assert place not in found
            found[place] = image.permute(1, 2, 0).numpy()
    return found


def test_a_loader_gives_every_stored_tile_once_as_uint8_planes(dataset: sl.Dataset) -> None:
    loader = dataset.torch(16)

    batches = list(loader)

    assert sum(len(batch) for batch in batches) == len(loader.dataset) == dataset.summary().tiles
    assert len(batches) == len(loader)
    assert batches[0].shape == (16, 3, 64, 64)
    assert batches[0].dtype == torch.uint8


def test_a_loader_gives_what_the_records_hold(dataset: sl.Dataset) -> None:
    import cv2

    found = by_place(dataset.torch(16, info=True))

    for path in dataset.tfrecords():
        for record in TFRecordFile(path):
            bgr = cv2.imdecode(np.frombuffer(record.image_raw, np.uint8), cv2.IMREAD_COLOR)
            assert np.array_equal(found.pop((record.slide, record.loc_x, record.loc_y)), bgr[..., ::-1])
    assert not found


@pytest.mark.parametrize("iterable", [False, True])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_same_seed_gives_the_same_epochs_for_any_number_of_workers(
    dataset: sl.Dataset, iterable: bool, num_workers: int
) -> None:
    options: dict[str, Any] = {"info": True, "augment": "xyrjbn", "seed": 5}
    here = dataset.torch(16, **options)
    there = dataset.torch(16, iterable=iterable, num_workers=num_workers, **options)

    epochs = [(by_place(here), by_place(there)) for _ in range(2)]

    for alone, shared in epochs:
        assert alone.keys() == shared.keys()
        assert all(np.array_equal(alone[place], shared[place]) for place in alone)
    assert any(not np.array_equal(epochs[0][0][place], epochs[1][0][place]) for place in epochs[0][0])


def test_map_style_order_is_the_same_for_any_number_of_workers(dataset: sl.Dataset) -> None:
    orders = [list(by_place(dataset.torch(16, info=True, num_workers=workers))) for workers in (0, 2)]

    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


def test_workers_that_live_on_begin_a_new_epoch(dataset: sl.Dataset) -> None:
    loader = dataset.torch(16, info=True, iterable=True, num_workers=1, persistent_workers=True)

    first, second = list(by_place(loader)), list(by_place(loader))

    assert sorted(first) == sorted(second)
    assert first != second


def test_tiles_are_read_by_number_and_the_dataset_can_be_pickled(dataset: sl.Dataset) -> None:
    loader = dataset.torch(16, labels="site", augment="flip", normalizer="reinhard-fast")
    tiles = loader.dataset

    again = pickle.loads(pickle.dumps(tiles))

    for number in (0, 17, -1):
        (image, target), (same, _) = tiles[number], again[number]
        assert torch.equal(image, same)
        assert target == tiles.index.targets[number]
    with pytest.raises(IndexError, match=f"there are {len(tiles)}"):
        tiles[len(tiles)]


def test_tiles_straight_from_slides_are_those_before_jpeg(dataset: sl.Dataset) -> None:
    stored = by_place(dataset.torch(16, info=True))
    read = by_place(dataset.torch(16, info=True, from_slides=True, num_workers=1))

    assert read.keys() == stored.keys()
    for place, image in read.items():
        with sl.WSI(dataset.slide_paths()[place[0]], 64, 64) as wsi:
            footprint = wsi.geometry.footprint
            column, row = (place[1] - footprint.width // 2) // footprint.width, (place[2] - footprint.height // 2) // 64
            assert np.array_equal(image, wsi[column, row])
        break
    # JPEG at quality 95 changes a pixel by about two.
    errors = [np.abs(read[place].astype(int) - stored[place]).mean() for place in read]
    assert 0 < np.mean(errors) < 4


def test_tiles_straight_from_slides_went_through_the_runs_normalizer(project: sl.Project, tmp_path: Path) -> None:
    other = sl.Project.create(tmp_path / "p", slides=project.sources["main"].slides)
    options: dict[str, Any] = {"jobs": 1, "report": False, "img_format": "png", "max_tiles": 12, "qc": "tissue"}
    other.extract_tiles(64, 64, normalizer="macenko", **options)
    dataset = other.dataset(64, 64)

    stored, read = by_place(dataset.torch(8, info=True)), by_place(dataset.torch(8, info=True, from_slides=True))

    assert len(stored) == 36
    assert stored.keys() == read.keys()
    assert all(np.array_equal(stored[place], read[place]) for place in stored)  # PNG keeps every pixel


def test_a_run_without_records_is_enough_for_tiles_from_slides(project: sl.Project, tmp_path: Path) -> None:
    other = sl.Project.create(tmp_path / "p", slides=project.sources["main"].slides)
    other.extract_tiles(64, 64, save_tfrecords=False, jobs=1, max_tiles=5, report=False)

    assert len(by_place(other.dataset(64, 64).torch(4, info=True, from_slides=True))) == 15
    with pytest.raises(sl.ConfigError, match="use from_slides=True after a run without TFRecords"):
        other.dataset(64, 64).torch(4)


def test_labels_of_regions_are_those_of_the_tile_table(dataset: sl.Dataset) -> None:
    loader = dataset.torch(16, labels="roi", info=True)
    frame = dataset.tile_dataframe()
    wanted = {(row.slide, row.loc_x, row.loc_y): row.label for row in frame.itertuples()}

    assert loader.dataset.classes == ("stroma", "tumor")
    for _, targets, info in loader:
        places = zip(info["slide"], info["loc_x"].tolist(), info["loc_y"].tolist(), strict=True)
        assert [wanted[place] for place in places] == [loader.dataset.classes[target] for target in targets]


def test_balanced_loaders_draw_groups_alike(dataset: sl.Dataset) -> None:
    by_label = dataset.torch(16, labels="site", balance="label", iterable=True, seed=1)
    by_patient = dataset.balance("patient").torch(16, info=True, seed=1)

    labels = Counter(target for _, targets in by_label for target in targets.tolist())
    patients = Counter(slide == "three" for _, info in by_patient for slide in info["slide"])

    for counts in (labels, patients):
        total = sum(counts.values())
        assert total == dataset.summary().tiles
        assert abs(counts[True] - total / 2) < 5 * (total / 4) ** 0.5  # five standard deviations


def test_a_normalizer_in_the_loader_is_the_one_in_the_pipeline(dataset: sl.Dataset) -> None:
    plain, done = (by_place(dataset.torch(16, info=True, normalizer=name)) for name in (None, "macenko"))
    normalizer = sl.StainNormalizer("macenko")

    for place in list(plain)[:10]:
        assert np.array_equal(done[place], normalizer.transform(plain[place]))


@pytest.mark.parametrize(
    "options",
    [
        {"normalizer": "reinhard-fast:around=own", "augment": "n"},
        {"normalizer": "stain-augment"},
        {"normalizer": "reinhard-fast", "augment": "n"},
        {"normalizer": "macenko:augment=v2"},
    ],
    ids=str,
)
def test_staining_is_drawn_anew_in_each_epoch(dataset: sl.Dataset, options: dict[str, Any]) -> None:
    loader = dataset.torch(16, info=True, seed=3, **options)

    first, second, again = by_place(loader), by_place(loader), by_place(dataset.torch(16, info=True, seed=3, **options))

    assert all(np.array_equal(first[place], again[place]) for place in first)
    # A few tiles hold too little tissue to be measured, and come as they are.
    assert np.mean([np.array_equal(first[place], second[place]) for place in first]) < 0.1


def test_staining_varies_around_the_target_or_around_the_tiles_own(dataset: sl.Dataset) -> None:
    plain = by_place(dataset.torch(16, info=True))
    target, own = (
        by_place(dataset.torch(16, info=True, augment="n", normalizer=name))
        for name in ("reinhard-fast", "reinhard-fast:around=own")
    )
    goal = sl.StainNormalizer("reinhard-fast")

    def apart(tiles: dict[Any, Any], others: dict[Any, Any]) -> float:
        """How far the mean colours of tiles lie from each other, in grey levels."""
        return float(np.mean([np.abs(tiles[p].mean((0, 1)) - others[p].mean((0, 1))).mean() for p in plain]))

    normalized = {place: goal.transform(tile) for place, tile in plain.items()}
    assert apart(own, plain) < 12 < apart(own, normalized)
    assert apart(target, normalized) < 12 < apart(target, plain)


def test_a_models_params_give_its_normalizer_back(dataset: sl.Dataset, project: sl.Project, tmp_path: Path) -> None:
    path = dataset.save_params(tmp_path / "model", normalizer="reinhard", outcomes=["site"])
    params = sl.load_params(path)

    first, second = (by_place(dataset.torch(16, info=True, normalizer=n)) for n in ("reinhard", params.normalizer))

    assert all(np.array_equal(first[place], second[place]) for place in first)
    image = next(iter(dataset.torch(1)))[0]
    in_hand = params.stain_normalizer()
    assert in_hand is not None
    assert torch.equal(in_hand.transform(image), sl.StainNormalizer("reinhard").transform(image))
    with pytest.raises(sl.ConfigError, match="tile_um: 64um for the model, 65um here"):
        project.extract_tiles(64, 65, params=path)
    with pytest.raises(sl.ConfigError, match="normalizer: reinhard for the model, macenko here"):
        project.extract_tiles(params=path, normalizer="macenko")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": "sight"}, r"no column 'sight' \(did you mean 'site'"),
        ({"labels": {"one": "x"}}, "no label for slide three, two"),
        ({"augment": "turn"}, "augment: 'turn' is not known"),
        ({"balance": "label"}, "balance='label' needs labels"),
        ({"balance": "hospital"}, "balance: 'hospital' is not known"),
        ({"sampler": 3}, "makes sampler itself"),
        ({"normalizer": "vahadane", "augment": "stain"}, "has no stain augmentation"),
    ],
)
def test_a_wrong_option_is_named(dataset: sl.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sl.ConfigError, match=message):
        dataset.torch(4, **options)


def test_records_of_another_program_are_enough(project: sl.Project, tmp_path: Path) -> None:
    (tmp_path / "labels.csv").write_text("patient,slide,site\np1,one,North\n")
    other = sl.Project.create(tmp_path / "p", annotations=tmp_path / "labels.csv")
    folder = other.root / "tfrecords/64px_64um"
    folder.mkdir(parents=True)
    source = project.dataset(64, 64).tfrecords()[0]
    (folder / "one.tfrecords").write_bytes(source.read_bytes())  # neither index nor tile table
    dataset = other.dataset(64, 64)

    loader = dataset.torch(8, labels="site", info=True)

    wanted = project.dataset(64, 64).filter(slides=["one"])
    assert by_place(loader).keys() == by_place(wanted.torch(8, info=True)).keys()
    assert len(dataset.tile_dataframe()) == len(loader.dataset) == dataset.summary().tiles
    assert loader.dataset.classes == ("North",)
    with pytest.raises(sl.ConfigError, match="labels of regions need its tile table"):
        dataset.torch(8, labels="roi")


def test_stored_tiles_have_a_report(dataset: sl.Dataset, tmp_path: Path) -> None:
    (path,) = dataset.filter(slides=["one"]).tfrecord_report(tmp_path)

    assert path.parent == tmp_path
    assert path.read_bytes().startswith(b"%PDF")


def test_a_damaged_record_is_named(project: sl.Project, tmp_path: Path) -> None:
    other = sl.Project.create(tmp_path / "p")
    (other.root / "tfrecords/64px_64um").mkdir(parents=True)
    source = project.dataset(64, 64).tfrecords()[0]
    content = bytearray(source.read_bytes())
    content[len(content) // 2] ^= 0xFF
    (other.root / "tfrecords/64px_64um/bad.tfrecords").write_bytes(content)

    with pytest.raises(sl.SlideloomError, match=r"bad.tfrecords: record \d+ is damaged"):
        list(other.dataset(64, 64).torch(4))


def test_a_small_classifier_learns_tumor_from_stroma_and_knows_a_slide_it_has_not_seen(dataset: sl.Dataset) -> None:
    train, held = dataset.filter(slides=["one", "two"]), dataset.filter(slides=["three"])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    loader = train.torch(32, labels="roi", augment="flip,rotate,stain", balance="label")
    classes = loader.dataset.classes
    model = torch.nn.Sequential(
        torch.nn.Conv2d(3, 16, 5, stride=2), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.Conv2d(16, 24, 5, stride=2), torch.nn.BatchNorm2d(24), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(24, len(classes)),
    )  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(8):
        for images, targets in loader:
            loss = torch.nn.functional.cross_entropy(model(images / 127.5 - 1), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    model.eval()
    right = total = 0
    with torch.no_grad():
        for images, targets in held.torch(64, labels="roi", classes=classes, shuffle=False):
            right += int((model(images / 127.5 - 1).argmax(1) == targets).sum())
            total += len(targets)

    assert total > 50
    assert right / total > 0.8  # always naming the larger class would give 0.57
