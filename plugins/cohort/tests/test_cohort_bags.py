"""Features as bags: whose they are, which label they have, and what is left out, with the reason."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from slideloom import Bags, ConfigError, Dataset, Project, SlideloomError

pytest.importorskip("torch")
Features = pytest.importorskip("slideloom_features").Features

WriteSlide = Callable[..., Path]
LABEL = "60px_75um"

MODEL = """
import torch


class Means(torch.nn.Module):
    def forward(self, pixels):
        return pixels.mean(dim=(2, 3))


def means():
    return Means()


def four():
    torch.manual_seed(4)
    return torch.nn.Sequential(Means(), torch.nn.Linear(3, 4))
"""


@pytest.fixture
def models(tmp_path: Path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODEL, encoding="utf-8")
    return path


@pytest.fixture
def project(raw: object, analytic: WriteSlide, models: Path, tmp_path: Path) -> Project:
    """Slides a, b and c of two patients with features of 168 tiles each; d is annotated and not there."""
    for name in "abc":
        analytic(name)
    table = "patient,slide,grade\nP1,a,high\nP2,b,low\nP1,c,high\nP3,d,low\n"
    (tmp_path / "labels.csv").write_text(table, encoding="utf-8")
    made = Project.create(tmp_path / "proj", slides=tmp_path / "slides/*.json", annotations=tmp_path / "labels.csv")
    extract(made, Features(factory="means", code=models, device="cpu"))
    return made


def extract(project: Project, sink: Features) -> None:
    report = project.extract_tiles(
        60, 75, grayspace_fraction=1.0, sinks=[sink], save_tfrecords=False, jobs=1, threads=1, report=False
    )
    assert [slide.written for slide in report.slides] == [168, 168, 168]


def dataset(project: Project) -> Dataset:
    return project.dataset(60, 75)


def home(project: Project, encoder: str = "means") -> Path:
    return project.root / "features" / LABEL / f"features_{encoder}"


def columns(bags: Bags) -> list[tuple[Any, ...]]:
    return [(bag.name, bag.patient, bag.label, bag.slides, len(bag)) for bag in bags]


def test_slides_of_a_patient_are_one_bag_with_the_patients_label(project: Project) -> None:
    bags = dataset(project).bags(labels="grade")

    assert columns(bags) == [("P1", "P1", "high", ("a", "c"), 336), ("P2", "P2", "low", ("b",), 168)]
    assert (bags.classes, bags.width) == (("high", "low"), 3)
    assert bags.missing == {"d": "it has no file of features"}


def test_a_bag_by_slide_knows_its_patient(project: Project) -> None:
    bags = dataset(project).bags(by="slide")

    assert columns(bags) == [
        ("a", "P1", None, ("a",), 168),
        ("b", "P2", None, ("b",), 168),
        ("c", "P1", None, ("c",), 168),
    ]


def test_a_bag_reads_the_rows_of_its_files_one_slide_after_the_other(project: Project) -> None:
    bag = dataset(project).bags()[0]

    tiles = bag.read()

    with h5py.File(home(project) / "a.h5") as a, h5py.File(home(project) / "c.h5") as c:
        assert np.array_equal(tiles.features, np.concatenate([a["features"], c["features"]]))
        assert np.array_equal(tiles.coords, np.concatenate([a["coords"], c["coords"]]))
    assert tiles.slide.tolist() == [0] * 168 + [1] * 168
    assert (tiles.features.dtype, tiles.coords.dtype, len(tiles)) == (np.float32, np.int64, 336)


def test_a_part_is_drawn_by_its_seed_and_never_a_tile_twice(project: Project) -> None:
    bag = dataset(project).bags()[0]
    whole = bag.read()
    row_of = {
        (number, *place): row
        for row, (number, place) in enumerate(zip(whole.slide.tolist(), whole.coords.tolist(), strict=True))
    }

    part, same, other = bag.read(50, seed=1), bag.read(50, seed=1), bag.read(50, seed=2)

    rows = [row_of[number, *place] for number, place in zip(part.slide.tolist(), part.coords.tolist(), strict=True)]
    assert len(set(rows)) == 50
    assert np.array_equal(part.features, whole.features[rows])
    assert np.array_equal(part.coords, same.coords)
    assert not np.array_equal(part.coords, other.coords)
    assert len(bag.read(1000)) == 336


def test_what_was_filtered_out_has_no_bag_and_is_not_missing(project: Project) -> None:
    bags = dataset(project).filter({"grade": "high"}).bags(labels="grade")

    assert [bag.name for bag in bags] == ["P1"]
    assert bags.missing == {}


def test_a_slide_whose_features_were_cut_short_is_left_out_and_named(
    project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    path = home(project) / "b.h5"
    path.write_bytes(path.read_bytes()[:-1])

    with caplog.at_level(logging.WARNING):
        bags = dataset(project).bags()

    assert [bag.name for bag in bags] == ["P1"]
    assert "bytes instead of" in bags.missing["b"]
    assert "2 slides without features are left out: b, d" in caplog.text


def test_a_file_that_another_program_damaged_is_left_out_with_its_name(project: Project) -> None:
    (project.root / "slideloom").rename(project.root / "elsewhere")  # no report tells of it
    (home(project) / "b.h5").write_bytes(b"not HDF5")
    with h5py.File(home(project) / "c.h5", "a") as file:
        del file["coords"]

    missing = dataset(project).bags().missing

    assert "b.h5: its features cannot be read" in missing["b"]
    assert "c.h5: its features cannot be read" in missing["c"]


def test_slides_without_a_label_are_left_out_and_named(project: Project) -> None:
    bags = dataset(project).bags(labels={"a": 1, "c": 1, "b": None})

    assert columns(bags) == [("P1", "P1", 1, ("a", "c"), 336)]
    assert bags.unlabelled == ("b",)


def test_a_patient_whose_slides_differ_in_their_label_is_refused(project: Project) -> None:
    labels = {"a": "yes", "b": "no", "c": "no"}

    with pytest.raises(ConfigError, match=r"slides of P1 have different labels: a yes, c no; .*by='slide'"):
        dataset(project).bags(labels=labels)
    assert [bag.label for bag in dataset(project).bags(labels=labels, by="slide")] == ["yes", "no", "no"]


def test_features_of_several_models_are_told_apart_by_name(project: Project, models: Path) -> None:
    other = Project.create(project.root.parent / "other", slides=project.root.parent / "slides/*.json")
    sinks = [Features(factory=name, code=models, device="cpu") for name in ("means", "four")]
    other.extract_tiles(
        60, 75, grayspace_fraction=1.0, sinks=sinks, save_tfrecords=False, jobs=1, threads=1, report=False
    )

    with pytest.raises(ConfigError, match=r"features of several models in .*: four, means; name one as encoder"):
        dataset(other).bags()
    with pytest.raises(ConfigError, match=r"no features of uni in .*; there are those of four, means"):
        dataset(other).bags("uni")
    assert (dataset(other).bags("four").width, dataset(other).bags("means").width) == (4, 3)


def test_features_of_other_weights_are_never_mixed(project: Project) -> None:
    (project.root / "slideloom").rename(project.root / "elsewhere")
    with h5py.File(home(project) / "b.h5", "a") as file:
        file["features"].attrs["weights_sha256"] = "0" * 64

    with pytest.raises(ConfigError, match=r"different models or transforms .*b\.h5 \(3, 000000000000\).*the 1 slides"):
        dataset(project).bags()


@pytest.mark.parametrize("inner", ["", "h5_files"])
def test_a_folder_of_another_program_needs_no_slides_and_no_reports(
    project: Project, tmp_path: Path, inner: str
) -> None:
    folder = tmp_path / "features_of_trident"
    (folder / inner).mkdir(parents=True)
    for name, count in (("a", 5), ("d", 3)):
        with h5py.File(folder / inner / f"{name}.h5", "w") as file:
            file["features"] = np.full((count, 2), count, np.float16)
            file["coords"] = np.zeros((count, 2), np.int32)

    bags = dataset(project).bags(folder=folder, labels="grade")

    assert columns(bags) == [("P1", "P1", "high", ("a",), 5), ("P3", "P3", "low", ("d",), 3)]
    assert bags[1].read().features.dtype == np.float32
    assert set(bags.missing) == {"b", "c"}


def test_where_there_are_no_features_it_is_said_what_makes_them(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no features of 30px_75um in .*; extract with the sink features"):
        project.dataset(30, 75).bags()
    with pytest.raises(ConfigError, match="there is no such folder of features"):
        dataset(project).bags(folder=tmp_path / "gone")
    with pytest.raises(ConfigError, match="no bag can be made of 3 slides: 3 have no label"):
        dataset(project).filter(slides=["a", "b", "c"]).bags(labels={"z": 1})


def test_a_file_that_goes_away_before_it_is_read_is_named(project: Project) -> None:
    bag = dataset(project).bags()[1]
    (home(project) / "b.h5").unlink()

    with pytest.raises(SlideloomError, match=r"b\.h5: its features cannot be read"):
        bag.read()
