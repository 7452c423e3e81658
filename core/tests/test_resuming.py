"""A later run with the same settings: what it makes besides, what it makes again, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.plugins.discovery import registry
from slideloom.running.run import run_pipeline
from slideloom.steps.reports import SlideReport

WriteSlide = Callable[..., Path]

STEPS = """
from typing import ClassVar
import attrs, numpy as np
from slideloom import Box, Placement, QcResult, Settings, Size, SlideQc, TileFilter, Tiles, Verdict, hookimpl, option

@attrs.frozen
class Left(Settings[SlideQc]):
    "Masks the left half."
    name: ClassVar[str] = "left"
    width: float = option(0.0, help="width of the extent; 0 gives none", affects_output=False)
    def build(self):
        return LeftQc(self.width)

class LeftQc(SlideQc):
    def __init__(self, width):
        self.width = width
    def assess(self, slide, scene):
        mask = np.zeros((10, 100), bool)
        mask[:, :50] = True
        extent = None if self.width == 0 else Box(0, 0, 0 if self.width == 1 else self.width, 100)
        return QcResult(mask=mask, kind="background", extent=extent, metrics={})

@attrs.frozen
class Half(Settings[TileFilter]):
    "Keeps every second tile."
    name: ClassVar[str] = "half"
    def build(self):
        return HalfFilter()

class HalfFilter(TileFilter):
    calls = 0
    def check(self, batch):
        type(self).calls += 1
        return Verdict(keep=batch.tiles.index % 2 == 0, score=np.zeros(len(batch), np.float32))

@attrs.frozen
class Flat(Settings[Placement]):
    "A tile without a footprint."
    name: ClassVar[str] = "flat"
    def build(self):
        return FlatPlacement()

class FlatPlacement(Placement):
    def place(self, slide, scene):
        return Tiles([0], [0], [0], [0], [0], [-1], footprint=Size(0, 150))

@hookimpl
def slideloom_slide_qc():
    return [Left]

@hookimpl
def slideloom_tile_filters():
    return [Half]

@hookimpl
def slideloom_placements():
    return [Flat]
"""


@pytest.fixture(autouse=True)
def steps(raw: Callable[..., None]) -> None:
    raw("steps_plugin", STEPS)


def pipeline(qc: dict[str, object] | None = None, **tables: object) -> Pipeline:
    table = {
        "slideloom": 1,
        "tiles": {"size_px": 60, "size_um": 75},
        "qc": [qc or {"use": "left"}],
        "filter": [{"use": "half"}],
        "sink": [{"use": "raw"}],
        **tables,
    }
    return pipeline_from_table(table, where="test")


def run(pipeline: Pipeline, slide: Path, out: Path) -> SlideReport:
    return run_pipeline(pipeline, [slide], out).slides[0]


def state(out: Path) -> OutputFolder:
    return OutputFolder(out, "60px_75um")


def pictures(out: Path) -> dict[str, bytes]:
    folders = [state(out).state / name for name in ("masks", "overviews")]
    return {path.name: path.read_bytes() for folder in folders for path in folder.glob("*")}


def test_masks_and_pictures_asked_for_later_are_made_without_cutting_tiles(
    analytic: WriteSlide, tmp_path: Path
) -> None:
    slide, asked = analytic(), {"save_masks": True, "overview": True, "report": True}
    run(pipeline(run=asked), slide, tmp_path / "at once")
    run(pipeline(), slide, tmp_path / "later")
    assert not pictures(tmp_path / "later")
    filter_step = registry().find("filter", "half")().build()
    type(filter_step).calls = 0

    report = run(pipeline(run=asked), slide, tmp_path / "later")

    assert report.status == "skipped"
    assert type(filter_step).calls == 0
    made = "a-left.npy, a-left.json, a.discard.npz, a.discard.json, a.png"
    assert report.warnings[-1] == f"made now, without cutting tiles again: {made}"
    assert pictures(tmp_path / "later") == pictures(tmp_path / "at once")
    # And once only.
    assert not run(pipeline(run=asked), slide, tmp_path / "later").warnings


def test_pictures_of_a_slide_that_has_changed_go_with_its_tiles(analytic: WriteSlide, tmp_path: Path) -> None:
    """Else a later run that asks for pictures would find those of the old file, and say that nothing is missing."""
    slide, asked = analytic(), {"save_masks": True, "overview": True, "report": True}
    run(pipeline(run=asked), slide, tmp_path / "out")
    before = pictures(tmp_path / "out")
    slide = analytic(width=2000)

    assert run(pipeline(), slide, tmp_path / "out").status == "done"
    assert pictures(tmp_path / "out") == {}

    assert run(pipeline(run=asked), slide, tmp_path / "out").status == "skipped"
    run(pipeline(run=asked), slide, tmp_path / "at once")
    assert pictures(tmp_path / "out") == pictures(tmp_path / "at once")
    assert pictures(tmp_path / "out")["a.png"] != before["a.png"]


def with_other_label(label: str) -> Callable[[OutputFolder], None]:
    def damage(folder: OutputFolder) -> None:
        path = folder.report("a")
        path.write_text(path.read_text().replace('"left": "background"', f'"{label}": "background"'))

    return damage


def with_other_head(folder: OutputFolder) -> None:
    path = folder.tile_table("a")
    path.write_text(path.read_text().replace("status", "statvs"))


def with_a_line_less(folder: OutputFolder) -> None:
    path = folder.tile_table("a")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-2]) + " " * sum(map(len, lines[-2:])))


DAMAGES = {
    "another step": (with_other_label("lefu"), "its report names what no step makes: a-lefu.npy, a-lefu.json"),
    "no file's name": (with_other_label("x/y/"), "its report names a step that there cannot be"),
    "another column": (with_other_head, "a.csv is not its tile table"),
    "a line less": (with_a_line_less, "a.csv tells of"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_slide_whose_report_or_table_is_not_what_its_pipeline_makes_is_made_again(
    analytic: WriteSlide, tmp_path: Path, damage: str
) -> None:
    slide, folder = analytic(), state(tmp_path / "out")
    asked = {"save_masks": True, "overview": True}
    (whole,) = run_pipeline(pipeline(run=asked), [slide], tmp_path / "whole").slides
    run_pipeline(pipeline(), [slide], folder.root)
    spoil, said = DAMAGES[damage]
    spoil(folder)

    (report,) = run_pipeline(pipeline(run=asked), [slide], folder.root).slides

    assert report.status == "done"
    assert any(warning.startswith(f"made again: {said}") for warning in report.warnings)
    assert folder.mask("a", "left").exists()
    assert folder.tile_table("a").read_bytes() == state(tmp_path / "whole").tile_table("a").read_bytes()
    assert report.written == whole.written


def test_a_picture_that_cannot_be_made_leaves_the_slide_finished(analytic: WriteSlide, tmp_path: Path) -> None:
    slide = analytic()
    run(pipeline(), slide, tmp_path)
    (state(tmp_path).state / "overviews").write_text("in the way")

    report = run(pipeline(run={"overview": True}), slide, tmp_path)

    assert report.status == "failed"
    assert report.error.startswith("its tiles are stored, but a.png cannot be made")
    assert run(pipeline(), slide, tmp_path).status == "skipped"


def updated(tmp_path: Path) -> None:
    """The plugin of another version, as after `pip install --upgrade`."""
    metadata = tmp_path / "site" / "steps_plugin-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 2.0"))
    registry.cache_clear()


def test_a_report_keeps_the_versions_of_what_took_part(analytic: WriteSlide, tmp_path: Path) -> None:
    from slideloom import __version__

    report = run(pipeline(), analytic(), tmp_path / "out")

    assert report.versions == {"raw_plugin": "1.0", "slideloom-core": __version__, "steps_plugin": "1.0"}
    assert SlideReport.load(state(tmp_path / "out").report("a")).versions == report.versions


def test_slides_of_other_versions_are_kept_with_one_warning(
    analytic: WriteSlide, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slides, out = [analytic("a"), analytic("b")], tmp_path / "out"
    run_pipeline(pipeline(), slides, out)
    updated(tmp_path)

    report = run_pipeline(pipeline(), slides, out)

    assert [slide.status for slide in report.slides] == ["skipped", "skipped"]
    (warning,) = [record.getMessage() for record in caplog.records if "other versions" in record.getMessage()]
    assert "steps_plugin 1.0, now 2.0 (2 slides)" in warning


def test_slides_of_other_versions_are_made_again_on_demand(analytic: WriteSlide, tmp_path: Path) -> None:
    slide, out = analytic(), tmp_path / "out"
    run(pipeline(), slide, out)
    chosen = pipeline(run={"redo_updated": True})
    assert run(chosen, slide, out).status == "skipped"
    updated(tmp_path)

    report = run(chosen, slide, out)

    assert report.status == "done"
    assert "made again: made by steps_plugin 1.0" in report.warnings
    assert report.versions["steps_plugin"] == "2.0"


def test_a_step_that_says_its_results_changed_has_another_digest(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = pipeline()
    before = chosen.digest()
    settings = type(chosen.filters[0])
    assert settings.revision == 1

    monkeypatch.setattr(settings, "revision", 2)

    assert chosen.digest() != before


def test_a_finished_slide_whose_disk_is_away_stays_finished(analytic: WriteSlide, tmp_path: Path) -> None:
    slide, out = analytic(), tmp_path / "out"
    run(pipeline(), slide, out)
    away = slide.rename(tmp_path / "away.json")

    report = run(pipeline(), slide, out)

    assert report.status == "failed"
    assert "no such file; check the path; what an earlier run made of it stays finished: 36 tiles" in report.error
    away.rename(slide)
    assert run(pipeline(), slide, out).status == "skipped"


@pytest.mark.parametrize(("width", "shown"), [(1.0, "width=0"), (-5.0, "width=-5.0")])
def test_a_mask_without_an_extent_is_refused_by_step_plugin_and_value(
    analytic: WriteSlide, tmp_path: Path, width: float, shown: str
) -> None:
    chosen = pipeline()
    step = attrs.evolve(chosen.qc[0].step, width=width)
    odd = attrs.evolve(chosen, qc=(attrs.evolve(chosen.qc[0], step=step),))

    report = run(odd, analytic(), tmp_path / "out")

    assert report.status == "failed"
    assert report.error.startswith(
        "qc 'left' of steps_plugin 1.0 broke its contract on slide a: extent must be a box with an area"
    )
    assert shown in report.error


def test_tiles_without_a_footprint_are_refused_by_step_plugin_and_value(analytic: WriteSlide, tmp_path: Path) -> None:
    report = run(pipeline(placement={"use": "flat"}), analytic(), tmp_path / "out")

    assert report.error == (
        "placement 'flat' of steps_plugin 1.0 broke its contract on slide a: "
        "a tile must cover at least one level-0 pixel, not Size(width=0, height=150)"
    )
