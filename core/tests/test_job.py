"""One slide from file to report: what is stored, what is counted, and what stays after an error."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from slideloom import Box, OutputFolder, Pipeline, SlideReport, load_mask, mask_from_npz, pipeline_from_table
from slideloom.extraction.job import SlideTask, process_slide
from slideloom.steps.reports import Trial

WriteSlide = Callable[..., Path]

STEPS = """
from typing import ClassVar
import attrs, numpy as np
from slideloom import QcResult, Settings, SlideQc, TileFilter, Verdict, hookimpl, option

@attrs.frozen
class Column(Settings[TileFilter]):
    "Drops the tiles of a column of the grid."
    name: ClassVar[str] = "column"
    number: int = option(help="which")
    how: str = option("", help="misdeed")
    def build(self):
        return ColumnFilter(self)

class ColumnFilter(TileFilter):
    def __init__(self, settings):
        self.settings = settings
    def check(self, batch):
        if self.settings.how == "raises":
            raise KeyError("no such column")
        column = batch.tiles.grid_x
        return Verdict(keep=column != self.settings.number, score=(column / 10).astype(np.float32))

@attrs.frozen
class Top(Settings[SlideQc]):
    "Masks the upper third."
    name: ClassVar[str] = "top"
    kind: str = option("background", help="kind")
    def build(self):
        return TopQc(self)

class TopQc(SlideQc):
    def __init__(self, settings):
        self.settings = settings
    def assess(self, slide, scene):
        return QcResult(np.array([[True], [False], [False]]), self.settings.kind, metrics={"rows": 3})

@hookimpl
def slideloom_tile_filters():
    return [Column]

@hookimpl
def slideloom_slide_qc():
    return [Top]
"""


@pytest.fixture
def slide(raw: Callable[..., None], analytic: WriteSlide) -> Path:
    """900 x 600 pixels of 0.5 um: 6 x 4 tiles of 75 um, which are 150 pixels wide."""
    raw("steps_plugin", STEPS)
    return analytic(width=900, height=600)


def pipeline(**tables: Any) -> Pipeline:
    usual = {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "filter": [], "sink": [{"use": "raw"}]}
    return pipeline_from_table({**usual, **tables}, where="test")


def process(slide: Path, out: Path, *, trial: Trial = "", **tables: Any) -> SlideReport:
    return process_slide(SlideTask(pipeline=pipeline(**tables), path=slide, out=out, threads=2, trial=trial))


def rows(out: Path) -> list[dict[str, str]]:
    (table,) = out.glob("slideloom/60px_75um/tiles/*.csv")
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


def files(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def test_every_planned_tile_is_in_the_report_under_what_became_of_it(slide: Path, tmp_path: Path) -> None:
    report = process(slide, tmp_path, qc=[{"use": "top"}], filter=[{"use": "column", "number": 2}])

    # The upper third is 200 of 600 pixels: the first row of tiles and a third of the second, less than 0.6.
    assert (report.status, report.planned, report.written, report.unreadable) == ("done", 24, 15, 0)
    assert report.rejected == {"qc:top": 6, "filter:column": 3}
    assert report.is_accounted
    assert report.metrics == {"top.masked": pytest.approx(1 / 3), "top.rows": 3.0}
    assert report.outputs == ("raw/a.raw",)
    assert len((tmp_path / "raw" / "a.raw").read_bytes()) == 15 * (8 + 60 * 60 * 3)
    assert SlideReport.load(OutputFolder(tmp_path, "60px_75um").report("a")) == report


def test_the_tile_table_has_a_row_per_planned_tile_with_place_end_and_scores(slide: Path, tmp_path: Path) -> None:
    process(slide, tmp_path, qc=[{"use": "top"}], filter=[{"use": "column", "number": 2}])
    table = rows(tmp_path)

    assert [row["status"] for row in table] == ["qc:top"] * 6 + [
        "written",
        "written",
        "filter:column",
        *["written"] * 3,
    ] * 3
    assert table[8] == {
        "loc_x": "375",
        "loc_y": "225",
        "grid_x": "2",
        "grid_y": "1",
        "status": "filter:column",
        "roi_name": "",
        "roi_desc": "",
        "label": "",
        "qc:top": "0.3333",
        "filter:column": "0.2",
    }
    assert table[0]["filter:column"] == ""  # it never saw that tile


def test_two_filters_of_one_name_have_a_count_and_a_score_each(slide: Path, tmp_path: Path) -> None:
    chosen = [{"use": "column", "number": 2}, {"use": "column", "number": 4}]
    report = process(slide, tmp_path, filter=chosen)

    assert report.rejected == {"filter:column": 4, "filter:column-2": 4}
    first = rows(tmp_path)[2]
    assert (first["status"], first["filter:column"], first["filter:column-2"]) == ("filter:column", "0.2", "")
    second = rows(tmp_path)[4]
    assert (second["status"], second["filter:column"], second["filter:column-2"]) == ("filter:column-2", "0.4", "0.4")


def test_two_slide_qc_steps_of_one_name_have_a_mask_each(slide: Path, tmp_path: Path) -> None:
    chosen = [{"use": "top"}, {"use": "top", "kind": "blur"}]
    report = process(slide, tmp_path, qc=chosen, run={"save_masks": True})

    assert report.qc_kinds == {"top": "background", "top-2": "blur"}
    masks = OutputFolder(tmp_path, "60px_75um")
    assert [load_mask(masks.mask("a", label)).kind for label in ("top", "top-2")] == ["background", "blur"]


def test_tiles_that_cannot_be_read_are_counted_with_the_first_reason(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path
) -> None:
    slide = analytic(width=900, height=600, damaged=[Box(310, 10, 1, 1), Box(460, 10, 1, 1)])
    report = process(slide, tmp_path)

    assert (report.written, report.unreadable) == (22, 2)
    assert report.warnings[0].startswith("unreadable tiles: a.json: cannot read")
    assert report.warnings[0].endswith("and 1 more")


def test_as_many_tiles_are_drawn_as_are_wanted_and_the_rest_is_counted(slide: Path, tmp_path: Path) -> None:
    tiles = {"size_px": 60, "size_um": 75, "max_tiles": 7}
    report = process(slide, tmp_path, tiles=tiles, filter=[{"use": "column", "number": 2}])

    assert report.written == 7
    assert sum(report.rejected.values()) == 17
    assert set(report.rejected) == {"filter:column", "max-tiles"}


STEPS_OF_ALL_KINDS = {"qc": [{"use": "top"}], "filter": [{"use": "column", "number": 2}]}


def test_a_dry_run_writes_nothing_and_decides_on_every_tile(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = process(slide, out, trial="dry-run", **STEPS_OF_ALL_KINDS)

    # Of the three rows that QC leaves, the filter drops the third of six columns.
    assert (report.status, report.written) == ("done", 0)
    assert report.rejected == {"qc:top": 6, "filter:column": 3, "dry-run": 15}
    assert report.kept == 15
    assert report.is_accounted
    assert report.statuses is not None
    row = ["written", "written", "filter:column", "written", "written", "written"]
    assert report.statuses.unpacked() == [*["qc:top"] * 6, *row * 3]
    assert not out.exists()


def test_a_look_at_the_plan_alone_leaves_tiles_undecided(slide: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = process(slide, out, trial="plan-only", **STEPS_OF_ALL_KINDS)

    assert (report.status, report.rejected, report.kept) == ("done", {"qc:top": 6, "plan-only": 18}, 18)
    assert report.is_accounted
    assert report.statuses is None
    assert not out.exists()


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"filter": [{"use": "column", "number": 2, "how": "raises"}]}, "filter 'column'.*no such column"),
        ({"qc": [{"use": "top", "kind": "odd"}]}, "qc 'top'.*kind must be one of"),
    ],
    ids=["a filter", "slide QC"],
)
def test_a_dry_run_fails_as_the_run_would(slide: Path, tmp_path: Path, tables: Any, said: str) -> None:
    tried, made = process(slide, tmp_path / "dry", trial="dry-run", **tables), process(slide, tmp_path, **tables)

    assert (tried.status, tried.error) == (made.status, made.error)
    assert re.search(said, tried.error)
    assert not (tmp_path / "dry").exists()


@pytest.mark.parametrize("trial", ["dry-run", "plan-only"])
def test_a_dry_run_makes_the_picture_that_is_asked_for_apart_from_those_of_runs(
    slide: Path, tmp_path: Path, trial: Any
) -> None:
    process(slide, tmp_path, trial=trial, run={"overview": True}, **STEPS_OF_ALL_KINDS)

    (made,) = [path for path in (tmp_path / "dry-run").rglob("*") if path.is_file()]
    assert made.name == f"{slide.stem}.png"
    assert made.read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "slideloom").exists()


def test_what_a_dry_run_decided_is_no_part_of_a_stored_report(slide: Path, tmp_path: Path) -> None:
    report = process(slide, tmp_path, trial="dry-run")

    table = json.loads(json.dumps(report.as_table()))

    assert "statuses" not in table
    assert SlideReport.from_table(table) == report


def test_a_finished_slide_is_skipped_and_one_with_other_settings_is_not(slide: Path, tmp_path: Path) -> None:
    first = process(slide, tmp_path)
    again = process(slide, tmp_path)
    other = process(slide, tmp_path, filter=[{"use": "column", "number": 2}])

    assert (first.status, again.status, other.status) == ("done", "skipped", "done")
    assert again.digest == first.digest != other.digest


def test_a_slide_whose_output_is_gone_is_made_again(slide: Path, tmp_path: Path) -> None:
    process(slide, tmp_path)
    (tmp_path / "raw" / "a.raw").unlink()

    assert process(slide, tmp_path).status == "done"


def test_a_step_that_fails_is_named_and_nothing_of_the_slide_stays(slide: Path, tmp_path: Path) -> None:
    report = process(slide, tmp_path / "out", filter=[{"use": "column", "number": 2, "how": "raises"}])

    assert report.status == "failed"
    assert report.error == "filter 'column' of steps_plugin 1.0 failed on slide a: KeyError: 'no such column'"
    assert files(tmp_path / "out") == {"slideloom/60px_75um/slides/a.json"}


def test_what_is_discarded_is_kept_small_for_the_report(slide: Path, tmp_path: Path) -> None:
    process(slide, tmp_path, qc=[{"use": "top"}], run={"report": True, "overview": True})
    folder = OutputFolder(tmp_path, "60px_75um")
    discarded = load_mask(folder.discard("a"), decode=mask_from_npz)

    assert discarded.mask.shape == (600, 900)
    assert discarded.mask[:200].all()
    assert not discarded.mask[200:].any()
    assert folder.overview("a").read_bytes()[:4] == b"\x89PNG"


def test_the_report_is_one_json_document_of_numbers(slide: Path, tmp_path: Path) -> None:
    process(slide, tmp_path, qc=[{"use": "top"}, {"use": "top", "kind": "blur"}])
    text = OutputFolder(tmp_path, "60px_75um").report("a").read_text()

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} is not JSON")

    table = json.loads(text, parse_constant=refuse)
    assert table["planned"] == 24
    assert np.isfinite(list(table["metrics"].values())).all()


def test_progress_is_told_up_to_the_last_tile(slide: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    task = SlideTask(
        pipeline=pipeline(qc=[{"use": "top"}]),
        path=slide,
        out=tmp_path,
        progress=lambda name, done, total: told.append((name, done, total)),
    )
    process_slide(task)

    assert [done for _, done, _ in told] == [6, 12, 18, 18]
    assert {(name, total) for name, _, total in told} == {("a", 18)}
