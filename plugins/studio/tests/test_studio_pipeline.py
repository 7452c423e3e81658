"""The pipeline on screen: forms, strict changes, and texts that do just this."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs
import pytest
from slideloom import OutputFolder, Pipeline, QcUse, load_pipeline
from slideloom.pipeline.pipeline import RoiUse, RunOptions, Slides
from slideloom.pipeline.tile_masks import TileMasks
from slideloom.pipeline.tiling import Context, Tiling
from slideloom.plugins.discovery import registry
from slideloom.plugins.shorthand import step_settings
from slideloom_cli.main import main
from slideloom_studio.calls import Refused
from slideloom_studio.pipeline_texts import PipelineText
from slideloom_studio.pipelines import PipelineOnScreen, read_back, shown
from slideloom_testing.fixtures import DemoFiles


def qc(text: str, **rules: Any) -> QcUse:
    return QcUse(step=step_settings("qc", text), **rules)


def rich(folder: Path) -> Pipeline:
    """A pipeline with something in every part."""
    return Pipeline(
        tiles=Tiling(size_px=100, magnification="10x", stride_div=2, edge_tiles=True, enable_downsample=False, seed=3,
                     context=(Context(size_um=604.5, size_px=256), Context(size_um=1208))),
        slides=Slides(include=(str(folder / "a, b.svs"),), mpp=1.0, avoid_readers=("vips",)),
        roi=(RoiUse(source=step_settings("roi", "roi-folder", {"folder": str(folder)}), method="outside",
                    artifacts=("pen, red", "f'old")),),
        qc=(qc("otsu", filter_threshold=0.25), qc("tissue:min_tissue_um2=1e4"), qc("otsu")),
        filters=(),
        normalizer=step_settings("normalizer", "macenko:target=v2"),
        sinks=(step_settings("sink", "images:format=png"), step_settings("sink", "tfrecord")),
        placement=step_settings("placement", "cells-csv", {"folder": str(folder), "unit": "px"}),
        mask=TileMasks(of="roi", classes=("tumour", "stroma, loose"), others="ignore"),
        run=RunOptions(jobs=1, save_masks=True),
    )  # fmt: skip


def test_the_page_gets_what_the_command_line_says(open_studio: Any, demo_slide: DemoFiles) -> None:
    words = ["--tile-px", "200", "--tile-um", "10x", "--qc", "otsu:filter_threshold=0.3", "--filter", "none"]

    table = open_studio(demo_slide.path, *words).get("api/pipeline").json()

    assert (table["tiles"]["tile_px"], table["tiles"]["tile_um"], table["tiles"]["stride_div"]) == (200, "10x", 1.0)
    assert table["qc"] == [{"use": "otsu", "options": {"within_regions": True, "filter_threshold": 0.3}}]
    assert table["filters"] == []
    assert table["normalizer"] is None
    assert table["roi"]["method"] == "auto"
    assert table["revision"] == 1


def test_the_rich_pipeline_leaves_no_part_out(tmp_path: Path) -> None:
    plain = Pipeline(tiles=Tiling(size_px=100, size_um=100))
    parts = {part.name for part in attrs.fields(Pipeline)} - {"front", "filters"}  # no filter is not the default

    assert {name for name in parts if getattr(rich(tmp_path), name) == getattr(plain, name)} == set()


def test_a_pipeline_read_back_from_the_page_is_the_same(tmp_path: Path) -> None:
    pipeline = rich(tmp_path)

    again = read_back(json.loads(json.dumps(shown(pipeline))), pipeline)

    assert again == pipeline
    assert again.digest() == pipeline.digest()


def test_what_the_page_changes_is_changed_and_the_rest_stays(tmp_path: Path) -> None:
    screen = PipelineOnScreen(rich(tmp_path))
    table = screen.table()
    table["tiles"]["tile_um"] = 300
    table["roi"]["method"] = "inside"
    table["qc"][0]["options"]["filter_threshold"] = 0.5
    table["qc"].append({"use": "gaussian-v2"})
    table["normalizer"] = None

    changed = screen.change(table)

    _, pipeline = screen.now
    before = rich(tmp_path)
    assert changed["revision"] == 2
    assert (pipeline.tiles.size_um, pipeline.tiles.magnification) == (300.0, None)
    assert pipeline.roi == (attrs.evolve(before.roi[0], method="inside"),)
    assert pipeline.qc == (qc("otsu", filter_threshold=0.5), *before.qc[1:], qc("gaussian-v2"))
    assert pipeline.normalizer is None
    assert (pipeline.sinks, pipeline.run, pipeline.slides) == (before.sinks, before.run, before.slides)


def test_the_revision_counts_changes_only(tmp_path: Path) -> None:
    screen = PipelineOnScreen(rich(tmp_path))

    assert screen.change(screen.table())["revision"] == 1
    assert screen.change({"filters": [{"use": "grayspace"}]})["revision"] == 2
    assert screen.change({"filters": [{"use": "grayspace", "options": {"fraction": None}}]})["revision"] == 2


def test_all_mistakes_are_told_at_once_with_their_places(open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path)

    answer = page.put("api/pipeline", {
        "tiles": {"tile_px": 0, "tile_um": "large", "colour": 1},
        "roi": {"method": "maybe"},
        "qc": [{"use": "otsuu"}, {"use": "gaussian-v2", "options": {"sigma": "a", "filter_threshold": 3}}],
        "filters": [{"use": "grayspace", "options": {"fractoin": 1}}],
        "normalizer": {"use": 7},
        "sinks": [],
    })  # fmt: skip

    assert answer.status == 422
    problems = {(each["where"], each["text"].split(" (")[0]) for each in answer.json()["problems"]}
    assert problems >= {
        ("tiles", "tile_px must be at least 1, not 0"),
        ("tiles", "unknown option 'colour'"),
        ("tiles", "tile_um must be a number of microns or a magnification such as \"10x\", not 'large'"),
        ("roi roi-folder", "method must be one of 'auto', 'inside', 'outside', 'ignore', not 'maybe'"),
        ("qc", "no qc is named 'otsuu'"),
        ("qc gaussian-v2", "sigma must be a number, not 'a'"),
        ("filter grayspace", "unknown option 'fractoin'"),
        ("sinks", "unknown part"),
    }
    assert page.get("api/pipeline").json()["revision"] == 1


@pytest.mark.parametrize(
    "table",
    [{"tiles": 7}, {"qc": {}}, {"qc": ["otsu"]}, {"qc": [{"use": "otsu", "options": []}]}, {"normalizer": "macenko"},
     {"roi": []}, {"tiles": {"tile_px": True}}, {"tiles": {"tile_px": 1e400}}, {"filters": None}],
)  # fmt: skip
def test_what_is_no_pipeline_is_told(table: Any, tmp_path: Path) -> None:
    with pytest.raises(Refused) as told:
        PipelineOnScreen(rich(tmp_path)).change(table)

    assert told.value.status == 422
    assert told.value.body["problems"]


def test_what_a_step_lacks_is_told_before_it_runs(tmp_path: Path) -> None:
    screen = PipelineOnScreen(rich(tmp_path))

    with pytest.raises(Refused, match=r"qc saved-mask: .*nowhere"):
        screen.change({"qc": [{"use": "saved-mask", "options": {"folder": str(tmp_path / "nowhere"), "of": "otsu"}}]})


def test_where_others_reach_the_studio_files_are_named_only_at_its_start(tmp_path: Path) -> None:
    (tmp_path / "mine.png").write_bytes(b"")
    before = attrs.evolve(rich(tmp_path), normalizer=step_settings("normalizer", "macenko"))
    screen = PipelineOnScreen(before, keeps_files=True)

    with pytest.raises(Refused, match="files are named only where it is started"):
        screen.change({"normalizer": {"use": "macenko", "options": {"target": str(tmp_path / "mine.png")}}})
    assert screen.change({"normalizer": {"use": "macenko", "options": {"target": "v1"}}})["revision"] == 2


def test_a_form_says_what_the_settings_class_says(shared_page: Any) -> None:
    forms = {(form["kind"], form["name"]): form for form in shared_page.get("api/steps").json()}

    assert set(forms) == {(kind, name) for kind in ("qc", "filter", "normalizer") for name in registry().names(kind)}
    gaussian = {option["name"]: option for option in forms["qc", "gaussian-v2"]["options"]}
    sigma = gaussian["sigma"]
    assert (sigma["kind"], sigma["default"], sigma["minimum"], sigma["maximum"]) == ("float", 3.0, 0.1, 50.0)
    assert (gaussian["mpp"]["optional"], gaussian["mpp"]["unit"]) == (True, "um/px")
    assert gaussian["filter_threshold"]["default"] == 0.6
    macenko = {option["name"]: option for option in forms["normalizer", "macenko"]["options"]}
    assert macenko["context"]["choices"] == ["tile", "slide"]
    assert (macenko["target"]["kind"], macenko["target"]["choices"]) == ("path", ["v1", "v2", "v3"])
    assert {option["kind"] for form in forms.values() for option in form["options"]} <= {
        "float", "int", "bool", "text", "choice", "path", "list",
    }  # fmt: skip
    assert all(option["help"] for form in forms.values() for option in form["options"])


def test_the_forms_of_tiles_and_regions_hold_every_option(shared_page: Any) -> None:
    forms = shared_page.get("api/size").json()
    table = shared_page.get("api/pipeline").json()

    for name in ("tiles", "roi"):
        options = {option["name"]: option for option in forms[name]}
        assert set(options) == set(table[name])
        assert all(option["help"] for option in options.values())
    tiles = {option["name"]: option for option in forms["tiles"]}
    assert (tiles["tile_um"]["kind"], tiles["tile_um"]["required"]) == ("text", True)
    assert (tiles["max_tiles"]["kind"], tiles["max_tiles"]["minimum"], tiles["max_tiles"]["optional"]) == (
        "int",
        1,
        True,
    )
    assert (tiles["context_um"]["kind"], tiles["context_um"]["items"]) == ("list", "number")
    rules = {option["name"]: option for option in forms["roi"]}
    assert rules["filter_method"]["choices"] == ["center", "proportion"]
    assert (rules["artifacts"]["kind"], rules["artifacts"]["items"]) == ("list", "text")


def in_a_shell(text: str) -> list[str]:
    """The words that a shell makes of a command."""
    done = subprocess.run(["sh", "-c", f"printf '%s\\0' {text}"], check=True, capture_output=True, text=True)
    return done.stdout.split("\0")[:-1]


def parsed_command(text: str) -> Pipeline:
    """The pipeline that the words of a command make, read as the command reads them."""
    from slideloom_cli.extract import configure_extract
    from slideloom_cli.options import pipeline_of
    from slideloom_cli.parsing import Parser

    program, command, *words = in_a_shell(text)
    assert (program, command) == ("slideloom", "extract")
    parser = Parser()
    configure_extract(parser)
    chosen = parser.parse_args(words)
    filters = None if chosen.filter is None else [word for word in chosen.filter if word != "none"]
    return pipeline_of(chosen, include=chosen.slides, filters=filters, sinks=chosen.sink)


def test_a_pipeline_file_a_command_and_python_say_the_same(tmp_path: Path) -> None:
    pipeline = rich(tmp_path)
    text = PipelineText(pipeline, tmp_path / "out put")
    (tmp_path / "pipeline.toml").write_text(text.toml(), encoding="utf-8")

    file = load_pipeline(tmp_path / "pipeline.toml")
    command = parsed_command(text.command())
    program: dict[str, Any] = {}
    source = text.python().partition("slides = ")[0]
    exec(source, program)

    assert (attrs.evolve(file, run=pipeline.run), program["pipeline"].qc) == (pipeline, pipeline.qc)
    assert (file.run.out, file.run.jobs, file.run.save_masks) == (tmp_path / "out put", 1, True)
    assert command == pipeline
    assert program["pipeline"].digest() == file.digest() == command.digest() == pipeline.digest()


def test_a_command_holds_the_values_of_a_fit(tmp_path: Path) -> None:
    fit = {"stain_matrix_target": [[0.51, 0.22], [0.75, 0.87], [0.41, 0.42]], "target_concentrations": [1.7, 1.3]}
    before = rich(tmp_path)
    pipeline = attrs.evolve(before, normalizer=step_settings("normalizer", "macenko", {"target": fit}))

    command = parsed_command(PipelineText(pipeline, tmp_path / "out").command())

    assert command == pipeline
    assert command.digest() == pipeline.digest() != before.digest()


def test_each_of_the_three_run_makes_tiles_with_the_pipeline_on_screen(
    open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    words = [
        "--tile-px",
        "64",
        "--tile-um",
        "400",
        "--qc",
        "otsu:filter_threshold=0.4",
        "--normalizer",
        "macenko",
    ]
    page = open_studio(demo_slide.path, *words, "--roi", str(demo_slide.rois))
    wanted = page.studio.text(page.studio.shelf.entry("s1")).pipeline.digest()
    out = tmp_path / "out"
    found = {}
    for form in ("toml", "command", "python"):
        text = page.get(f"api/pipeline/text?as={form}").json()["text"]
        if form == "toml":
            (tmp_path / "pipeline.toml").write_text(text)
            assert main(["run", str(tmp_path / "pipeline.toml")]) == 0
        elif form == "command":
            assert main(in_a_shell(text)[1:]) == 0
        else:
            subprocess.run([sys.executable, "-c", text], check=True, cwd=tmp_path, capture_output=True)
        found[form] = json.loads(OutputFolder(out, "64px_400um").pipeline.read_text())["digest"]
        out.rename(tmp_path / form)

    assert set(found.values()) == {wanted}


def test_a_step_given_as_an_object_has_no_text(tmp_path: Path) -> None:
    from slideloom import SlideQc
    from slideloom.plugins.given_steps import settings_of

    class Mine(SlideQc):
        def assess(self, slide: Any, scene: Any) -> Any:
            raise NotImplementedError

    given = settings_of("qc", Mine(), travels=False)
    text = PipelineText(attrs.evolve(rich(tmp_path), qc=(QcUse(step=given),)), tmp_path)

    with pytest.raises(Exception, match="qc 'mine' was given as an object"):
        text.toml()
