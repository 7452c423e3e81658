"""Whole runs on slides of known pixels: accounting, identity, errors, resuming."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import numpy as np
import pytest
import slideloom
from hypothesis import HealthCheck, given, settings, strategies as st
from slideloom.base.errors import ConfigError, OutputError
from slideloom.base.geometry import Box
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.plugins.discovery import registry
from slideloom.running.find_slides import find_slides
from slideloom.running.run import run_pipeline
from slideloom.steps.reports import SlideReport
from slideloom_testing.disks import left_by_a_dead_process

WriteSlide = Callable[..., Path]


def pipeline(**tables: object) -> Pipeline:
    table = {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "filter": [], "sink": [{"use": "raw"}], **tables}
    return pipeline_from_table(table, where="test")


def only(out: Path, text: str = "raw/*.raw") -> bytes:
    (path,) = out.glob(text)
    return path.read_bytes()


STEPS = """
from typing import ClassVar
import attrs, numpy as np
from slideloom import QcResult, Settings, SlideQc, TileFilter, Verdict, Normalizer, Normalized, hookimpl, option

@attrs.frozen
class Left(Settings[SlideQc]):
    "Masks the left part."
    name: ClassVar[str] = "left"
    share: float = option(0.5, help="how much")
    kind: str = option("background", help="kind")
    def build(self):
        return LeftQc(self)

class LeftQc(SlideQc):
    def __init__(self, settings):
        self.settings = settings
    def assess(self, slide, scene):
        mask = np.zeros((10, 100), bool)
        mask[:, : int(100 * self.settings.share)] = True
        return QcResult(mask=mask, kind=self.settings.kind)

@attrs.frozen
class Bright(Settings[TileFilter]):
    "Keeps tiles above a mean."
    name: ClassVar[str] = "bright"
    level: float = option(128.0, help="mean at least")
    def build(self):
        return BrightFilter(self.level)

class BrightFilter(TileFilter):
    def __init__(self, level):
        self.level = level
    def check(self, batch):
        mean = batch.rgb.mean(axis=(1, 2, 3))
        return Verdict(keep=mean >= self.level, score=mean.astype(np.float32))

@attrs.frozen
class Bad(Settings[TileFilter]):
    "Breaks its contract."
    name: ClassVar[str] = "bad"
    how: str = option(help="which way")
    slide: str = option("", help="only on this slide")
    def build(self):
        return BadFilter(self)

class BadFilter(TileFilter):
    def __init__(self, settings):
        self.how, self.slide = settings.how, settings.slide
    def check(self, batch):
        keep, score = np.ones(len(batch), bool), np.zeros(len(batch), np.float32)
        if self.slide and batch.slide != self.slide:
            return Verdict(keep=keep, score=score)
        if self.how == "raises":
            raise ZeroDivisionError("tile is odd")
        if self.how == "writes":
            batch.rgb[0] = 0
        if self.how == "shape":
            return Verdict(keep=keep[:, None], score=score)
        if self.how == "none":
            return None
        if self.how == "dies":
            import os
            os._exit(9)
        return Verdict(keep=keep, score=score)

@attrs.frozen
class Invert(Settings[Normalizer]):
    "Inverts; does not do dark tiles."
    name: ClassVar[str] = "invert"
    def build(self):
        return InvertNormalizer()

class InvertNormalizer(Normalizer):
    def apply(self, batch):
        ok = batch.rgb.mean(axis=(1, 2, 3)) > 100
        return Normalized(rgb=255 - batch.rgb, ok=ok)

@hookimpl
def slideloom_slide_qc():
    return [Left]

@hookimpl
def slideloom_tile_filters():
    return [Bright, Bad]

@hookimpl
def slideloom_normalizers():
    return [Invert]
"""


@pytest.fixture
def steps(raw: Callable[..., None]) -> None:
    raw("steps_plugin", STEPS)


def test_every_planned_tile_is_accounted_for(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    slide = analytic(damaged=[Box(1500, 320, 10, 10)])
    chosen = pipeline(qc=[{"use": "left", "share": 0.25}], filter=[{"use": "bright"}], normalizer={"use": "invert"})

    (report,) = run_pipeline(chosen, [slide], tmp_path / "out").slides

    assert report.status == "done"
    assert report.planned == report.written + sum(report.rejected.values()) + report.unreadable
    assert report.unreadable == 1
    assert set(report.rejected) <= {"qc:left", "filter:bright", "normalizer"}
    assert report.rejected["qc:left"] > 0
    assert report.rejected["filter:bright"] > 0
    assert any("unreadable" in warning for warning in report.warnings)
    rows = (tmp_path / "out" / report.tile_table).read_text().splitlines()
    assert len(rows) == 1 + report.planned
    assert sum(",written," in row for row in rows) == report.written


def test_output_is_identical_for_any_threads_jobs_and_batch(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    slides = [analytic("a"), analytic("b", width=3000)]
    outputs = set()
    for number, run in enumerate(
        [
            {"jobs": 1, "threads": 1},
            {"jobs": 1, "threads": 2, "batch_tiles": 3},
            {"jobs": 1, "threads": 5, "batch_tiles": 1},
            {"jobs": 2, "threads": 2, "batch_tiles": 64},
        ]
    ):
        out = tmp_path / str(number)
        report = run_pipeline(pipeline(filter=[{"use": "bright"}], run=run), slides, out)
        assert not report.failed
        outputs.add((only(out, "raw/a.raw"), only(out, "raw/b.raw")))

    assert len(outputs) == 1


def test_tiles_hold_the_pixels_of_their_place(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    from slideloom.base.geometry import Box, Size
    from slideloom_testing import AnalyticSlide

    run_pipeline(pipeline(), [analytic()], tmp_path)
    data = only(tmp_path)
    step = 8 + 60 * 60 * 3
    slide = AnalyticSlide(Size(2200, 1800), mpp=0.5)
    columns = 2200 // 150

    for start in range(0, len(data), step * 29):
        index = int.from_bytes(data[start : start + 8], "little")
        rgb = np.frombuffer(data[start + 8 : start + step], np.uint8).reshape(60, 60, 3)
        box = Box(index % columns * 150, index // columns * 150, 150, 150)
        assert np.abs(rgb - slide.expected(box, Size(60, 60))).max() <= 2


def test_at_most_max_tiles_are_kept_and_the_draw_repeats(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    tiles = {"size_px": 60, "size_um": 75, "max_tiles": 20, "seed": 3}
    chosen = pipeline(tiles=tiles, filter=[{"use": "bright", "level": 120.0}])

    (first,) = run_pipeline(chosen, [analytic()], tmp_path / "1").slides
    again = attrs.evolve(chosen, run=attrs.evolve(chosen.run, threads=3, batch_tiles=2))
    run_pipeline(again, [analytic()], tmp_path / "2")

    assert first.written == 20
    assert first.rejected["max-tiles"] > 0
    assert first.is_accounted
    assert only(tmp_path / "1") == only(tmp_path / "2")


@pytest.mark.parametrize(
    ("how", "said"),
    [
        ("raises", r"filter 'bad' of steps_plugin 1.0 failed on slide a: ZeroDivisionError: tile is odd"),
        ("writes", r"filter 'bad' of steps_plugin 1.0 failed on slide a: ValueError: .*read-only"),
        ("shape", r"filter 'bad' broke its contract on slide a: wanted Verdict"),
        ("none", r"filter 'bad' broke its contract on slide a: wanted Verdict"),
    ],
)
def test_a_filter_that_misbehaves_fails_its_slide_by_name_and_no_other(
    steps: None, analytic: WriteSlide, tmp_path: Path, how: str, said: str
) -> None:
    chosen = pipeline(filter=[{"use": "bad", "how": how, "slide": "a"}])

    report = run_pipeline(chosen, [analytic("a"), analytic("b")], tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["failed", "done"]
    assert re.search(said, report.slides[0].error)
    assert [path.name for path in (tmp_path / "out" / "raw").iterdir()] == ["b.raw"]
    assert "a" in (tmp_path / "out" / "errors.csv").read_text()


def test_slides_that_a_spreadsheet_would_calculate_are_marked_in_errors_csv(steps: None, tmp_path: Path) -> None:
    lost = tmp_path / "=1+1.svs"

    run_pipeline(pipeline(), [lost], tmp_path / "out")

    assert (
        tmp_path / "out" / "errors.csv"
    ).read_text() == f"slide,path,error\n'=1+1,{lost},{lost}: no such file; check the path\n"


def test_a_worker_that_dies_loses_its_slide_only(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    chosen = pipeline(filter=[{"use": "bad", "how": "dies", "slide": "b"}], run={"jobs": 2})
    slides = [analytic(name) for name in "abcd"]

    report = run_pipeline(chosen, slides, tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done", "failed", "done", "done"]
    assert "died twice" in report.slides[1].error


def test_a_second_run_skips_what_is_finished(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    slide = analytic()
    run_pipeline(pipeline(), [slide], tmp_path / "out")
    before = (tmp_path / "out" / "raw" / "a.raw").stat().st_mtime_ns

    (report,) = run_pipeline(pipeline(run={"threads": 2}), [slide], tmp_path / "out").slides

    assert report.status == "skipped"
    assert report.written > 0
    assert (tmp_path / "out" / "raw" / "a.raw").stat().st_mtime_ns == before


def test_a_slide_is_run_again_when_its_file_or_its_output_changed(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    slide = analytic()
    run_pipeline(pipeline(), [slide], tmp_path / "out")
    (tmp_path / "out" / "raw" / "a.raw").unlink()
    assert run_pipeline(pipeline(), [slide], tmp_path / "out").slides[0].status == "done"

    changed = analytic(width=2500)
    assert run_pipeline(pipeline(), [changed], tmp_path / "out").slides[0].status == "done"


def test_a_run_clears_away_what_dead_workers_left_beside_its_output(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    run_pipeline(pipeline(), [analytic()], tmp_path / "out")
    left_by_a_dead_process(tmp_path / "out" / "raw" / "b.raw").touch()

    run_pipeline(pipeline(), [analytic()], tmp_path / "out")

    assert [path.name for path in (tmp_path / "out" / "raw").iterdir()] == ["a.raw"]


def test_other_settings_in_the_same_folder_are_refused_with_what_differs(
    steps: None, analytic: WriteSlide, tmp_path: Path
) -> None:
    slide = analytic()
    run_pipeline(pipeline(), [slide], tmp_path / "out")
    other = pipeline(qc=[{"use": "left"}])

    with pytest.raises(OutputError, match=r"(?s)other settings.*qc: \[\] -> .*left.*run with run.redo = true"):
        run_pipeline(other, [slide], tmp_path / "out")

    again = attrs.evolve(other, run=attrs.evolve(other.run, redo=True))
    assert run_pipeline(again, [slide], tmp_path / "out").slides[0].status == "done"


def test_other_settings_are_welcome_where_no_slide_got_tiles(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    unknown = analytic(mpp=None)
    first = run_pipeline(pipeline(), [unknown], tmp_path / "out")
    assert "give slides.mpp for all slides" in first.slides[0].error

    (report,) = run_pipeline(pipeline(slides={"mpp": 0.5}), [unknown], tmp_path / "out").slides

    assert report.status == "done"
    assert report.mpp_source == "override for all slides"
    assert json.loads((tmp_path / "out" / "extraction_report.json").read_text())["slides"][0]["mpp"] == [0.5, 0.5]


def test_two_runs_exclude_each_other_and_a_dead_one_holds_nothing(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    slide, out = analytic(), tmp_path / "out"
    with OutputFolder(out, "x").locked(), pytest.raises(OutputError, match=rf"another run .*process {os.getpid()}"):
        run_pipeline(pipeline(), [slide], out)

    assert not run_pipeline(pipeline(), [slide], out).failed


def test_slides_of_one_name_are_not_mixed(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    first = analytic()
    second = tmp_path / "other" / "a.json"
    second.parent.mkdir()
    second.write_bytes(first.read_bytes())

    report = run_pipeline(pipeline(), [first, second], tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done", "failed"]
    assert "another slide has this name" in report.slides[1].error


def test_broken_slides_are_named_and_the_others_finish(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    empty, text = tmp_path / "empty.svs", tmp_path / "text.svs"
    empty.touch()
    text.write_text("not a slide")
    unknown = analytic("unknown", mpp=None)

    report = run_pipeline(pipeline(), [empty, text, unknown, tmp_path / "gone.svs", analytic()], tmp_path / "out")

    reasons = ["is empty", "no reader recognises it", "give slides.mpp for all slides", "no such file"]
    assert [slide.status for slide in report.slides] == ["failed"] * 4 + ["done"]
    for slide, reason in zip(report.slides, reasons, strict=False):
        assert reason in slide.error
        assert slide.slide in slide.error


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that exists and cannot be read by anybody")
def test_a_slide_that_cannot_be_read_is_not_taken_for_another_format(raw: object, tmp_path: Path) -> None:
    (report,) = run_pipeline(pipeline(), [Path("/proc/self/mem")], tmp_path / "out").slides

    assert report.error == "mem: cannot be read (Input/output error); check its permissions and its disk"


def test_a_wrong_mpp_file_is_one_mistake(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    chosen = pipeline(slides={"mpp_file": str(tmp_path / "gone.csv")})

    with pytest.raises(ConfigError, match=r"gone\.csv: cannot be read"):
        run_pipeline(chosen, [analytic()], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="needs a user whom permissions bind")
def test_a_folder_that_cannot_be_written_is_named(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)

    with pytest.raises(OutputError, match="locked: not writable"):
        run_pipeline(pipeline(), [analytic()], locked / "out")


def test_an_output_path_that_is_a_file_is_named(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(OutputError, match="file"):
        run_pipeline(pipeline(), [analytic()], tmp_path / "file")


def test_a_slide_without_tiles_says_why(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    report = run_pipeline(pipeline(qc=[{"use": "left", "share": 1.0}]), [analytic()], tmp_path / "out")

    assert report.empty == report.slides
    assert report.slides[0].rejected == {"qc:left": report.slides[0].planned}
    assert not list((tmp_path / "out" / "raw").iterdir())


def test_a_dry_run_decides_but_writes_no_tile(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    report = run_pipeline(pipeline(qc=[{"use": "left"}]), [analytic()], tmp_path / "out", dry_run=True)

    assert (report.dry_run, report.plan_only) == (True, False)
    assert report.slides[0].rejected["dry-run"] > 0
    assert report.slides[0].is_accounted
    assert report.empty == ()
    assert not (tmp_path / "out").exists()


def test_the_plan_alone_reads_no_tile(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    path = analytic(damaged=[Box(2000, 1000, 1, 1)])
    tried, planned = (
        run_pipeline(pipeline(qc=[{"use": "left"}]), [path], tmp_path / "out", **{word: True})
        for word in ("dry_run", "plan_only")
    )

    assert (planned.dry_run, planned.plan_only) == (True, True)
    assert tried.slides[0].unreadable == 1
    assert planned.slides[0].rejected["plan-only"] == tried.slides[0].kept + 1
    assert json.loads(json.dumps(planned.as_table()))["plan_only"] is True


THREADED = """
from typing import ClassVar
import attrs, numpy as np
from slideloom import QcResult, Settings, SlideQc, hookimpl

@attrs.frozen
class Threaded(Settings[SlideQc]):
    "Masks nothing."
    name: ClassVar[str] = "threaded"
    def build(self):
        return ThreadedQc()

class ThreadedQc(SlideQc):
    def assess(self, slide, scene):
        return QcResult(np.zeros((1, 1), bool), "artifact", metrics={"threads": scene.threads})

@hookimpl
def slideloom_slide_qc():
    return [Threaded]
"""


def test_slide_qc_knows_how_many_threads_the_run_has(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path
) -> None:
    raw("threaded_plugin", THREADED)

    for threads in (1, 3):
        table = pipeline(qc=[{"use": "threaded"}], run={"threads": threads})
        (report,) = run_pipeline(table, [analytic()], tmp_path / str(threads)).slides
        assert report.metrics["threaded.threads"] == threads


def test_blur_burden_does_not_depend_on_the_order_of_steps(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    blur, background = {"use": "left", "share": 0.6, "kind": "blur"}, {"use": "left", "share": 0.2}
    values = []
    for number, qc in enumerate(([blur, background], [background, blur])):
        (report,) = run_pipeline(pipeline(qc=qc), [analytic()], tmp_path / str(number)).slides
        values.append(report.blur_burden)

    assert values[0] == values[1] == pytest.approx(0.5, abs=0.05)
    listed = (tmp_path / "0" / "high_blur_burden.txt").read_text()
    assert listed == f"a,{values[0]:.4f}\n"


def test_an_observer_that_fails_does_not_stop_the_run(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raw(
        "watcher",
        """
        from slideloom import hookimpl

        @hookimpl
        def slideloom_slide_done(report):
            raise RuntimeError("cannot look")
        """,
    )

    report = run_pipeline(pipeline(), [analytic()], tmp_path / "out")

    assert not report.failed
    assert not report.is_good
    assert report.problems == ("plugin 'watcher/watcher' failed in slideloom_slide_done: RuntimeError: cannot look",)
    assert json.loads((tmp_path / "out/extraction_report.json").read_text())["problems"] == list(report.problems)
    assert "watcher" in caplog.text


def test_what_fails_after_the_last_slide_is_in_the_stored_report(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path
) -> None:
    raw(
        "counter",
        """
        from slideloom import OutputError, hookimpl

        @hookimpl
        def slideloom_run_done(report, out):
            raise OutputError("manifest.json: not writable")
        """,
    )

    slide = analytic()

    report = run_pipeline(pipeline(), [slide], tmp_path / "out")

    assert report.problems == ("plugin 'counter/counter' failed in slideloom_run_done: manifest.json: not writable",)
    assert json.loads((tmp_path / "out/extraction_report.json").read_text())["problems"] == list(report.problems)
    assert run_pipeline(pipeline(), [slide], tmp_path / "out").slides[0].status == "skipped"


def test_the_buffer_is_used_and_left_empty(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    slides = [analytic(name) for name in "abc"]
    buffer = tmp_path / "buffer"

    report = run_pipeline(pipeline(run={"buffer": str(buffer), "jobs": 2}), slides, tmp_path / "out")

    assert not report.failed
    assert [Path(slide.path) for slide in report.slides] == slides
    assert not list(buffer.iterdir())


def test_reports_survive_json(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    (report,) = run_pipeline(pipeline(), [analytic()], tmp_path).slides

    assert SlideReport.load(OutputFolder(tmp_path, "60px_75um").report("a")) == report
    assert json.loads((tmp_path / "extraction_report.json").read_text())["slides"][0]["written"] == report.written


def damaged(table: dict[str, object]) -> list[str]:
    """What may be found in place of a report, and is none."""
    return [
        "",
        "[]",
        "3",
        '"text"',
        json.dumps(table)[:100],
        json.dumps({**table, "planned": "many"}),
        json.dumps({**table, "written": 999}),
        json.dumps({**table, "rejected": [1]}),
        json.dumps({**table, "rejected": {"qc:otsu": "some"}}),
        json.dumps({**table, "outputs": ["../../../etc/passwd"]}),
        json.dumps({**table, "status": "odd"}),
        json.dumps({**table, "mpp": [0.5]}),
        json.dumps({key: value for key, value in table.items() if key != "slide"}),
    ]


def test_a_damaged_report_of_a_slide_is_told_and_the_slide_made_again(
    raw: object, analytic: WriteSlide, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    slide, path = analytic(), OutputFolder(tmp_path, "60px_75um").report("a")
    run_pipeline(pipeline(), [slide], tmp_path)

    for text in damaged(json.loads(path.read_text())):
        path.write_text(text)
        caplog.clear()

        (report,) = run_pipeline(pipeline(), [slide], tmp_path).slides

        assert report.status == "done", text
        assert "a.json: the report of an earlier run cannot be read" in caplog.text

    assert run_pipeline(pipeline(), [slide], tmp_path).slides[0].status == "skipped"


@pytest.mark.parametrize("text", ["", "[]", "[1]", "3", '{"digest": "x"}', '{"digest": "x", "pipeline": [1]}'])
def test_a_damaged_pipeline_of_an_earlier_run_is_told_and_stops_nobody(
    raw: object, analytic: WriteSlide, tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str
) -> None:
    slide = analytic()
    run_pipeline(pipeline(), [slide], tmp_path)
    OutputFolder(tmp_path, "60px_75um").pipeline.write_text(text)

    (report,) = run_pipeline(pipeline(), [slide], tmp_path).slides

    assert report.status == "skipped"
    assert "pipeline.json: cannot be read" in caplog.text


def test_a_pipeline_of_another_form_is_told_as_other_settings(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    run_pipeline(pipeline(), [analytic()], tmp_path)
    OutputFolder(tmp_path, "60px_75um").pipeline.write_text('{"digest": "x", "pipeline": {"tiles": 3}}')

    with pytest.raises(OutputError, match=r"(?s)other settings:.*tiles: 3 -> \{.*run with run.redo = true"):
        run_pipeline(pipeline(), [analytic()], tmp_path)


def test_a_folder_of_output_may_be_a_link_to_another_disk(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "other disk").mkdir()
    (tmp_path / "out" / "raw").symlink_to(tmp_path / "other disk", target_is_directory=True)

    slide = analytic()
    reports = [run_pipeline(pipeline(), [slide], tmp_path / "out").slides[0] for _ in range(2)]

    assert [report.status for report in reports] == ["done", "skipped"], reports[0].error
    assert reports[0].outputs == ("raw/a.raw",)
    assert (tmp_path / "other disk" / "a.raw").is_file()


def test_the_folder_of_output_may_be_a_link(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "real", target_is_directory=True)

    (report,) = run_pipeline(pipeline(), [analytic()], tmp_path / "out").slides

    assert report.outputs == ("raw/a.raw",)


def test_what_lies_outside_the_folder_of_output_is_refused(tmp_path: Path) -> None:
    folder = OutputFolder(tmp_path / "out", "x")

    for path in (tmp_path / "elsewhere", tmp_path / "out" / ".." / "a", Path("/")):
        with pytest.raises(ValueError, match="is not in the subpath"):
            folder.relative(path)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names of files are text")
def test_a_slide_whose_name_is_no_text_has_its_tiles_and_every_report(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    name = os.fsdecode(b"M\xfcller")
    good, bad = analytic(name), tmp_path / f"{name}-bad.svs"
    bad.touch()
    steps = pipeline(tiles={"size_px": 60, "size_um": 75, "random_origin": True}, run={"overview": True})

    report = run_pipeline(steps, [good, bad], tmp_path / "out")
    again = run_pipeline(steps, [good, bad], tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["done", "failed"]
    assert [slide.status for slide in again.slides] == ["skipped", "failed"]
    assert report.slides[0].outputs == (f"raw/{name}.raw",)
    assert os.path.exists(os.fsencode(tmp_path) + b"/out/raw/M\xfcller.raw")  # noqa: PTH110 - bytes
    stored = json.loads((tmp_path / "out" / "extraction_report.json").read_text(encoding="utf-8"))
    assert [slide["slide"] for slide in stored["slides"]] == [name, f"{name}-bad"]
    errors = (tmp_path / "out" / "errors.csv").read_text(encoding="utf-8")
    assert errors.splitlines()[1].startswith("M\\udcfcller-bad,")


def test_slides_are_found_by_file_folder_and_pattern(tmp_path: Path) -> None:
    for name in ("a.svs", "._a.svs", "b.tiff", "sub/c.svs"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert [path.name for path in find_slides(["."], base=tmp_path)] == ["a.svs", "b.tiff"]
    assert [path.name for path in find_slides(["**/*.svs"], base=tmp_path)] == ["a.svs", "c.svs"]
    assert [path.name for path in find_slides(["."], ["b*"], base=tmp_path)] == ["a.svs"]
    with pytest.raises(ConfigError, match=r"\*\.ndpi"):
        find_slides(["*.ndpi"], base=tmp_path)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    width=st.integers(10, 700),
    height=st.integers(10, 700),
    stride_div=st.sampled_from([1.0, 2.0, 3.0]),
    edge=st.booleans(),
)
def test_any_slide_and_grid_is_accounted_for(
    steps: None, tmp_path: Path, width: int, height: int, stride_div: float, edge: bool
) -> None:
    from slideloom.base.geometry import Size
    from slideloom_testing import write_analytic

    slide = write_analytic(tmp_path / "p.json", Size(width, height), mpp=0.5)
    tiles = {"size_px": 60, "size_um": 75, "stride_div": stride_div, "edge_tiles": edge}
    chosen = pipeline(tiles=tiles, filter=[{"use": "bright"}], run={"redo": True})

    (report,) = run_pipeline(chosen, [slide], tmp_path / "out").slides

    assert report.status == "done"
    assert report.is_accounted


def test_a_slide_keeps_the_versions_that_made_it_when_a_later_run_skips_it(
    steps: None, analytic: WriteSlide, tmp_path: Path
) -> None:
    chosen = pipeline(filter=[{"use": "bright"}])
    made = {"slideloom-core": slideloom.__version__, "raw_plugin": "1.0", "steps_plugin": "1.0"}
    out, slide = tmp_path / "out", analytic("a")

    first = run_pipeline(chosen, [slide], out)
    metadata = tmp_path / "site" / "steps_plugin-1.0.dist-info" / "METADATA"
    metadata.write_text(metadata.read_text().replace("Version: 1.0", "Version: 2.0"))
    registry.cache_clear()
    second = run_pipeline(chosen, [slide, analytic("b")], out)

    assert first.slides[0].versions == made
    assert [slide.status for slide in second.slides] == ["skipped", "done"]
    assert second.slides[0].versions == made
    assert second.slides[1].versions == {**made, "steps_plugin": "2.0"}
    assert first.versions["steps_plugin"] == "1.0"
    assert second.versions["steps_plugin"] == "2.0"
    stored = json.loads(OutputFolder(out, "60px_75um").report("a").read_text())
    assert stored["versions"] == made


def test_a_step_used_twice_is_told_apart(steps: None, analytic: WriteSlide, tmp_path: Path) -> None:
    chosen = pipeline(qc=[{"use": "left", "share": 0.2}, {"use": "left", "share": 0.6}], run={"save_masks": True})

    (report,) = run_pipeline(chosen, [analytic()], tmp_path).slides

    assert set(report.rejected) == {"qc:left", "qc:left-2"}
    assert report.metrics["left.masked"] == pytest.approx(0.2)
    assert report.metrics["left-2.masked"] == pytest.approx(0.6)
    assert len(list(tmp_path.glob("slideloom/*/masks/*.npy"))) == 2


def test_a_slide_is_run_again_when_a_file_that_its_step_reads_changed(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path
) -> None:
    raw(
        "reading_plugin",
        """
        from pathlib import Path
        from typing import ClassVar
        import attrs, numpy as np
        from slideloom import QcResult, Settings, SlideQc, hookimpl, option

        @attrs.frozen
        class FromFile(Settings[SlideQc]):
            "Masks as much as a file says."
            name: ClassVar[str] = "from-file"
            folder: Path = option(help="folder")
            def build(self):
                return FromFileQc(self)
            def files_for(self, slide):
                return [self.folder / f"{slide}.txt"]

        class FromFileQc(SlideQc):
            def __init__(self, settings):
                self.settings = settings
            def assess(self, slide, scene):
                mask = np.zeros((1, 10), bool)
                mask[:, : int((self.settings.folder / f"{slide.info.name}.txt").read_text())] = True
                return QcResult(mask=mask, kind="artifact")

        @hookimpl
        def slideloom_slide_qc():
            return [FromFile]
        """,
    )
    chosen = pipeline(qc=[{"use": "from-file", "folder": str(tmp_path)}])
    (tmp_path / "a.txt").write_text("2")
    (tmp_path / "b.txt").write_text("2")
    slides = [analytic("a"), analytic("b")]
    run_pipeline(chosen, slides, tmp_path / "out")
    (tmp_path / "b.txt").write_text("7")

    report = run_pipeline(chosen, slides, tmp_path / "out")

    assert [slide.status for slide in report.slides] == ["skipped", "done"]


def test_tiles_of_other_settings_that_a_failed_redo_leaves_are_named(
    steps: None, analytic: WriteSlide, tmp_path: Path
) -> None:
    slide = analytic()
    run_pipeline(pipeline(), [slide], tmp_path)
    bad = pipeline(filter=[{"use": "bad", "how": "raises"}], run={"redo": True})

    for _ in range(2):  # also when it fails once more
        (report,) = run_pipeline(bad, [slide], tmp_path).slides
        assert report.status == "failed"
        assert "is still there: raw/a.raw" in report.error
