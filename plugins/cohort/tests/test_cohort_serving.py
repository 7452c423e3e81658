"""Loaders believe reports: what a report does not vouch for is not served, and what is missing is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom import Project
from slideloom.base.errors import ConfigError
from slideloom.extraction.output_folder import OutputFolder
from slideloom_loaders.index import tile_index

WriteSlide = Callable[..., Path]
LABEL = "60px_75um"


@pytest.fixture
def project(raw: object, analytic: WriteSlide, tmp_path: Path) -> Project:
    """Two slides with TFRecords of 168 tiles each."""
    for name in "ab":
        analytic(name)
    made = Project.create(tmp_path / "proj", slides=tmp_path / "slides/*.json")
    report = made.extract_tiles(60, 75, grayspace_fraction=1.0, jobs=1, threads=1, report=False)
    assert [slide.written for slide in report.slides] == [168, 168]
    return made


def record(project: Project, slide: str = "a") -> Path:
    return project.root / "tfrecords" / LABEL / f"{slide}.tfrecords"


def state(project: Project) -> OutputFolder:
    return OutputFolder(project.root, LABEL)


def without_reports(project: Project) -> None:
    """As another program would have left it."""
    (project.root / "slideloom").rename(project.root / "elsewhere")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), "holds 0 bytes instead of"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "bytes instead of"),
        (Path.unlink, "is gone"),
    ],
    ids=["emptied", "cut", "deleted"],
)
def test_a_slide_whose_tiles_are_gone_is_missing_and_an_error_in_loaders(
    project: Project, damage: Callable[[Path], object], said: str
) -> None:
    damage(record(project))
    dataset = project.dataset(60, 75)

    assert dataset.missing() == ["a"]
    assert said in dataset.damaged()["a"]
    assert [path.stem for path in dataset.tfrecords()] == ["b"]
    with pytest.raises(ConfigError, match=rf"1 of 2 slides lack their stored tiles: a \(a: .*{said}.*allow_missing"):
        tile_index(dataset)
    assert len(tile_index(dataset, allow_missing=True)) == 168
    # Its places are known, so that it can be read from the slide.
    assert len(tile_index(dataset, from_slides=True)) == 336


def test_a_slide_whose_tile_table_is_gone_is_an_error_where_tiles_are_read_from_slides(project: Project) -> None:
    state(project).tile_table("a").unlink()

    with pytest.raises(ConfigError, match=r"a: slideloom/60px_75um/tiles/a\.csv is gone"):
        tile_index(project.dataset(60, 75), from_slides=True)
    assert len(tile_index(project.dataset(60, 75))) == 336


def test_what_a_failed_slide_left_is_not_served(project: Project) -> None:
    path = state(project).report("a")
    table = json.loads(path.read_text())
    path.write_text(json.dumps({**table, "status": "failed", "error": "no room left to write", "outputs": []}))

    dataset = project.dataset(60, 75)

    assert dataset.damaged() == {"a": "its last run failed: no room left to write"}
    assert [path.stem for path in dataset.tfrecords()] == ["b"]


def test_what_an_interrupted_run_named_is_not_served(project: Project) -> None:
    state(project).report("a").unlink()
    path = state(project).publishing("a")
    path.parent.mkdir(exist_ok=True)
    path.write_text("{}")

    assert project.dataset(60, 75).damaged() == {"a": "a run was stopped while it gave the file its name"}


def test_files_of_another_program_are_served(project: Project) -> None:
    without_reports(project)

    assert project.dataset(60, 75).missing() == []
    assert len(tile_index(project.dataset(60, 75))) == 336


def test_files_of_another_program_are_served_beside_ours(project: Project, tmp_path: Path) -> None:
    state(project).report("a").unlink()
    state(project).tile_table("a").unlink()

    assert len(tile_index(project.dataset(60, 75))) == 336


def test_files_of_another_program_lie_there_in_full_if_its_manifest_says_so(project: Project) -> None:
    without_reports(project)
    record(project, "a").write_bytes(b"")
    record(project, "b").unlink()

    assert project.dataset(60, 75).damaged() == {
        "a": "a.tfrecords holds 0 tiles, but manifest.json counts 168",
        "b": "b.tfrecords is gone, but manifest.json counts 168 tiles in it",
    }


def test_a_refused_run_leaves_the_other_programs_files_served(project: Project) -> None:
    before = record(project).read_bytes()
    without_reports(project)

    report = project.extract_tiles(60, 75, grayspace_fraction=1.0, jobs=1, threads=1, report=False)

    assert len(report.failed) == 2
    assert "no slideloom report names it" in report.failed[0].error
    assert record(project).read_bytes() == before
    assert json.loads((record(project).parent / "manifest.json").read_text())["a.tfrecords"] == {"total": 168}
    assert len(tile_index(project.dataset(60, 75))) == 336
