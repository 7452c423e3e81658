"""A slide's outputs appear together or not at all, replace only what is provably slideloom's, and are made again where
they are no longer whole."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from slideloom.base.geometry import Box
from slideloom.extraction.finished import interrupted
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.running.run import run_pipeline
from slideloom.steps.reports import RunReport, SlideReport

WriteSlide = Callable[..., Path]
LABEL = "60px_75um"

SINKS = """
import os, signal
from pathlib import Path
from typing import ClassVar
import attrs
from slideloom import Draft, OutputError, Prepared, Settings, Sink, Writer, hookimpl, option

@attrs.frozen
class Phased(Settings[Sink]):
    "Pixels as they are, in two phases."
    name: ClassVar[str] = "phased"
    folder: str = option("phased", help="sub-folder")
    inverted: bool = option(False, help="other bytes, as many", omit_default=True)
    def build(self):
        return PhasedSink(self.folder, self.inverted)

class PhasedSink(Sink):
    def __init__(self, folder, inverted):
        self.folder, self.inverted = folder, inverted
    def open(self, info, scene, folder):
        return PhasedWriter(folder / self.folder / f"{info.name}.bin")
    def encode(self, batch):
        return [(255 - rgb if self.inverted else rgb).tobytes() for rgb in batch.rgb]

class PhasedWriter(Writer):
    def __init__(self, path):
        self.draft, self.count = Draft(path), 0
        self.file = self.draft.partial.open("wb")
    def write(self, tiles, encoded):
        for data in encoded:
            self.file.write(data)
        self.count += len(encoded)
    def targets(self):
        return [self.draft.path]
    def prepare(self):
        self.file.close()
        return [Prepared(self.draft.path, self.draft.partial, tiles=self.count)] if self.count else []
    def notes(self):
        return [f"{self.count} tiles in {self.draft.path.name}"] if self.draft.path.exists() else []
    def commit(self):
        self.file.close()
        if not self.count:
            self.draft.withdraw()
            self.abort()
            return []
        return [self.draft.publish()]
    def abort(self):
        self.file.close()
        self.draft.discard()

@attrs.frozen
class Bad(Settings[Sink]):
    "Fails where it is told to."
    name: ClassVar[str] = "bad"
    where: str = option("commit", help="prepare or commit", affects_output=False)
    how: str = option("fails", help="fails, dies, or works", affects_output=False)
    def build(self):
        return BadSink(self)

class BadSink(Sink):
    def __init__(self, settings):
        self.settings = settings
    def open(self, info, scene, folder):
        return (BadPreparing if self.settings.where == "prepare" else BadCommitting)(self.settings)
    def encode(self, batch):
        return [0] * len(batch)

class BadCommitting(Writer):
    def __init__(self, settings):
        self.settings = settings
    def write(self, tiles, encoded):
        pass
    def fail(self):
        if self.settings.how == "dies":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.settings.how == "works":
            return []
        raise OutputError("no room left to write")
    def commit(self):
        return self.fail()
    def abort(self):
        pass

class BadPreparing(BadCommitting):
    def prepare(self):
        return self.fail()

@hookimpl
def slideloom_sinks():
    return [Phased, Bad]
"""


# A run of one process, which ends while the slide's outputs get their names.
DYING = """
import sys
from pathlib import Path
from slideloom import pipeline_from_table, run_pipeline
tiles = {"size_px": 60, "size_um": 75}
sinks = [{"use": "phased", "inverted": "inverted" in sys.argv}, {"use": "bad", "how": "dies"}]
run = {"jobs": 1, "redo": "redo" in sys.argv}
table = {"slideloom": 1, "tiles": tiles, "filter": [], "sink": sinks, "run": run}
run_pipeline(pipeline_from_table(table, where="test"), [Path(sys.argv[1])], Path(sys.argv[2]))
"""


@pytest.fixture(autouse=True)
def sinks(raw: Callable[..., None]) -> None:
    raw("sinks_plugin", SINKS)


def pipeline(*sinks: dict[str, str], **tables: object) -> Pipeline:
    table = {
        "slideloom": 1,
        "tiles": {"size_px": 60, "size_um": 75},
        "filter": [],
        "sink": list(sinks) or [{"use": "phased"}],
        **tables,
    }
    return pipeline_from_table(table, where="test")


def redone(pipeline: Pipeline) -> Pipeline:
    return attrs.evolve(pipeline, run=attrs.evolve(pipeline.run, redo=True))


def run(pipeline: Pipeline, slide: Path, out: Path) -> SlideReport:
    return whole_run(pipeline, slide, out).slides[0]


def whole_run(pipeline: Pipeline, slide: Path, out: Path) -> RunReport:
    return run_pipeline(pipeline, [slide], out)


def files(out: Path) -> dict[str, bytes]:
    """Everything but the run's own account."""
    return {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
        and path.relative_to(out).parts[0] not in ("slideloom", "extraction_report.json", "errors.csv")
    }


def test_what_a_writer_notes_is_in_the_warnings_of_the_slide(analytic: WriteSlide, tmp_path: Path) -> None:
    report = run(pipeline(), analytic(), tmp_path / "out")

    assert report.warnings == (f"{report.written} tiles in a.bin",)


@pytest.mark.parametrize("first", ["phased", "raw"])
@pytest.mark.parametrize("where", ["prepare", "commit"])
def test_a_slide_whose_second_sink_fails_leaves_nothing_of_the_first(
    analytic: WriteSlide, tmp_path: Path, first: str, where: str
) -> None:
    report = run(pipeline({"use": first}, {"use": "bad", "where": where}), analytic(), tmp_path / "out")

    assert (report.status, report.error) == ("failed", "no room left to write")
    assert files(tmp_path / "out") == {}


def test_a_slide_whose_worker_dies_while_it_is_published_leaves_nothing(analytic: WriteSlide, tmp_path: Path) -> None:
    sinks = ({"use": "phased"}, {"use": "bad", "how": "dies"})

    report = run(pipeline(*sinks, run={"jobs": 2}), analytic(), tmp_path / "out")

    assert "died twice" in report.error
    assert files(tmp_path / "out") == {}
    assert not list((tmp_path / f"out/slideloom/{LABEL}/publishing").iterdir())


def test_an_earlier_result_is_back_when_a_worker_dies_on_its_redo(analytic: WriteSlide, tmp_path: Path) -> None:
    slide, out = analytic(width=600, height=600), tmp_path / "out"
    assert run(pipeline(), slide, out).status == "done"
    before = files(out)
    wider = {"slides": {"mpp": 0.25}, "run": {"jobs": 2, "redo": True}}

    report = run(pipeline({"use": "phased"}, {"use": "bad", "how": "dies"}, **wider), slide, out)

    assert "died twice" in report.error
    assert files(out) == before


def test_an_earlier_result_is_back_when_its_redo_fails_at_the_end(analytic: WriteSlide, tmp_path: Path) -> None:
    out, slide = tmp_path / "out", analytic()
    run(pipeline(), slide, out)
    before = files(out)

    changed = {"tiles": {"size_px": 60, "size_um": 75, "stride_div": 2}}
    report = run(redone(pipeline({"use": "phased"}, {"use": "bad"}, **changed)), slide, out)

    assert report.status == "failed"
    assert list(before) == ["phased/a.bin"]
    assert files(out) == before
    assert "is still there: phased/a.bin" in report.error


@pytest.mark.parametrize("how", ["fails", "dies"])
def test_what_can_be_taken_back_is_where_one_output_cannot_be_removed(
    analytic: WriteSlide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    out = tmp_path / "out"
    stuck = out / "two" / "a.bin"

    def unlink(path: Path, missing_ok: bool = False) -> None:
        if path == stuck:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        removed(path, missing_ok=missing_ok)

    removed = Path.unlink
    monkeypatch.setattr(Path, "unlink", unlink)
    sinks = [{"use": "phased", "folder": name} for name in ("one", "two", "three")]
    report = run(pipeline(*sinks, {"use": "bad", "how": how}, run={"jobs": 2 if how == "dies" else 1}), analytic(), out)

    assert report.status == "failed"
    # What a process that died had moved aside is hidden, and goes with the next run.
    assert [name for name in files(out) if not Path(name).name.startswith(".")] == ["two/a.bin"]


def test_a_slide_whose_tile_table_cannot_be_written_leaves_nothing(analytic: WriteSlide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    state = OutputFolder(out, LABEL).state
    state.mkdir(parents=True)
    (state / "tiles").write_text("in the way")

    report = run(pipeline(), analytic(), out)

    assert report.status == "failed"
    assert files(out) == {}


def test_a_slide_whose_report_cannot_be_written_leaves_nothing(analytic: WriteSlide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    OutputFolder(out, LABEL).report("a").mkdir(parents=True)

    report = run(pipeline(), analytic(), out)

    assert report.status == "failed"
    assert files(out) == {}
    assert not OutputFolder(out, LABEL).tile_table("a").exists()


def test_what_a_killed_run_named_before_its_report_is_made_again(analytic: WriteSlide, tmp_path: Path) -> None:
    out, slide = tmp_path / "out", analytic()
    killed = [sys.executable, "-c", DYING, str(slide), str(out)]
    assert subprocess.run(killed, check=False).returncode == -signal.SIGKILL
    assert "phased/a.bin" in files(out)

    report = run(redone(pipeline()), slide, out)

    assert report.status == "done"
    assert list(files(out)) == ["phased/a.bin"]
    assert not OutputFolder(out, LABEL).publishing("a").exists()


@pytest.mark.parametrize("is_other", [True, False], ids=["other settings", "same settings"])
def test_a_redo_that_is_killed_leaves_no_slide_that_passes_for_finished(
    analytic: WriteSlide, tmp_path: Path, is_other: bool
) -> None:
    """The new tiles have the sizes of the old ones, whose report is still there."""
    slide, out = analytic(), tmp_path / "out"
    works = {"use": "bad", "how": "works"}
    old, new = pipeline({"use": "phased"}, works), pipeline({"use": "phased", "inverted": is_other}, works)
    before = run(old, slide, out)
    tiles = (out / "phased/a.bin").read_bytes()
    words = [str(slide), str(out), "redo", *(["inverted"] if is_other else [])]
    assert subprocess.run([sys.executable, "-c", DYING, *words], check=False).returncode == -signal.SIGKILL
    assert (out / "phased/a.bin").read_bytes() == (bytes(255 - byte for byte in tiles) if is_other else tiles)
    folder = OutputFolder(out, LABEL)
    stored = SlideReport.load(folder.report("a"))
    assert (stored.digest, stored.sizes["phased/a.bin"].bytes) == (before.digest, len(tiles))

    assert "phased/a.bin" in (interrupted(folder, "a") or {})  # so neither checks nor loaders believe the report
    away = slide.rename(tmp_path / "away")
    lost = run(new, slide, out)
    assert (lost.status, "stays finished" in lost.error) == ("failed", False)
    assert interrupted(folder, "a") is not None
    away.rename(slide)

    assert run(new, slide, out).status == "done"
    assert interrupted(folder, "a") is None
    whole = run(new, slide, tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")
    assert whole.written == before.written


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: path.write_bytes(b""), "phased/a.bin holds 0 bytes instead of"),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "phased/a.bin holds"),
        (Path.unlink, "phased/a.bin is gone"),
    ],
    ids=["emptied", "cut", "deleted"],
)
def test_an_output_that_is_no_longer_whole_is_made_again(
    analytic: WriteSlide, tmp_path: Path, damage: Callable[[Path], object], said: str
) -> None:
    out, slide = tmp_path / "out", analytic()
    run(pipeline(), slide, out)
    whole = files(out)
    damage(out / "phased" / "a.bin")

    report = run(pipeline(), slide, out)

    assert report.status == "done"
    assert any(warning.startswith(f"made again: {said}") for warning in report.warnings)
    assert files(out) == whole
    assert run(pipeline(), slide, out).status == "skipped"


def test_a_slide_whose_tile_table_is_gone_is_made_again(analytic: WriteSlide, tmp_path: Path) -> None:
    out, slide = tmp_path / "out", analytic()
    first = run(pipeline(), slide, out)
    (out / first.tile_table).unlink()

    assert run(pipeline(), slide, out).status == "done"
    assert (out / first.tile_table).exists()


@pytest.mark.parametrize("text", ["[]", "{", '{"slide": "a", "status": "done", "planned": "many"}', '"text"', "null"])
def test_a_report_that_is_none_is_named_and_its_slide_made_again(
    analytic: WriteSlide, tmp_path: Path, text: str
) -> None:
    out, slide = tmp_path / "out", analytic()
    run(pipeline({"use": "raw"}), slide, out)
    OutputFolder(out, LABEL).report("a").write_text(text)

    report = run(pipeline({"use": "raw"}), slide, out)

    assert report.status == "done"
    assert "made again: the report of an earlier run cannot be read" in report.warnings[-1]


def test_a_report_that_names_files_outside_of_its_folder_is_not_believed(analytic: WriteSlide, tmp_path: Path) -> None:
    out, slide = tmp_path / "out", analytic()
    run(pipeline(), slide, out)
    path = OutputFolder(out, LABEL).report("a")
    table = json.loads(path.read_text())
    path.write_text(json.dumps({**table, "outputs": ["../../../../etc/passwd"]}))
    (out / "phased" / "a.bin").unlink()

    assert run(pipeline(), slide, out).status == "done"


@pytest.mark.parametrize("tiles", [{}, {"roi": []}], ids=["tiles", "no tiles"])
def test_a_file_of_another_program_is_refused_by_name(
    analytic: WriteSlide, tmp_path: Path, tiles: dict[str, object]
) -> None:
    out, slide = tmp_path / "out", analytic(**({"width": 100, "height": 100} if tiles else {}))
    (out / "phased").mkdir(parents=True)
    (out / "phased" / "a.bin").write_bytes(b"of another program")

    for _ in range(2):  # the report of the refusal is no proof
        report = run(pipeline(), slide, out)
        assert report.status == "failed"
        assert "phased/a.bin: no slideloom report names it" in report.error.replace("\\", "/")
        assert "redo" in report.error
        assert report.foreign == ("phased/a.bin",)
        assert files(out) == {"phased/a.bin": b"of another program"}


def test_a_redo_moves_a_file_of_another_program_aside_and_says_so(analytic: WriteSlide, tmp_path: Path) -> None:
    out, slide = tmp_path / "out", analytic()
    (out / "phased").mkdir(parents=True)
    (out / "phased" / "a.bin").write_bytes(b"of another program")

    report = run(redone(pipeline()), slide, out)

    (aside,) = (name for name in files(out) if ".foreign-" in name)
    assert report.status == "done"
    assert files(out)[aside] == b"of another program"
    assert any(aside.removeprefix("phased/") in warning for warning in report.warnings)
    assert run(pipeline(), slide, out).status == "skipped"


def test_a_failed_redo_leaves_the_file_of_another_program_where_it_was(analytic: WriteSlide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    (out / "phased").mkdir(parents=True)
    (out / "phased" / "a.bin").write_bytes(b"of another program")

    report = run(redone(pipeline({"use": "phased"}, {"use": "bad"})), analytic(), out)

    assert report.status == "failed"
    assert files(out) == {"phased/a.bin": b"of another program"}


def test_what_took_the_place_of_an_output_is_not_lost_when_the_slide_is_made_again(
    analytic: WriteSlide, tmp_path: Path
) -> None:
    out, slide = tmp_path / "out", analytic()
    run(pipeline(), slide, out)
    (out / "phased" / "a.bin").write_bytes(b"written over by somebody")

    assert run(pipeline(), slide, out).status == "done"

    (aside,) = (name for name in files(out) if ".damaged-" in name)
    assert files(out)[aside] == b"written over by somebody"


def test_outputs_of_sinks_that_a_redo_leaves_out_stay_and_are_named(analytic: WriteSlide, tmp_path: Path) -> None:
    out, slide = tmp_path / "out", analytic()
    run(pipeline({"use": "phased"}, {"use": "raw"}), slide, out)

    report = run(redone(pipeline({"use": "raw"})), slide, out)

    assert report.outputs == ("raw/a.raw",)
    assert list(report.left) == ["phased/a.bin"]
    assert any("still there: phased/a.bin" in warning for warning in report.warnings)
    # And are still known to be ours.
    assert run(redone(pipeline()), slide, out).status == "done"


def test_a_slide_with_unreadable_tiles_is_tried_again(analytic: WriteSlide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    damaged = analytic(damaged=[Box(1500, 320, 10, 10)])
    first = run(pipeline(), damaged, out)

    again = run(pipeline(), damaged, out)

    assert (first.status, first.unreadable) == ("done", 1)
    assert (again.status, again.unreadable) == ("done", 1)
    assert "made again: tiles unreadable in the run before: 1" in again.warnings
    assert not whole_run(pipeline(), damaged, out).failed

    repaired = run(pipeline(), analytic(), out)
    assert (repaired.status, repaired.unreadable) == ("done", 0)


def test_a_slide_of_which_no_tile_can_be_read_fails(analytic: WriteSlide, tmp_path: Path) -> None:
    report = run(pipeline(), analytic(damaged=[Box(0, 0, 2200, 1800)]), tmp_path / "out")

    assert report.status == "failed"
    assert "a: none of the 168 tiles tried could be read" in report.error
    assert files(tmp_path / "out") == {}


def test_files_of_others_that_have_the_names_of_a_runs_own_files_are_moved_aside(
    analytic: WriteSlide, tmp_path: Path
) -> None:
    out, slide = tmp_path / "out", analytic()
    out.mkdir()
    names = {"errors.csv": "of another program", "extraction_report.json": "[1]"}
    for name, text in names.items():
        (out / name).write_text(text)

    run(pipeline(), slide, out)
    run(pipeline({"use": "raw"}, {"use": "bad"}, tiles={"size_px": 30, "size_um": 75}), slide, out)
    run(pipeline(), slide, out)

    asides = {path.name.partition(".foreign-")[0]: path.read_text() for path in out.glob("*.foreign-*")}
    assert asides == names


def test_lines_of_other_slides_stay_in_the_list_of_blurred_ones(analytic: WriteSlide, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "high_blur_burden.txt").write_text("a,0.3000\nother,0.2000\n")

    run(pipeline(), analytic(), out)

    assert (out / "high_blur_burden.txt").read_text() == "other,0.2000\n"
