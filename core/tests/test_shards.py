"""Shards: which slides each run has, and how runs in one folder keep out of each other's way."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom.base.errors import ConfigError, OutputError
from slideloom.extraction.finished import reports_in
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import pipeline_from_table
from slideloom.pipeline.pipeline import Pipeline
from slideloom.running.run import run_pipeline
from slideloom.running.shards import Shard, shards_at_work
from slideloom.slides.names import NamedSlide
from slideloom.steps.reports import RunReport, SlideReport

pytestmark = pytest.mark.slow
WriteSlide = Callable[..., Path]


def pipeline(shard: str | None = None) -> Pipeline:
    run = {} if shard is None else {"shard": shard}
    tiles = {"size_px": 60, "size_um": 75}
    table = {"slideloom": 1, "tiles": tiles, "filter": [], "sink": [{"use": "raw"}], "run": run}
    return pipeline_from_table(table, where="test")


@pytest.fixture
def folder(tmp_path: Path) -> OutputFolder:
    made = OutputFolder(tmp_path / "out", "60px_75um")
    made.state.mkdir(parents=True)
    return made


def files(where: Path, sizes: dict[str, int]) -> list[NamedSlide]:
    paths = [where / f"{name}.svs" for name in sizes]
    for path, size in zip(paths, sizes.values(), strict=True):
        path.write_bytes(bytes(size))
    return [NamedSlide.of(path) for path in paths]


def names_of(slides: list[NamedSlide]) -> set[str]:
    return {slide.name for slide in slides}


@pytest.mark.parametrize(("text", "shard"), [("1/1", Shard(1, 1)), ("3/16", Shard(3, 16)), ("16/16", Shard(16, 16))])
def test_a_shard_is_named_by_its_number_and_how_many_there_are(text: str, shard: Shard) -> None:
    assert Shard.parse(text) == shard


@pytest.mark.parametrize("text", ["0/4", "5/4", "1/0", "1", "a/b", "-1/4", "1/4/2", ""])
def test_a_shard_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="shard must be K/N with K from 1 to N"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("environment", "shard"),
    [
        ({"SLURM_ARRAY_TASK_ID": "0", "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "15"}, Shard(1, 16)),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "15",
          "SLURM_ARRAY_TASK_STEP": "2"}, Shard(4, 8)),
        ({"SGE_TASK_ID": "3", "SGE_TASK_FIRST": "1", "SGE_TASK_LAST": "4", "SGE_TASK_STEPSIZE": "1"}, Shard(3, 4)),
        ({"LSB_JOBINDEX": "2", "LSB_JOBINDEX_END": "9"}, Shard(2, 9)),
        ({"SGE_TASK_ID": "undefined", "LSB_JOBINDEX": "0", "SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_MIN": "1",
          "SLURM_ARRAY_TASK_MAX": "2"}, Shard(2, 2)),
    ],
)  # fmt: skip
def test_in_a_job_array_the_scheduler_says_which_shard_this_is(environment: dict[str, str], shard: Shard) -> None:
    assert Shard.parse("auto", environment) == shard


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({}, "no task of a Slurm, Grid Engine or LSF job array; give K/N"),
        ({"LSB_JOBINDEX": "0"}, "no task of a Slurm"),
        ({"PBS_ARRAY_INDEX": "3"}, r"PBS does not tell how many tasks there are; give \$PBS_ARRAY_INDEX/N"),
        ({"SLURM_ARRAY_TASK_ID": "3"}, "Slurm sets SLURM_ARRAY_TASK_ID but not SLURM_ARRAY_TASK_MAX"),
    ],
)
def test_outside_of_a_job_array_auto_says_what_to_give(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Shard.parse("auto", environment)


def test_every_slide_is_in_one_shard_and_shards_have_as_many_bytes(folder: OutputFolder, tmp_path: Path) -> None:
    sizes = {f"s{number}": 1000 * (number % 7 + 1) for number in range(40)}
    slides = files(tmp_path, sizes)
    shares = [Shard(number, 4).share(folder, slides) for number in range(1, 5)]

    assert sorted(slide.name for share in shares for slide in share) == sorted(sizes)
    loads = [sum(sizes[slide.name] for slide in share) for share in shares]
    assert max(loads) - min(loads) <= 1000


def test_slides_that_come_later_change_no_slide_s_shard(folder: OutputFolder, tmp_path: Path) -> None:
    slides = files(tmp_path, {f"s{number}": number for number in range(9)})
    before = names_of(Shard(2, 3).share(folder, slides))
    more = [*files(tmp_path, {f"a{number}": 5 for number in range(30)}), *slides]

    shares = [names_of(Shard(number, 3).share(folder, more)) for number in (3, 1, 2)]
    assert sum(map(len, shares)) == 39
    assert set.union(*shares) == names_of(more)
    assert before <= shares[2]
    assert all(shares)


def test_another_number_of_shards_divides_anew_unless_one_is_at_work(folder: OutputFolder, tmp_path: Path) -> None:
    slides = files(tmp_path, {"a": 1, "b": 1, "c": 1, "d": 1})
    Shard(1, 4).share(folder, slides)
    with Shard(1, 4).at_work(folder):
        assert shards_at_work(folder) == ["60px_75um.1-of-4"]
        with pytest.raises(OutputError, match="shards of 4 are at work, this is one of 2"):
            Shard(1, 2).share(folder, slides)

    assert shards_at_work(folder) == []
    assert len(Shard(1, 2).share(folder, slides)) == 2


@pytest.mark.parametrize("content", ["", "[]", '{"of": 2}', '{"of": 2, "slides": {"a": "x"}}'])
def test_a_damaged_list_of_shards_is_made_anew_unless_one_is_at_work(
    folder: OutputFolder, tmp_path: Path, content: str
) -> None:
    slides = files(tmp_path, {"a": 1, "b": 1})
    (folder.state / "shards.json").write_text(content)
    with Shard(2, 2).at_work(folder), pytest.raises(OutputError, match=r"shards\.json: cannot be read"):
        Shard(1, 2).share(folder, slides)

    assert len(Shard(1, 2).share(folder, slides)) == 1


def test_a_shard_works_once_and_no_run_without_a_shard_meanwhile(
    raw: object, analytic: WriteSlide, folder: OutputFolder
) -> None:
    slide = analytic()
    with Shard(1, 2).at_work(folder):
        with pytest.raises(OutputError, match="shard 1/2 is at work already"):
            run_pipeline(pipeline("1/2"), [slide], folder.root)
        with pytest.raises(OutputError, match=r"shards work in this folder \(60px_75um.1-of-2\)"):
            run_pipeline(pipeline(), [slide], folder.root)
    with folder.locked(), pytest.raises(OutputError, match="another run works in this folder"):
        run_pipeline(pipeline("1/2"), [slide], folder.root)


def test_the_last_shard_tells_of_all_slides(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    slides = [analytic(name) for name in ("a", "b", "c", "d", "e")]
    broken = tmp_path / "slides" / "f.json"
    broken.write_text("{}")
    runs = [run_pipeline(pipeline(f"{number}/3"), [*slides, broken], tmp_path / "out") for number in (1, 2, 3)]

    told = [report.slide for run in runs for report in run.slides]
    assert sorted(told) == ["a", "b", "c", "d", "e", "f"]
    stored = json.loads((tmp_path / "out" / "extraction_report.json").read_text())
    statuses = {slide["slide"]: slide["status"] for slide in stored["slides"]}
    assert statuses == {**dict.fromkeys("abcde", "done"), "f": "failed"}
    errors = (tmp_path / "out" / "errors.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in errors[1:]] == ["f"]
    assert sorted(path.stem for path in (tmp_path / "out" / "raw").glob("*.raw")) == ["a", "b", "c", "d", "e"]


def test_a_shard_that_ends_while_another_is_at_work_leaves_the_folder_s_files_to_it(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    slides = [analytic(name) for name in ("a", "b", "c", "d")]
    folder = OutputFolder(tmp_path / "out", "60px_75um")
    with Shard(2, 2).at_work(folder):
        first = run_pipeline(pipeline("1/2"), slides, folder.root)
        assert first.is_left
        assert not (folder.root / "extraction_report.json").exists()
        assert shards_at_work(folder) == ["60px_75um.2-of-2"]
    last = run_pipeline(pipeline("2/2"), slides, folder.root)

    assert not last.is_left
    stored = json.loads((folder.root / "extraction_report.json").read_text())
    assert [slide["slide"] for slide in stored["slides"]] == ["a", "b", "c", "d"]
    assert len(first.slides) + len(last.slides) == 4


def test_a_shard_waits_for_one_that_begins_or_ends(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    slides, folder, ended = [analytic("a")], OutputFolder(tmp_path / "out", "60px_75um"), threading.Event()

    def work() -> None:
        run_pipeline(pipeline("2/2"), slides, folder.root)
        ended.set()

    with folder.locked(by="shard 1/2"):
        thread = threading.Thread(target=work)
        thread.start()
        assert not ended.is_set()
    thread.join()

    assert ended.is_set()
    assert (folder.root / "extraction_report.json").exists()


def test_the_report_for_people_is_asked_for_by_the_last_shard_only(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path
) -> None:
    raw(
        "watching_plugin",
        """
        from pathlib import Path
        from slideloom import hookimpl

        @hookimpl
        def slideloom_run_done(report, out):
            asked = report.pipeline["run"]["report"]
            with Path(out, "told.txt").open("a") as file:
                file.write(f"{len(report.slides)} {asked}\\n")
        """,
    )
    slides = [analytic(name) for name in ("a", "b", "c", "d")]
    for number in (2, 1):
        table = {"slideloom": 1, "tiles": {"size_px": 60, "size_um": 75}, "filter": [], "sink": [{"use": "raw"}],
                 "run": {"shard": f"{number}/2", "report": True}}  # fmt: skip
        run_pipeline(pipeline_from_table(table, where="test"), slides, tmp_path / "out")

    assert (tmp_path / "out" / "told.txt").read_text().splitlines() == ["2 False", "4 True"]


def test_a_dry_run_of_a_shard_decides_on_its_share_and_writes_nothing(
    raw: object, analytic: WriteSlide, tmp_path: Path
) -> None:
    slides = [analytic(name) for name in ("a", "b", "c", "d")]
    runs: list[RunReport] = [
        run_pipeline(pipeline(f"{number}/2"), slides, tmp_path / "out", dry_run=True) for number in (1, 2)
    ]

    assert sorted(report.slide for run in runs for report in run.slides) == ["a", "b", "c", "d"]
    assert not (tmp_path / "out").exists()


def test_a_shard_that_is_run_again_skips_what_it_finished(raw: object, analytic: WriteSlide, tmp_path: Path) -> None:
    slides = [analytic(name) for name in ("a", "b", "c", "d")]
    for status in ("done", "skipped"):
        for number in (1, 2):
            run = run_pipeline(pipeline(f"{number}/2"), slides, tmp_path / "out")
            assert [report.status for report in run.slides] == [status, status]
    reports = [report for _, report in reports_in(OutputFolder(tmp_path / "out", "60px_75um"))]
    assert all(isinstance(report, SlideReport) for report in reports)
    assert len(reports) == 4
