"""On the demo slide: trained on some seeds, judged on others; and the whole way on the command line."""

from __future__ import annotations

import argparse
import io
import json
import re
import shlex
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from shapely.geometry import shape as from_geojson
from slideloom import ConfigError, Regions, Slide, SlideError, write_regions_geojson
from slideloom.settings.tables import from_table
from slideloom_segmentation import SegmentModel, SegmentQc, SegmentRoi
from slideloom_segmentation.model_grid import ModelGrid
from slideloom_segmentation.plugin import slideloom_commands

HOW_TO = Path(__file__).parents[3] / "docs" / "how-to" / "segment-tissue.md"


def test_tissue_is_found_on_demo_slides_never_seen(demo, demo_model: Path, true_mask) -> None:
    model = SegmentModel.load(demo_model, device="cpu")
    for seed in (11, 12):
        slide, regions = demo(seed)
        grid = ModelGrid.of(slide.info, model.facts.mpp)
        tissue = true_mask(regions, grid.size, scale=grid.scale_x)

        found = model.class_map(slide) == 1

        assert (found & tissue).sum() / (found | tissue).sum() > 0.9
        assert 0.3 < tissue.mean() < 0.7  # neither everything nor nothing is right


def test_training_on_the_demo_slide_agrees_with_the_patches_held_back(demo_model: Path) -> None:
    params = json.loads((demo_model / "params.json").read_text())

    assert params["training"]["val_iou"] > 0.9


def command(*words: object) -> int:
    """`slideloom segment ...` as the command line runs it."""
    (segment,) = slideloom_commands()
    parser = argparse.ArgumentParser("slideloom segment")
    segment.configure(parser)
    return segment.run(parser.parse_args([str(word) for word in words]))


OPTIONS = ("--width", 4, "--mpp", 16, "--patch-px", 32, "--epochs", 2, "--patches", 16, "--device", "cpu")


def test_the_command_trains_resumes_and_predicts(
    demo_svs: tuple[Slide, Regions], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide, regions = demo_svs
    pytest.importorskip("slideloom_roi", reason="reading a folder of regions needs slideloom-roi")
    rois, model, out = tmp_path / "rois", tmp_path / "model", tmp_path / "out"
    rois.mkdir()
    write_regions_geojson(rois / f"{slide.info.name}.geojson", regions)

    train = ("train", slide.info.path, "--regions", rois, "--out", model, "--labels", "tissue", *OPTIONS)
    assert command(*train) == 0
    assert command(*train, "--resume") == 0
    told = capsys.readouterr()
    assert told.out.splitlines() == [str(model / "model.safetensors")] * 2
    assert "epoch 2/2" in told.err

    assert command("predict", slide.info.path, "--model", model, "--out", out, "--min-area-mm2", 0.05) == 0
    (path,) = out.glob("*.geojson")
    assert capsys.readouterr().out.splitlines() == [str(path)]
    areas = [from_geojson(feature["geometry"]).area for feature in json.loads(path.read_text())["features"]]
    assert all(area * slide.info.mpp.x**2 / 1e6 > 0.025 for area in areas)


class StopsAt(io.StringIO):
    """A terminal at which somebody types Ctrl-C when a word appears."""

    def __init__(self, word: str) -> None:
        super().__init__()
        self._word = word

    def write(self, text: str) -> int:
        if self._word in text:
            raise KeyboardInterrupt
        return super().write(text)


def test_a_stopped_training_tells_how_to_go_on_once_there_is_something_to_go_on_from(
    demo_svs: tuple[Slide, Regions], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, regions = demo_svs
    pytest.importorskip("slideloom_roi", reason="reading a folder of regions needs slideloom-roi")
    main = pytest.importorskip("slideloom_cli.main").main
    (tmp_path / "rois").mkdir()
    write_regions_geojson(tmp_path / "rois" / f"{slide.info.name}.geojson", regions)
    words = ("train", slide.info.path, "--regions", tmp_path / "rois", "--out", tmp_path / "model", *OPTIONS)
    train = ["segment", *map(str, words), "--labels", "tissue"]

    monkeypatch.setattr("sys.stderr", terminal := StopsAt("epoch 1"))
    code = main(train)

    assert code == 130
    assert terminal.getvalue().endswith(
        "slideloom: interrupted; finished epochs are kept, --resume goes on after the last one\n"
    )
    assert main([*train, "--resume"]) == 0


def test_the_command_names_slides_without_regions(demo_svs: tuple[Slide, Regions], tmp_path: Path) -> None:
    slide, _ = demo_svs
    pytest.importorskip("slideloom_roi", reason="reading a folder of regions needs slideloom-roi")
    (tmp_path / "rois").mkdir()

    with pytest.raises(ConfigError, match=f"no region file for {slide.info.path.name}"):
        command("train", slide.info.path, "--regions", tmp_path / "rois", "--out", tmp_path / "model")


def test_every_training_option_is_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        command("train", "--help")

    shown = capsys.readouterr().out
    assert all(
        option in shown for option in ("--arch", "--dice-weight", "--no-augment", "--val-fraction", "--cache-mb")
    )


def test_a_wrong_value_on_the_command_line_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"^--patch-px must be a multiple of 16"):
        command("train", tmp_path / "a.svs", "--regions", tmp_path, "--out", tmp_path / "m", "--patch-px", 100)


def test_a_slide_that_fails_does_not_stop_the_others_and_a_report_says_what_became_of_each(
    raw: object,
    analytic: Callable[..., Path],
    demo_model: Path,
    demo_svs: tuple[Slide, Regions],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good, (broken, bare), out = demo_svs[0].info.path, (tmp_path / "broken.svs", analytic(mpp=None)), tmp_path / "out"
    broken.write_bytes(b"half a slide")

    with pytest.raises(SlideError, match=r"(?s)2 of 3 slides failed; the others are done.*broken.svs") as caught:
        command("predict", broken, bare, good, "--model", demo_model, "--out", out, "--device", "cpu")

    assert "a.json: no microns per pixel recorded; give them with --slide-mpp" in str(caught.value)
    assert capsys.readouterr().out.splitlines() == [str(out / "demo21.geojson")]
    slides = json.loads((out / "segment-report.json").read_text())["slides"]
    assert list(slides) == ["broken", "a", "demo21"]
    assert "--slide-mpp" in slides["a"]["error"]
    features = json.loads((out / "demo21.geojson").read_text())["features"]
    assert slides["demo21"] == {"file": "demo21.geojson", "regions": len(features), "notes": []}


def test_two_slides_of_one_name_are_refused_before_anything_is_written(
    demo_model: Path, demo_svs: tuple[Slide, Regions], tmp_path: Path
) -> None:
    path = demo_svs[0].info.path
    again = tmp_path / path.name
    again.write_bytes(path.read_bytes())

    with pytest.raises(ConfigError, match=r"would both be demo21\.geojson; rename one"):
        command("predict", path, again, "--model", demo_model, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_resolution_of_nothing_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for value in ("0", "-1", "nan"):
        with pytest.raises(SystemExit):
            command("predict", tmp_path / "a.svs", "--model", tmp_path, "--out", tmp_path, "--slide-mpp", value)

    assert capsys.readouterr().err.count("--slide-mpp: must be above 0") == 3


def test_what_the_how_to_tells_people_to_type_is_understood() -> None:
    text = HOW_TO.read_text()
    (segment,) = slideloom_commands()
    parser = argparse.ArgumentParser("slideloom segment")
    segment.configure(parser)
    commands = re.findall(r"^slideloom segment (.+)$", text.replace("\\\n", " "), re.MULTILINE)
    tables = [tomllib.loads(block) for block in re.findall(r"```toml\n(.+?)```", text, re.DOTALL)]

    actions = {parser.parse_args(shlex.split(words)).action for words in commands}
    steps = [(kind, step) for table in tables for kind in ("qc", "roi") for step in table.get(kind, ())]
    mistakes = []
    for kind, step in steps:
        options = {key: value for key, value in step.items() if key not in ("use", "method")}
        mistakes += from_table({"qc": SegmentQc, "roi": SegmentRoi}[kind], options, where=kind)[1]

    assert actions == {"train", "predict"}
    assert {kind for kind, _ in steps} == {"qc", "roi"}
    assert {step["use"] for _, step in steps} == {"segment"}
    assert mistakes == []


def test_the_demo_slide_as_a_file_is_the_one_in_memory(demo_svs: tuple[Slide, Regions], demo) -> None:
    stored, _ = demo_svs
    slide, _ = demo(21)

    gap = np.abs(stored.thumbnail(max_px=200).astype(int) - slide.thumbnail(max_px=200))

    assert gap.mean() < 3
