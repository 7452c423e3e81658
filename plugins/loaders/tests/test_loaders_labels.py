"""What labels mean: the same for a column, and for values of Python, NumPy and pandas."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pandas as pd
import pytest
import slideloom as sl
from slideloom_cohort.annotations import read_annotations
from slideloom_loaders.index import tile_index

NAMES = ("one", "two", "three")


def targets_by_slide(dataset: sl.Dataset, labels: Any, **options: Any) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The classes, and the target of each slide that has tiles."""
    index = tile_index(dataset, labels=labels, **options)
    assert index.targets is not None
    found = {index.slides[slide]: target for slide, target in zip(index.slide.tolist(), index.targets, strict=True)}
    assert index.targets.dtype == (np.int64 if index.classes else np.float32)
    return index.classes, found


FORMS: dict[str, Callable[[list[Any]], Any]] = {
    "list": lambda values: dict(zip(NAMES, values, strict=True)),
    "array": lambda values: dict(zip(NAMES, np.array(values), strict=True)),
    "series": lambda values: pd.Series(values, index=NAMES),
    "pandas' own type": lambda values: pd.Series(values, index=NAMES).convert_dtypes(),
    "values of a table": lambda values: dict(zip(NAMES, pd.DataFrame({"x": values}).x.values, strict=True)),
    "category": lambda values: pd.Series(values, index=NAMES, dtype="category"),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    ("values", "classes", "targets"),
    [
        ([0, 1, 0], ("0", "1"), [0, 1, 0]),
        ([10, 2, 10], ("2", "10"), [1, 0, 1]),
        ([True, False, True], ("False", "True"), [1, 0, 1]),
        (["b", "a", "b"], ("a", "b"), [1, 0, 1]),
        ([0.5, 1.5, -2.0], (), [0.5, 1.5, -2.0]),
    ],
)
def test_whole_numbers_text_and_bools_are_classes_and_floats_are_targets(
    dataset: sl.Dataset, form: str, values: list[Any], classes: tuple[str, ...], targets: list[float]
) -> None:
    assert targets_by_slide(dataset, FORMS[form](values)) == (classes, dict(zip(NAMES, targets, strict=True)))


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_floats_of_every_width_are_targets(dataset: sl.Dataset, kind: type[Any]) -> None:
    labels = dict(zip(NAMES, np.array([0.5, 1.0, 2.0], kind), strict=True))

    assert targets_by_slide(dataset, labels) == ((), {"one": 0.5, "two": 1.0, "three": 2.0})


@pytest.mark.parametrize(
    ("classes", "values", "targets"),
    [
        ([0, 1], [0, 1, 0], [0, 1, 0]),
        (["0", "1"], [0, 1, 0], [0, 1, 0]),
        ([1, 0], [0, 1, 0], [1, 0, 1]),
        ([0, 1], [0.0, 1.0, 0.0], [0, 1, 0]),
        (np.array([0, 1]), np.array([0, 1, 0]), [0, 1, 0]),
        ([False, True], [np.True_, np.False_, np.True_], [1, 0, 1]),
        (("b", "a"), ["a", "b", "a"], [1, 0, 1]),
    ],
)
def test_classes_fit_labels_however_both_are_written(
    dataset: sl.Dataset, classes: Any, values: Any, targets: list[int]
) -> None:
    _, found = targets_by_slide(dataset, dict(zip(NAMES, values, strict=True)), classes=classes)

    assert found == dict(zip(NAMES, targets, strict=True))


def test_tiles_of_other_classes_are_left_out(dataset: sl.Dataset) -> None:
    assert targets_by_slide(dataset, {"one": 0, "two": 1, "three": 2}, classes=[2, 0])[1] == {"one": 1, "three": 0}


def test_regression_decides_otherwise(dataset: sl.Dataset) -> None:
    ages = {"one": 40, "two": 41, "three": 39}

    assert targets_by_slide(dataset, ages, regression=True) == ((), ages)
    assert targets_by_slide(dataset, {slide: float(age) for slide, age in ages.items()}, regression=False) == (
        ("39", "40", "41"),
        {"one": 1, "two": 2, "three": 0},
    )


def with_column(dataset: sl.Dataset, folder: Path, values: list[str]) -> sl.Dataset:
    """The dataset with a column `x` in annotations of its own."""
    rows = "".join(f"p;{slide};{value}\n" for slide, value in zip(NAMES, values, strict=True))
    (folder / "labels.csv").write_text("patient;slide;x\n" + rows)
    return attrs.evolve(dataset, annotations=read_annotations(folder / "labels.csv"))


@pytest.mark.parametrize(
    ("values", "options", "classes", "targets"),
    [
        (["40", "9", "40"], {}, ("9", "40"), [1, 0, 1]),
        (["0.5", "1", "2e-1"], {}, (), [0.5, 1.0, np.float32(0.2)]),
        (["0,5", "1", "2"], {}, (), [0.5, 1.0, 2.0]),
        (["40", "9", "40"], {"regression": True}, (), [40.0, 9.0, 40.0]),
        (["0.5", "1", "0.5"], {"regression": False}, ("0.5", "1"), [0, 1, 0]),
        (["G1", "G2", "G1"], {"classes": ["G2", "G1"]}, ("G2", "G1"), [1, 0, 1]),
        (["01", "2", "01"], {}, ("01", "2"), [0, 1, 0]),
    ],
)
def test_a_column_means_what_its_text_says(
    dataset: sl.Dataset, tmp_path: Path, values: list[str], options: dict[str, Any], classes: Any, targets: Any
) -> None:
    changed = with_column(dataset, tmp_path, values)

    assert targets_by_slide(changed, "x", **options) == (classes, dict(zip(NAMES, targets, strict=True)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["0.5", "nan", "NaN"], "no label for slide t"),
        (["0.5", "", "1"], "no label for slide two; use filter_blank='x'"),
        (["0.5", "unknown", "1"], r"several kinds: a float for slide three \(1.0\); text for slide two"),
    ],
)
def test_a_column_of_floats_with_something_else_in_it_is_no_list_of_classes(
    dataset: sl.Dataset, tmp_path: Path, values: list[str], message: str
) -> None:
    with pytest.raises(sl.ConfigError, match=message):
        tile_index(with_column(dataset, tmp_path, values), labels="x")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"labels": {"one": float("nan"), "two": 1.5, "three": 2.5}}, "no label for slide one; give a label to each"),
        ({"labels": {"one": pd.NA, "two": 1, "three": None}}, "no label for slide one, three"),
        ({"labels": pd.Series([1, None, 3], index=NAMES)}, "no label for slide two"),
        ({"labels": pd.Series([1, 2], index=["one", "one"])}, "the Series names slide one more than once"),
        ({"labels": pd.DataFrame({"x": [1]})}, r"labels must be a column.*not DataFrame; .*set_index\('slide'\)"),
        ({"labels": {"one": float("inf"), "two": 1.5, "three": 2.5}}, "label of slide one is no finite number: inf"),
        ({"labels": {"one": "a", "two": 1, "three": 1}}, r"several kinds: text for slide one \('a'\); a whole number"),
        ({"labels": {"one": True, "two": 1, "three": 1}}, "several kinds: a bool for slide one"),
        ({"labels": {"one": [1], "two": 1, "three": 1}}, "label of slide one is of list"),
        ({"labels": {"one": 0, "two": 1, "three": 1}, "classes": [2, 3]}, "among 2, 3 .labels found: 0, 1."),
        ({"labels": {"one": 0, "two": 1, "three": 1}, "classes": [0, "0"]}, "classes: 0 is named more than once"),
        ({"labels": {"one": 0, "two": 1, "three": 1}, "classes": "01"}, "classes must be a list of names, not '01'"),
        ({"labels": "site", "regression": True}, "regression: the label of slide one is no finite number: 'North'"),
        ({"labels": "site", "regression": True, "classes": ["North"]}, "regression=True has no classes"),
    ],
)
def test_labels_that_mean_nothing_are_named(dataset: sl.Dataset, options: dict[str, Any], message: str) -> None:
    with pytest.raises(sl.ConfigError, match=message):
        tile_index(dataset, **options)


def test_a_dataset_whose_slides_have_no_tile_is_an_error(project: sl.Project, tmp_path: Path) -> None:
    other = sl.Project.create(tmp_path / "p", slides=project.sources["main"].slides)
    other.extract_tiles(
        64, 64, jobs=1, report=False, whitespace_fraction=0.0, whitespace_threshold=0, grayspace_fraction=1
    )

    with pytest.raises(sl.ConfigError, match="none of 3 slides has a tile of 64px_64um: regions, QC or filters"):
        tile_index(other.dataset(64, 64), from_slides=True)
    with pytest.raises(sl.ConfigError, match="no tiles of 64px_64um"):
        tile_index(other.dataset(64, 64))
