"""What `slideloom studio` opens: slides, folders, projects and pipeline files, each with its folders."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from slideloom import ConfigError, Project
from slideloom_cli.main import main
from slideloom_testing.fixtures import DemoFiles


@pytest.fixture
def slides(demo_slide: DemoFiles, tmp_path: Path) -> Path:
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("a", "b"):
        shutil.copy(demo_slide.path, folder / f"{name}.svs")
    return folder


def names(page: Any) -> list[str]:
    return [row["name"] for row in page.get("api/slides").json()]


def test_a_folder_of_slides(open_studio: Any, slides: Path, tmp_path: Path) -> None:
    page = open_studio(slides, "--roi", tmp_path / "rois", "--out", tmp_path / "out")

    session = page.get("api/session").json()
    assert names(page) == ["a", "b"]
    assert (session["title"], session["roi_folder"]) == ("slides", str(tmp_path / "rois"))
    assert session["out_folder"] == str(tmp_path / "out")


def test_without_words_the_slides_here_with_regions_and_tiles_beside_them(
    open_studio: Any, slides: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(slides)

    session = open_studio(".").get("api/session").json()

    assert (session["roi_folder"], session["out_folder"]) == (str(slides / "roi"), str(slides / "tiles"))


def test_a_pipeline_file_is_taken_as_it_is(open_studio: Any, slides: Path, tmp_path: Path, draw: Any) -> None:
    path = tmp_path / "pipeline.toml"
    path.write_text(
        'slideloom = 1\n[slides]\ninclude = ["slides/*.svs"]\n[tiles]\nsize_px = 64\nsize_um = 100\n'
        '[[roi]]\nuse = "geojson"\nfolder = "marks"\nmethod = "inside"\n[[qc]]\nuse = "otsu"\n'
    )
    page = open_studio(path)

    assert names(page) == ["a", "b"]
    assert page.get("api/session").json()["roi_folder"] == str(tmp_path / "marks")
    table = page.get("api/pipeline").json()
    assert (table["tiles"]["tile_px"], table["roi"]["method"], table["qc"][0]["use"]) == (64, "inside", "otsu")
    assert page.save([draw((0, 0), (500, 0), (0, 500))]).status == 200
    assert (tmp_path / "marks/a.geojson").is_file()
    with pytest.raises(ConfigError, match=r"pipeline\.toml: is the pipeline; change qc, tile_px in the file"):
        open_studio(path, "--qc", "otsu", "--tile-px", "3")


def test_a_project_knows_its_slides_folders_and_patients(
    open_studio: Any, slides: Path, tmp_path: Path, draw: Any
) -> None:
    (tmp_path / "labels.csv").write_text("patient,slide\nP1,a\nP2,b\n")
    (tmp_path / "regions").mkdir()
    project = Project.create(
        tmp_path / "project", slides=str(slides), annotations=tmp_path / "labels.csv", roi=tmp_path / "regions"
    )
    page = open_studio(project.root, "--tile-px", "64", "--tile-um", "100")

    assert names(page) == ["a", "b"]
    assert page.save([draw((0, 0), (500, 0), (0, 500))]).status == 200
    assert (tmp_path / "regions/a.geojson").is_file()
    page.put("api/slides/s2/review", {"status": "excluded", "note": "x"})
    assert (project.root / "review.csv").read_text().splitlines()[1] == "P2,b,excluded,x"
    assert project.dataset(64, 100).tile_dataframe(planned=True)["slide"].value_counts()["a"] < 300
    with pytest.raises(ConfigError, match="is a project, which knows its folders"):
        open_studio(project.root, "--roi", tmp_path / "rois")


def test_sources_of_a_project_keep_their_own_regions(open_studio: Any, slides: Path, tmp_path: Path, draw: Any) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    project = Project.create(tmp_path / "project", slides=str(slides / "a.svs"), roi=tmp_path / "x")
    project.add_source("second", slides=str(slides / "b.svs"), roi=tmp_path / "y")
    page = open_studio(project.root)

    for slide in ("s1", "s2"):
        assert page.save([draw((0, 0), (500, 0), (0, 500))], slide=slide).status == 200
    assert [path.name for path in (tmp_path / "x").iterdir()] == ["a.geojson"]
    assert [path.name for path in (tmp_path / "y").iterdir()] == ["b.geojson"]
    assert str(tmp_path / "y") in page.get("api/pipeline/text?slide=s2").json()["text"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere.svs"], "nowhere.svs"),
        (["{slides}", "--port", "70000"], "must be a number from 0 to 65535"),
        (["{slides}", "--qc", "otsuu"], "did you mean 'otsu'"),
        (["{slides}", "--tile-px", "0"], "--tile-px must be at least 1"),
    ],
)
def test_what_cannot_be_opened_is_told_at_once(
    words: list[str], said: str, slides: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = main(["studio", *(word.format(slides=slides) for word in words), "--no-browser"])
    except SystemExit as ended:
        code = ended.code

    assert code in (1, 2)
    assert said in capsys.readouterr().err


def test_the_command_prints_its_address_and_ends_with_ctrl_c(start_process: Any, slides: Path, tmp_path: Path) -> None:
    import signal
    import subprocess
    import sys
    from urllib.request import urlopen

    command = [sys.executable, "-m", "slideloom", "studio", str(slides), "--no-browser"]
    process = start_process(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    url = process.stdout.readline().strip()
    with urlopen(f"{url}api/session") as answer:
        assert answer.status == 200

    process.send_signal(signal.SIGINT)

    out, err = process.communicate()
    assert (process.returncode, out) == (0, "")
    assert "Traceback" not in err
    assert list(tmp_path.iterdir()) == [slides]  # nothing was written
