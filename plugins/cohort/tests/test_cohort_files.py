"""Projects: plain files, datasets of slides that are there, extraction by the names the field knows."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from slideloom import Dataset, Project
from slideloom.base.errors import ConfigError, OutputError, PluginError
from slideloom.pipeline.tiling import Tiling
from slideloom_cli.main import main
from slideloom_loaders.augmenting import Augmentation
from slideloom_loaders.index import tile_index
from slideloom_loaders.preparing import Preparation

WriteSlide = Callable[..., Path]

ANNOTATIONS = "patient,slide,site\np1,a,North\np1,b,North\np2,c,South\np3,gone,South\n"
EXTRACT = {"save_tfrecords": False, "grayspace_fraction": 1.0, "jobs": 1, "threads": 1, "report": False}


@pytest.fixture
def project(raw: object, analytic: WriteSlide, tmp_path: Path) -> Project:
    for name in "abc":
        analytic(name, mpp=0.5)
    # The analytic reader's slides end in .json, so they are named by a pattern.
    (tmp_path / "labels.csv").write_text(ANNOTATIONS, encoding="utf-8")
    return Project.create(tmp_path / "proj", slides=tmp_path / "slides/*.json", annotations=tmp_path / "labels.csv")


def test_a_project_is_a_file_that_a_person_can_read(project: Project, tmp_path: Path) -> None:
    text = (project.root / "project.toml").read_text()

    assert text == (
        'slideloom = 1\nname = "proj"\n'
        f'annotations = "{tmp_path / "labels.csv"}"\n\n'
        "[sources.main]\n"
        f'slides = ["{tmp_path / "slides/*.json"}"]\n'
        'tiles = "tiles"\ntfrecords = "tfrecords"\n'
    )


def test_a_project_opens_as_it_was_made_also_after_it_was_moved(project: Project, tmp_path: Path) -> None:
    project.add_source("more ones", slides=tmp_path / "slides/a.json")
    moved = project.root.rename(tmp_path / "moved")

    again = Project.open(moved)

    assert list(again.sources) == ["main", "more ones"]
    assert again.sources["main"].tfrecords == moved / "tfrecords"
    assert again.sources["more ones"].tfrecords == moved / "more ones" / "tfrecords"
    assert again.annotations is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('name = "x"', "must say 'slideloom = 1'"),
        ("slideloom = 1\n[source.main]\n", "unknown key 'source'"),
        (
            'slideloom = 1\n[sources.main]\nslide = "x"\n',
            r"\[sources.main\]: unknown key 'slide' \(did you mean 'slides'",
        ),
        ("slideloom = 1\n[sources.main]\nroi = 3\n", "roi must be a path"),
        ("slideloom = ", "is not TOML"),
    ],
)
def test_mistakes_in_the_file_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "project.toml").write_text(text)

    with pytest.raises(ConfigError, match=message):
        Project(tmp_path)


def test_no_project_two_projects_and_no_slides_are_errors(project: Project, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is not a project"):
        Project(tmp_path)
    with pytest.raises(ConfigError, match="is already a project"):
        Project.create(project.root)
    with pytest.raises(ConfigError, match="nothing' does not exist"):
        Project.create(tmp_path / "other", slides=tmp_path / "nothing")
    with pytest.raises(ConfigError, match="cannot be read as a table"):
        Project.create(tmp_path / "other", annotations=tmp_path / "nothing.csv")


def test_a_dataset_knows_slides_patients_labels_and_what_is_missing(project: Project) -> None:
    dataset = project.dataset(60, 75)

    assert dataset.slides() == ["a", "b", "c"]
    assert dataset.patients() == {"a": "p1", "b": "p1", "c": "p2"}
    assert dataset.labels("site") == {"a": "North", "b": "North", "c": "South"}
    assert dataset.missing() == ["gone"]
    assert dataset.filter({"site": "South"}).slides() == ["c"]
    assert dataset.filter(slides=["a"]).slides() == ["a"]
    with pytest.raises(ConfigError, match="no slide is named z"):
        dataset.filter(slides=["a", "z"])


def test_no_patient_is_on_both_sides_of_a_split(project: Project) -> None:
    dataset = project.dataset(60, 75)

    pairs = [dataset.split(0.5, seed=seed) for seed in range(4)] + dataset.k_fold(2)

    for train, held in pairs:
        assert not set(train.patients().values()) & set(held.patients().values())
        assert sorted(train.slides() + held.slides()) == ["a", "b", "c"]


def test_extraction_decides_counts_and_resumes(project: Project) -> None:
    first = project.extract_tiles(60, 75, **EXTRACT)
    again = project.extract_tiles(60, 75, **EXTRACT)

    assert [slide.status for slide in first.slides] == ["done"] * 3
    assert [slide.status for slide in again.slides] == ["skipped"] * 3
    frame = project.dataset(60, 75).tile_dataframe()
    assert frame.groupby("slide").size().to_dict() == {slide.slide: slide.written for slide in first.slides}
    with pytest.raises(OutputError, match=r"stride_div: 1\.0 -> 2\.0"):
        project.extract_tiles(60, 75, stride_div=2, **EXTRACT)


def test_filters_choose_what_is_extracted(project: Project) -> None:
    report = project.extract_tiles(60, 75, filters={"site": "South"}, **EXTRACT)

    assert [slide.slide for slide in report.slides] == ["c"]


def test_sources_are_extracted_one_by_one_and_reported_together(project: Project, tmp_path: Path) -> None:
    more = tmp_path / "more"
    more.mkdir()
    (tmp_path / "slides/c.json").rename(more / "c.json")
    project.add_source("more", slides=more / "*.json")

    report = project.extract_tiles(60, 75, **EXTRACT)

    assert sorted(slide.slide for slide in report.slides) == ["a", "b", "c"]
    assert (project.root / "more/slideloom/60px_75um/slides/c.json").is_file()
    assert sorted(set(project.dataset(60, 75).tile_dataframe()["slide"])) == ["a", "b", "c"]


def test_two_slides_of_one_name_are_an_error(project: Project, tmp_path: Path) -> None:
    project.add_source("again", slides=tmp_path / "slides/a.json")

    with pytest.raises(ConfigError, match=r"another slide has this name: .*a.json; rename one"):
        project.dataset(60, 75).slides()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"qc": "ostu"}, "no qc is named 'ostu'"),
        ({"normalizer_source": "v1"}, "normalizer_source needs a normalizer"),
        ({"roi_method": "inside"}, "roi_method is 'inside', but .* is not set in project.toml"),
        ({"max_tiles": 0}, "max_tiles must be at least 1"),
        ({"jobs": 0}, "jobs must be at least 1"),
        ({"stride_div": float("inf")}, "stride_div must be a finite number, not inf"),
        ({"tile_um": "0x"}, "tile_um must be a number of microns or a magnification such as \"10x\", not '0x'"),
        ({"roi_filter_method": "proportion"}, "roi_filter_method must be center or a share from 0 to 1, not 'prop"),
        ({"artifact_labels": "pen"}, "artifact_labels must be a list of text, not 'pen'"),
        ({"grayspace_fraction": 3}, "grayspace_fraction must be from 0 to 1, not 3"),
        ({"img_format": "gif", "save_tiles": True}, "img_format must be one of 'jpg', 'png', not 'gif'"),
        ({"qc": "tissue:mpp=nan"}, "qc tissue: mpp must be a finite number, not nan"),
        ({"qc": ["tissue:mpp"]}, r"qc: 'tissue:mpp': write options as NAME:option=value"),
        ({"qc": [3]}, r"qc: must be the name of a qc, its settings, or an object .* not 3 \(known: .*tissue"),
        ({"sources": "other"}, r"no source 'other' \(known: main\)"),
        ({"filter_blank": "grade"}, "no column 'grade'"),
    ],
)
def test_a_wrong_argument_is_named(project: Project, arguments: dict[str, object], message: str) -> None:
    with pytest.raises((ConfigError, PluginError), match=message):
        project.extract_tiles(**{"tile_px": 60, "tile_um": 75, **EXTRACT, **arguments})


def test_every_wrong_argument_is_told_at_once(project: Project) -> None:
    with pytest.raises(ConfigError) as caught:
        project.extract_tiles(60, 75, **{**EXTRACT, "jobs": 0, "seed": -1, "filter_threshold": 2, "qc": ["a:b"]})

    named = sorted(line.split(" must")[0] for line in str(caught.value).splitlines())
    assert named == ["filter_threshold", "jobs", "qc: 'a:b': write options as NAME:option=value,option=value", "seed"]


def test_an_argument_that_there_is_not_is_refused(project: Project) -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'batch'"):
        project.extract_tiles(60, 75, batch=3)


def test_excluded_slides_are_left_out(project: Project) -> None:
    report = project.extract_tiles(60, 75, exclude=["b.json", "c*"], **EXTRACT)

    assert [slide.slide for slide in report.slides] == ["a"]


def test_slides_need_a_size_or_the_params_of_a_model(project: Project) -> None:
    with pytest.raises(ConfigError, match=r"^give tile_px and tile_um, or params of a model$"):
        project.extract_tiles(60)


def test_tiles_are_planned_without_a_run(project: Project) -> None:
    planned = project.dataset(60, 75).tile_dataframe(planned=True)
    report = project.extract_tiles(60, 75, **EXTRACT)

    assert len(planned) == sum(slide.planned for slide in report.slides)
    with pytest.raises(ConfigError, match="no tiles of 61px_75um"):
        project.dataset(61, 75).tile_dataframe()


def test_tiles_straight_from_slides_are_those_that_a_sink_got(project: Project) -> None:
    project.extract_tiles(60, 75, sinks=["raw"], stride_div=2, **EXTRACT)
    size = 60 * 60 * 3
    stored = {}
    for name in "abc":
        content = (project.root / f"raw/{name}.raw").read_bytes()
        for start in range(0, len(content), 8 + size):
            number = int.from_bytes(content[start : start + 8], "little")
            stored[name, number] = content[start + 8 : start + 8 + size]

    index = tile_index(project.dataset(60, 75), from_slides=True)
    tiles = Preparation(index, None, Augmentation(), 0).read([(0, i) for i in range(len(index))])

    names = [index.slides[slide] for slide in index.slide]
    read = {(name, int(number)): rgb.tobytes() for name, number, rgb in zip(names, index.number, tiles, strict=True)}
    assert read == stored


def test_a_slide_without_a_label_is_an_error_with_a_remedy(project: Project, tmp_path: Path) -> None:
    project.extract_tiles(60, 75, **EXTRACT)
    (tmp_path / "labels.csv").write_text("patient,slide,site\np1,a,North\np1,b,\n")
    dataset: Dataset = project.dataset(60, 75)

    with pytest.raises(ConfigError, match=r"no label for slide b, c; use filter_blank='site'"):
        tile_index(dataset, labels="site", from_slides=True)
    index = tile_index(project.dataset(60, 75, filter_blank="site"), labels="site", from_slides=True)
    assert index.classes == ("North",)


def test_classes_keep_their_numbers_where_one_is_absent(project: Project) -> None:
    project.extract_tiles(60, 75, **EXTRACT)
    south = project.dataset(60, 75, filters={"site": "South"})

    index = tile_index(south, labels="site", classes=["North", "South"], from_slides=True)

    assert index.targets is not None
    assert set(index.targets.tolist()) == {1}
    with pytest.raises(ConfigError, match="no tile has a label among East"):
        tile_index(south, labels="site", classes=["East"], from_slides=True)


def test_labels_that_are_numbers_stay_numbers(project: Project) -> None:
    project.extract_tiles(60, 75, **EXTRACT)

    index = tile_index(project.dataset(60, 75), labels={"a": 0.5, "b": 1, "c": 2.5}, from_slides=True)

    assert index.classes == ()
    assert index.targets is not None
    assert index.targets.dtype == np.float32
    assert set(index.targets.tolist()) == {0.5, 1.0, 2.5}


def test_a_slide_that_cannot_be_opened_does_not_stop_thumbnails(project: Project, tmp_path: Path) -> None:
    (tmp_path / "slides/b.json").write_text("{}")

    done = project.dataset(60, 75).thumbnails(tmp_path / "thumbs", max_px=64)

    assert [name for name, result in done.items() if isinstance(result, Path)] == ["a", "c"]
    assert (tmp_path / "thumbs/a.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_line_does_the_same(project: Project, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    size = ["--tile-px", "60", "--tile-um", "75"]
    options = ["--no-tfrecords", "--no-report", "--grayspace-fraction", "1", "--jobs", "1", "--json", "--quiet"]

    assert main(["project", "extract", str(project.root), *size, *options, "--filter", "site=North"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [slide["slide"] for slide in report["slides"]] == ["a", "b"]
    assert main(["project", "summary", str(project.root), *size]) == 0
    assert "3 slides of 2 patients" in capsys.readouterr().out
    assert main(["project", "tiles", str(project.root), *size, "--out", str(tmp_path / "tiles.csv")]) == 0
    assert (tmp_path / "tiles.csv").read_text().startswith("slide,loc_x,loc_y,")
    assert main(["project", "thumbnails", str(project.root), "--max-px", "50"]) == 0
    assert len(list((project.root / "thumbnails").glob("*.png"))) == 3
    assert main(["project", "create", str(tmp_path / "new"), "--slides", str(tmp_path / "slides")]) == 1
    assert main(["project", "summary", str(tmp_path / "none"), *size]) == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--tile-um", "0x"], "--tile-um must be a number of microns or a magnification"),
        (["--use-edge-tiles", "--stride-div", "nan"], "--stride-div must be a finite number, not nan"),
        (["--grayspace-fraction", "2"], "--grayspace-fraction must be from 0 to 1, not 2"),
        (["--img-format", "gif"], "--img-format must be one of 'jpg', 'png', not 'gif'"),
        (["--tile-filter", "whitespace:level=3"], "--tile-filter whitespace: unknown option 'level'"),
        (["--roi-method", "inside"], "source main: --roi-method is 'inside', but there is no folder of regions"),
        (["--normalizer-source", "v1"], "--normalizer-source needs a normalizer"),
    ],
)
def test_the_command_line_names_flags_not_arguments(
    project: Project, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["project", "extract", str(project.root), "--tile-px", "60", "--tile-um", "75", *words]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"slideloom: {said}")


def test_a_missing_size_is_told_by_its_flags(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["project", "extract", str(project.root)]) == 1
    assert capsys.readouterr().err == "slideloom: give --tile-px and --tile-um, or --params of a model\n"


def test_both_spellings_of_a_flag_give_the_same_tiles(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--tile-px", "60", "--tile-um", "75", "--no-tfrecords", "--no-report", "--grayspace-fraction", "1"]
    counts = []
    for spelling in (["--edge-tiles"], ["--use-edge-tiles", "--redo"], ["--redo"]):
        assert main(["project", "extract", str(project.root), *words, *spelling, "--jobs", "1", "--json"]) == 0
        report = json.loads(capsys.readouterr().out)
        counts.append(report["slides"][0]["planned"])

    assert counts[0] == counts[1] > counts[2]


def test_planned_tiles_are_those_of_the_datasets_own_tiling(project: Project) -> None:
    """A dataset may be made of any tiling, not only of a size."""
    dataset = project.dataset_of(Tiling(size_px=60, size_um=75, stride_div=2, use_bounds=True, edge_tiles=True))
    report = project.extract_tiles(60, 75, stride_div=2, use_bounds=True, use_edge_tiles=True, **EXTRACT)

    assert len(dataset.tile_dataframe(planned=True)) == sum(slide.planned for slide in report.slides)
