"""Projects whose slides lie in folders, with equal names in some of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import slideloom as sl
from slideloom import ConfigError, Project
from slideloom.extraction.output_folder import OutputFolder
from slideloom_loaders.index import tile_index

WriteSlide = Callable[..., Path]
LABEL = "64px_64um"
NAMES = ("lab1/a", "lab2/case7/a", "other")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three slides of different sizes, two of one name."""
    home = tmp_path_factory.mktemp("slides")
    for name, width in zip(NAMES, (512, 384, 256), strict=True):
        path = home / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(width).integers(0, 256, (256, width, 3), np.uint8)
        assert cv2.imwrite(str(path), pixels)
    return home


def annotated(folder: Path, *rows: str) -> Path:
    path = folder / "labels.csv"
    path.write_text("\n".join(["patient,slide,response", *rows]))
    return path


def made(slides: Path, root: Path, *rows: str) -> Project:
    labels = annotated(root, *rows) if rows else None
    return Project.create(root / "proj", slides=slides, annotations=labels, recursive=True)


def extracted(project: Project) -> sl.RunReport:
    return project.extract_tiles(64, 64, mpp=0.5, grayspace_fraction=1.0, jobs=1, threads=1, report=False)


def test_slides_of_one_name_have_tiles_tables_and_labels_of_their_own(slides: Path, tmp_path: Path) -> None:
    project = made(slides, tmp_path, "p1,lab1/a,yes", "p2,lab2/case7/a,no", "p3,other,yes")

    report = extracted(project)

    written = {slide.slide: slide.written for slide in report.slides}
    assert set(written) == set(NAMES)
    assert len(set(written.values())) == 3
    dataset = project.dataset(64, 64)
    assert dataset.slides() == list(NAMES)
    assert dataset.labels("response") == {"lab1/a": "yes", "lab2/case7/a": "no", "other": "yes"}
    assert dataset.patients()["lab2/case7/a"] == "p2"
    assert dataset.missing() == []
    assert Counter(dataset.tile_dataframe()["slide"]) == written
    index = tile_index(dataset, labels="response")
    assert Counter(index.slides[number] for number in index.slide.tolist()) == written
    assert [path.relative_to(project.root).as_posix() for path in dataset.tfrecords()] == [
        f"tfrecords/{LABEL}/{name}.tfrecords" for name in NAMES
    ]


def test_slides_of_one_name_have_bags_of_features_of_their_own(slides: Path, tmp_path: Path) -> None:
    pytest.importorskip("torch")
    features = pytest.importorskip("slideloom_features")
    project = made(slides, tmp_path, "p1,lab1/a,yes", "p2,lab2/case7/a,no", "p3,other,yes")
    (tmp_path / "model.py").write_text(
        "import torch\n\ndef four():\n    return torch.nn.Sequential(torch.nn.AvgPool2d(64), torch.nn.Flatten())\n"
    )
    sink = features.Features(factory="four", code=tmp_path / "model.py", device="cpu", input_px=64)

    report = project.extract_tiles(
        64, 64, mpp=0.5, grayspace_fraction=1.0, sinks=[sink], jobs=1, threads=1, report=False
    )

    bags = project.dataset(64, 64).bags(by="slide", labels="response")
    assert bags.missing == {}
    assert {bag.slides: (bag.label, len(bag)) for bag in bags} == {
        (slide.slide,): ("no" if "case7" in slide.slide else "yes", slide.written) for slide in report.slides
    }


def test_tiles_read_from_slides_are_those_of_the_slide_in_its_folder(slides: Path, tmp_path: Path) -> None:
    project = made(slides, tmp_path)
    report = extracted(project)

    index = tile_index(project.dataset(64, 64), from_slides=True)

    assert Counter(index.slides[number] for number in index.slide.tolist()) == {
        slide.slide: slide.written for slide in report.slides
    }


def test_an_annotation_without_folders_counts_where_one_slide_alone_has_the_name(slides: Path, tmp_path: Path) -> None:
    (slides_alone := tmp_path / "alone" / "lab1").mkdir(parents=True)
    (slides_alone / "a.png").write_bytes((slides / "lab1" / "a.png").read_bytes())
    project = made(tmp_path / "alone", tmp_path, "p1,a,yes")

    assert project.dataset(64, 64, filters={"response": "yes"}).slides() == ["lab1/a"]


def test_an_annotation_that_may_be_of_several_slides_is_refused_by_line(slides: Path, tmp_path: Path) -> None:
    project = made(slides, tmp_path, "p1,other,yes", "p2,a,no")

    with pytest.raises(ConfigError, match=r"line 3: 'a' may be any of lab1/a, lab2/case7/a; write the slide with its"):
        project.dataset(64, 64)


def test_the_project_file_says_whether_to_look_into_subfolders(slides: Path, tmp_path: Path) -> None:
    assert "recursive = true" in (made(slides, tmp_path).root / "project.toml").read_text()
    assert Project(tmp_path / "proj").sources["main"].recursive
    flat = Project.create(tmp_path / "flat", slides=slides)
    assert "recursive" not in (flat.root / "project.toml").read_text()
    assert flat.dataset(64, 64).slides() == ["other"]


def test_thumbnails_of_slides_of_one_name_are_two_files(slides: Path, tmp_path: Path) -> None:
    done = made(slides, tmp_path).dataset(64, 64).thumbnails(tmp_path / "thumbs", max_px=64)

    assert done == {name: tmp_path / "thumbs" / f"{name}.png" for name in NAMES}
    assert all(path.is_file() for path in done.values() if isinstance(path, Path))


def test_tfrecords_in_folders_without_a_report_are_not_used_and_named(
    slides: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    project = made(slides, tmp_path)
    extracted(project)
    (project.root / "slideloom").rename(tmp_path / "elsewhere")

    stored = project.dataset(64, 64).stored()

    assert [item.slide for item in stored] == ["other"]
    assert "2 TFRecord files in its folders are not used, such as that of lab1/a" in caplog.text


def test_a_slide_in_a_folder_named_as_another_slide_is_refused_where_tiles_are_in_folders(
    slides: Path, tmp_path: Path
) -> None:
    home = tmp_path / "in"
    for name in ("a", "a/b"):
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / f"{name}.png").write_bytes((slides / "other.png").read_bytes())
    project = Project.create(tmp_path / "proj", slides=home, recursive=True)

    stored = extracted(project)
    assert {slide.slide: slide.status for slide in stored.slides} == {"a": "done", "a/b": "done"}

    given = {"mpp": 0.5, "grayspace_fraction": 1.0, "jobs": 1, "threads": 1, "report": False, "save_tiles": True}
    both = Project.create(tmp_path / "both", slides=home, recursive=True).extract_tiles(64, 64, **given)
    assert {slide.slide: slide.status for slide in both.slides} == {"a": "done", "a/b": "failed"}
    assert "its folder has the name of the slide" in both.slides[1].error


def test_no_later_run_writes_into_the_folder_of_another_slides_tiles(slides: Path, tmp_path: Path) -> None:
    table = {
        "slideloom": 1,
        "slides": {"mpp": 0.5},
        "tiles": {"size_px": 64, "size_um": 64},
        "filter": [],
        "sink": [{"use": "images"}],
    }
    pipeline = sl.pipeline_from_table(table, where="test")
    one, two = (sl.NamedSlide(slides / f"{place}.png", name) for place, name in (("other", "a"), ("lab1/a", "a/b")))

    for first, second, said in ((one, two, "which holds the tiles of slide a"), (two, one, "which is of slide a/b")):
        out = tmp_path / first.place.stem
        assert sl.run_pipeline(pipeline, [first], out).slides[0].status == "done"
        before = sorted(out.rglob("*.jpg"))
        (refused,) = sl.run_pipeline(pipeline, [second], out).slides
        assert refused.status == "failed"
        assert said in refused.error
        assert sorted(out.rglob("*.jpg")) == before
        assert sl.run_pipeline(pipeline, [first], out).slides[0].status == "skipped"


def test_a_report_of_slides_in_folders_knows_them_by_their_names(slides: Path, tmp_path: Path) -> None:
    report = extracted(made(slides, tmp_path))
    folder = OutputFolder(Path(report.out), LABEL)

    for slide in report.slides:
        assert folder.report(slide.slide).is_file()
        assert {slide.home_of(output) for output in slide.outputs} == {f"tfrecords/{LABEL}"}


@pytest.mark.parametrize("last", ["third", "gone"])
def test_a_slide_that_entries_of_a_source_name_differently_counts_once(
    slides: Path, tmp_path: Path, last: str, caplog: pytest.LogCaptureFixture
) -> None:
    folders = [tmp_path / name for name in ("first", "second", "third", last)]
    for folder in folders:
        folder.mkdir(exist_ok=True)
    (folders[0] / "a.png").symlink_to(slides / "other.png")
    (folders[1] / "b.png").symlink_to(slides / "other.png")
    (folders[2] / "c.png").hardlink_to(slides / "other.png")
    Project.create(tmp_path / "proj", slides=[folder / "*.png" for folder in folders[:3]])
    file = tmp_path / "proj" / "project.toml"
    before = file.read_text()
    file.write_text(before.replace('third/*.png"', f'third/*.png", "../{last}/*.png"'))
    assert file.read_text() != before

    project = Project(tmp_path / "proj")

    assert project.dataset(64, 64).slides() == ["c"]
    assert [slide.slide for slide in extracted(project).slides] == ["c"]
    assert f"is the same file as {tmp_path / 'third' / 'c.png'}" in caplog.text


def test_a_slide_that_is_in_two_sources_is_told(slides: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for folder in ("a", "b", "c"):
        (tmp_path / folder).mkdir()
    first = tmp_path / "a" / "x.png"
    first.write_bytes((slides / "other.png").read_bytes())
    (tmp_path / "b" / "y.png").hardlink_to(first)
    (tmp_path / "c" / "z.png").write_bytes(first.read_bytes())
    project = Project.create(tmp_path / "proj", slides=tmp_path / "a")
    project.add_source("second", slides=tmp_path / "b")
    project.add_source("third", slides=tmp_path / "c")

    assert project.dataset(64, 64).slides() == ["x", "y", "z"]
    said = [record.getMessage() for record in caplog.records]
    assert f"{tmp_path / 'b' / 'y.png'}: is the same file as {first} of another source, and counts twice" in said[0]
    assert f"{tmp_path / 'c' / 'z.png'}: seems to be a copy of {first}, and counts twice" in said[1]
    assert len(said) == 2
