"""The command line: what it prints, and its exit code."""

from __future__ import annotations

import atexit
import csv
import ctypes
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

import pytest
from slideloom.base.errors import ConfigError
from slideloom.plugins.shorthand import step_table
from slideloom_cli.extract import kept_when_interrupted
from slideloom_cli.main import entry, main
from slideloom_cli.output import end_output

WriteSlide = Callable[..., Path]
TILES = ["--tile-px", "60", "--tile-um", "75", "--filter", "none", "--sink", "raw"]


@pytest.fixture(autouse=True)
def plugins(raw: Callable[..., None]) -> None:
    """The analytic reader and the raw sink."""


def test_extract_returns_0_and_prints_a_report_for_programs(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["extract", str(analytic()), *TILES, "--out", str(tmp_path / "out"), "--json"])

    printed = capsys.readouterr()
    report = json.loads(printed.out)
    assert code == 0
    assert report["slides"][0]["written"] == report["slides"][0]["planned"] > 0
    assert "tiles" in printed.err


# Its filter prints in every way there is.
LOUD = """
import atexit, ctypes, os, subprocess, sys
from sys import stdout as kept
from typing import ClassVar
import attrs, numpy as np
from slideloom import Settings, TileFilter, Verdict, hookimpl

atexit.register(lambda: print("said at exit"))

@attrs.frozen
class Loud(Settings[TileFilter]):
    "Prints."
    name: ClassVar[str] = "loud"
    def build(self):
        return LoudFilter()

class LoudFilter(TileFilter):
    def check(self, batch):
        print("said by print")
        kept.write("said by who kept the stream\\n")
        os.write(1, b"said by the system\\n")
        subprocess.run([sys.executable, "-c", "print('said by another process')"], check=True)
        if os.name != "nt":
            ctypes.CDLL(None).printf(b"said by native code\\n")
        return Verdict(keep=np.ones(len(batch), bool), score=np.zeros(len(batch), np.float32))

@hookimpl
def slideloom_tile_filters():
    return [Loud]
"""


@pytest.mark.parametrize("jobs", [1, 2])
def test_json_is_one_document_whatever_steps_print(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path, jobs: int
) -> None:
    raw("loud_plugin", LOUD)
    slides = [str(analytic(name, width=400, height=400)) for name in "ab"]
    options = [*TILES, "--filter", "loud", "--jobs", str(jobs), "--out", str(tmp_path / "out"), "--json"]

    done = subprocess.run(
        [sys.executable, "-m", "slideloom", "extract", *slides, *options], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert [slide["status"] for slide in json.loads(done.stdout)["slides"]] == ["done", "done"]
    for way in ("by print", "by who kept the stream", "by the system", "by another process", "at exit"):
        assert f"said {way}\n" in done.stderr
    if os.name != "nt":
        assert "said by native code\n" in done.stderr


def test_json_is_one_document_in_the_same_process_too(
    raw: Callable[..., None], analytic: WriteSlide, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    raw("loud_plugin", LOUD.replace("atexit.register", "print"))  # this process ends after the test

    main(["extract", str(analytic()), *TILES, "--filter", "loud", "--out", str(tmp_path / "out"), "--json"])
    if os.name != "nt":
        ctypes.CDLL(None).fflush(None)  # as the C library does when its buffer is full

    printed = capfd.readouterr()
    assert json.loads(printed.out)["slides"][0]["status"] == "done"
    assert "said by print\n" in printed.err
    assert "said by the system\n" in printed.err
    if os.name != "nt":
        assert "said by native code\n" in printed.err


def test_a_program_that_calls_the_command_keeps_its_standard_output(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["slideloom", "plugins", "--json"])

    with pytest.raises(SystemExit):
        entry()
    atexit.unregister(end_output)  # the process that runs tests ends later
    os.write(1, b"of the program\n")

    out = capfd.readouterr().out
    assert out.endswith("]\nof the program\n")
    assert json.loads(out.removesuffix("of the program\n"))


@pytest.mark.parametrize(("given", "threads"), [({}, "1"), ({"OPENBLAS_NUM_THREADS": "3"}, "3")])
def test_numpy_starts_no_threads_for_a_command_unless_the_user_wants_them(given: dict[str, str], threads: str) -> None:
    script = (
        "import atexit, os, sys\n"
        "from slideloom_cli.main import entry\n"
        "before = 'numpy' in sys.modules\n"  # then it would be too late
        "atexit.register(lambda: print(before, os.environ['OPENBLAS_NUM_THREADS'], file=sys.stderr))\n"
        "sys.argv = ['slideloom', '--version']\n"
        "entry()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}

    done = subprocess.run(
        [sys.executable, "-c", script], check=False, capture_output=True, text=True, env={**environment, **given}
    )

    assert done.stderr.split() == ["False", threads], done.stderr


def test_nothing_is_on_standard_output_where_a_run_with_json_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", "gone.svs", *TILES, "--out", str(tmp_path), "--qc", "nothing", "--json"]) == 1

    assert capfd.readouterr().out == ""


def test_json_is_ascii_where_standard_output_takes_no_other_text(
    analytic: WriteSlide, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="cp1252", newline="\n")
    monkeypatch.setattr("sys.stdout", stream)

    main(["info", str(analytic("切片😀")), "--json"])

    stream.flush()
    assert json.loads(stream.buffer.getvalue().decode("ascii"))["slide"] == "切片😀"


def test_a_failed_slide_is_named_with_its_reason_and_the_exit_code_is_1(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.svs"
    bad.touch()

    code = main(["extract", str(analytic()), str(bad), *TILES, "--out", str(tmp_path / "out")])

    printed = capsys.readouterr()
    assert code == 1
    assert "bad.svs: the file is empty" in printed.err
    assert printed.out == ""
    assert (tmp_path / "out" / "raw" / "a.raw").exists()


def test_a_slide_is_named_as_it_is_called_and_no_sign_is_made_of_it(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slide = analytic("HE:x:[red]1")

    assert main(["extract", str(slide), *TILES, "--out", str(tmp_path / "out")]) == 0
    assert "HE:x:[red]1: " in capsys.readouterr().err
    assert main(["info", str(slide)]) == 0
    assert "HE:x:[red]1" in capsys.readouterr().out


def test_a_slide_without_tiles_is_loud(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    main(["extract", str(analytic(width=100, height=100)), *TILES, "--out", str(tmp_path / "out")])

    assert "NO TILES a: no tile fits on the slide" in capsys.readouterr().err


def test_a_wrong_option_is_refused_before_anything_is_read(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["extract", str(analytic()), *TILES[:4], "--sink", "rwa", "--out", str(tmp_path / "out")])

    assert code == 1
    assert "no sink is named 'rwa' (did you mean 'raw'?)" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_pipeline_file_is_checked_and_run(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    analytic()
    file = tmp_path / "p.toml"
    file.write_text(
        'slideloom = 1\nfilter = []\n[slides]\ninclude = ["slides/*.json"]\n[tiles]\nsize_px = 60\nsize_um = 75\n'
        '[[sink]]\nuse = "raw"\n'
    )

    assert main(["check", str(file)]) == 0
    assert "1 slide; 60px_75um" in capsys.readouterr().out
    assert main(["run", str(file), "--threads", "1"]) == 0
    assert (tmp_path / "raw" / "a.raw").exists()


def test_check_prints_every_mistake(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.toml"
    file.write_text("slideloom = 1\n[tiles]\nsize_px = 60\nsize = 3\n[runn]\n")

    assert main(["check", str(file)]) == 1
    printed = capsys.readouterr().err
    assert "unknown key 'size'" in printed
    assert "unknown table 'runn' (did you mean 'run'?)" in printed


def test_info_tells_levels_and_resolution(analytic: WriteSlide, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(analytic(downsamples=[1, 4])), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)

    assert facts["size"] == "2200 x 1800"
    assert len(facts["levels"]) == 2
    assert facts["mpp"].startswith("0.5 x 0.5 um per pixel")


def test_info_of_many_slides_is_a_table_with_what_cannot_be_read(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, mpp in (("a", 0.25), ("b", None)):
        analytic(name, width=2000, height=1000, mpp=mpp)
    (tmp_path / "slides" / "broken.json").write_text("{}")
    pattern = str(tmp_path / "slides" / "*.json")

    assert main(["info", pattern, "--csv"]) == 1
    rows = {row["slide"]: row for row in csv.DictReader(io.StringIO(capsys.readouterr().out))}
    assert (rows["a"]["width"], rows["a"]["height"], rows["a"]["mpp_x"]) == ("2000", "1000", "0.25")
    assert (rows["b"]["mpp_x"], rows["b"]["reader"]) == ("", "analytic")
    assert "no microns per pixel recorded" in rows["b"]["problem"]
    assert (rows["broken"]["reader"], "broken.json" in rows["broken"]["problem"]) == ("", True)

    assert main(["info", pattern, "--json"]) == 1
    by_slide = {facts["slide"]: facts for facts in json.loads(capsys.readouterr().out)}
    assert by_slide["a"]["size"] == "2000 x 1000"
    assert "broken.json" in by_slide["broken"]["error"]

    assert main(["info", pattern]) == 1
    printed = capsys.readouterr()
    assert "2000 x 1000" in printed.out
    assert printed.err == "3 slides, 1 of them cannot be read\n"


def test_an_option_that_is_given_twice_is_told(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["extract", str(analytic()), *TILES, "--qc", "otsu", "--qc", "tissue", "--out", str(tmp_path / "o")]
    assert main([*words, "--tile-px", "61", "--json"]) == 0

    printed = capsys.readouterr()
    assert json.loads(printed.out)["slides"][0]["tile_px"] == 61
    assert [line for line in printed.err.splitlines() if "twice" in line] == [
        "warning: --tile-px is given twice; 61 counts, not 60"
    ]


def test_slides_of_the_mpp_file_that_are_not_in_the_run_are_told(
    analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tmp_path / "mpp.csv"
    table.write_text("slide,mpp\na,0.5\nslide_b,0.5\n", encoding="utf-8")
    words = ["extract", str(analytic("a")), *TILES, "--mpp-file", str(table), "--out", str(tmp_path / "o")]

    assert main(words) == 0
    assert "mpp.csv names 1 slide that is not in this run: slide_b" in capsys.readouterr().err


def test_plugins_lists_steps_with_options(capsys: pytest.CaptureFixture[str]) -> None:
    main(["plugins", "--json"])
    listed = {plugin["dist"]: plugin for plugin in json.loads(capsys.readouterr().out)}
    (sink,) = [step for step in listed["raw_plugin"]["steps"] if step["kind"] == "sink"]

    assert sink["options"]["folder"] == {
        "type": "text",
        "required": False,
        "default": "raw",
        "help": "sub-folder",
        "unit": "",
        "range": "",
    }


def test_a_broken_plugin_shows_and_gives_exit_code_1(
    raw: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    raw("broken_plugin", "import no_such_thing")

    assert main(["plugins", "-v"]) == 1
    assert "no_such_thing" in capsys.readouterr().out


def test_a_plugin_adds_a_command(raw: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    raw(
        "hello_plugin",
        """
        from slideloom import Command, hookimpl

        def configure(parser):
            parser.add_argument("who")

        def run(chosen):
            print("hello", chosen.who)
            return 7

        @hookimpl
        def slideloom_commands():
            return [Command(name="hello", help="say hello", configure=configure, run=run)]
        """,
    )

    assert main(["hello", "you"]) == 7
    assert capsys.readouterr().out == "hello you\n"


@pytest.mark.parametrize(("kept", "said"), [("", ""), ("half is kept", "; half is kept")])
def test_a_command_that_is_stopped_says_what_is_true_of_it(
    raw: Callable[..., None], capsys: pytest.CaptureFixture[str], kept: str, said: str
) -> None:
    raw(
        "stop_plugin",
        f"""
        from slideloom import Command, hookimpl

        def run(chosen):
            chosen.interrupted = {kept!r}
            raise KeyboardInterrupt

        @hookimpl
        def slideloom_commands():
            return [Command(name="stop", help="stop", configure=lambda parser: None, run=run)]
        """,
    )

    assert main(["stop"]) == 130
    assert capsys.readouterr().err == f"slideloom: interrupted{said}\n"


def test_a_run_that_is_stopped_says_what_is_kept_and_how_to_go_on() -> None:
    assert kept_when_interrupted(redo=False, dry_run=False) == "finished slides are kept, run again to go on"
    assert kept_when_interrupted(redo=True, dry_run=False) == (
        "finished slides are kept, run again without --redo to go on"
    )
    assert kept_when_interrupted(redo=False, dry_run=True) == "nothing was written"


def test_tiles_writes_csv_and_geojson(analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slide = str(analytic())
    tiles = ["--tile-px", "60", "--tile-um", "75"]

    assert main(["tiles", slide, *tiles]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert rows[0] == "loc_x,loc_y,grid_x,grid_y,roi_name,roi_desc,label,status"
    assert main(["tiles", slide, *tiles, "--out", str(tmp_path / "t.geojson")]) == 0
    assert len(json.loads((tmp_path / "t.geojson").read_text())["features"]) == len(rows) - 1
    assert main(["tiles", slide, *tiles, "--out", str(tmp_path / "t.xls")]) == 1


@pytest.mark.parametrize(
    "words",
    [
        ["--use-bounds"],
        ["--edge-tiles", "--stride-div", "2"],
        ["--use-edge-tiles"],
        ["--random-origin", "--seed", "3"],
        ["--mpp", "0.4"],
        ["--mpp-file", "mpp.csv"],
        ["--placement", "grid:use_bounds=true"],
        ["--tile-um", "10x", "--no-downsample"],
        ["--reader", "analytic"],
    ],
    ids=lambda words: words[0],
)
def test_tiles_are_where_extract_cuts_them_with_the_same_options(
    words: list[str],
    analytic: WriteSlide,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mpp.csv").write_text("slide,mpp\na,0.4\n")
    slide = str(analytic(bounds=(333, 222, 1500, 1200), mpp=1.0 if "10x" in words else 0.5))

    assert main(["extract", slide, *TILES, *words, "--out", "out"]) == 0
    capsys.readouterr()
    assert main(["tiles", slide, "--tile-px", "60", "--tile-um", "75", *words]) == 0

    (table,) = Path("out/slideloom").glob("*/tiles/a.csv")
    cut = list(csv.DictReader(io.StringIO(table.read_text())))
    listed = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert listed == [{**row, "status": "kept"} for row in cut]
    assert {row["status"] for row in cut} == {"written"}


def test_tiles_tells_a_wrong_option_as_extract_does(analytic: WriteSlide, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiles", str(analytic()), "--tile-px", "60", "--tile-um", "wide"]) == 1
    assert "--tile-um must be a number of microns or a magnification" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "table"),
    [
        ("otsu", {"use": "otsu"}),
        ("otsu:level=2,scale=0.5", {"use": "otsu", "level": 2, "scale": 0.5}),
        ("macenko:target=v3,fast=true", {"use": "macenko", "target": "v3", "fast": True}),
        ('a:list=[1,2],word="x,y"', {"use": "a", "list": [1, 2], "word": "x,y"}),
        ("roi:folder=some/dir-1", {"use": "roi", "folder": "some/dir-1"}),
    ],
)
def test_steps_on_the_command_line_are_tables(text: str, table: dict[str, object]) -> None:
    assert step_table(text) == table


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--roi", ".", "--roi-filter", "half"], "--roi-filter must be center or a share from 0 to 1, not 'half'"),
        (["--tile-um", "wide"], "--tile-um must be a number of microns or a magnification such as \"10x\", not 'wide'"),
        (["--tile-um", "0x"], "--tile-um must be a number of microns or a magnification such as \"10x\", not '0x'"),
        (["--tile-um", "inf"], "--tile-um must be a finite number, not inf"),
        (["--jobs", "0"], "--jobs must be at least 1, not 0"),
        (["--jobs", "two"], "--jobs must be a whole number, not 'two'"),
        (["--stride-div", "inf"], "--stride-div must be a finite number, not inf"),
        (["--filter-threshold", "nan"], "--filter-threshold must be a finite number, not nan"),
        (
            ["--roi", ".", "--roi", ".", "--roi-filter", "3"],
            "--roi-filter must be center or a share from 0 to 1, not 3.0",
        ),
        (["--roi-method", "insde"], "--roi-method must be one of 'auto', 'inside', 'outside', 'ignore', not 'insde'"),
        (["--sink", "raw:foldr=x"], "--sink raw: unknown option 'foldr' (did you mean 'folder'?)"),
        (["--sink", "raw:folder=3"], "--sink raw: folder must be text, not 3"),
        (["--filter", "none", "--filter", "a:b"], "--filter: 'a:b': write options as NAME:option=value"),
        (["--placement", "girds"], "--placement: no placement is named 'girds' (did you mean 'grid'?)"),
    ],
)
def test_a_wrong_value_is_one_message_that_names_the_flag(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["extract", "a.json", *TILES, *words, "--out", str(tmp_path / "out")]) == 1

    (line,) = [line for line in capsys.readouterr().err.splitlines() if "is given twice" not in line]
    assert line.startswith(f"slideloom: {said}")


def test_all_wrong_values_are_told_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--jobs", "0", "--seed", "-1", "--qc", "oops:", "--filter-threshold", "2", "--sink", "a:b"]
    assert main(["extract", "a.json", *TILES, *words, "--out", str(tmp_path / "out")]) == 1

    told = capsys.readouterr().err.removeprefix("slideloom: ").splitlines()
    assert sorted(line.split()[0] for line in told) == ["--filter-threshold", "--jobs", "--qc:", "--seed", "--sink:"]


def test_a_flag_of_run_that_is_wrong_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "p.toml"
    file.write_text("slideloom = 1\n[tiles]\nsize_px = 60\nsize_um = 75\n")

    assert main(["run", str(file), "--buffer-gb", "-1"]) == 1
    assert capsys.readouterr().err == "slideloom: --buffer-gb must be above 0, not -1\n"


def test_patterns_are_left_out(analytic: WriteSlide, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = analytic("a").parent
    analytic("b")
    words = ["--exclude", "b.*", "--exclude", "c.*", "--out", str(tmp_path / "out"), "--json"]

    assert main(["extract", f"{folder}/*.json", *TILES, *words]) == 0
    assert [slide["slide"] for slide in json.loads(capsys.readouterr().out)["slides"]] == ["a"]


def test_a_folder_of_regions_that_is_missing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tiles", "a.json", "--tile-px", "60", "--tile-um", "75", "--roi", "nowhere"]) == 1
    assert "--roi nowhere: there is no such folder, and no roi is named 'nowhere'" in capsys.readouterr().err


def test_an_option_without_a_value_is_refused() -> None:
    with pytest.raises(ConfigError, match="NAME:option=value"):
        step_table("otsu:level")


def test_importing_slideloom_imports_nothing_heavy() -> None:
    code = "import sys, slideloom; print(*sorted(m for m in sys.modules if '.' not in m))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"numpy", "pandas", "shapely", "cv2", "torch", "tensorflow", "matplotlib", "reportlab"} & set(printed)


def test_the_version_is_told_without_loading_plugins() -> None:
    code = """
import runpy, sys
sys.argv[1:] = ["--version"]
try:
    runpy.run_module("slideloom", run_name="__main__")
except SystemExit:
    print(*sorted(sys.modules))
"""
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert printed[:2] == ["slideloom", metadata.version("slideloom-core")]
    assert not {"numpy", "shapely", "slideloom.plugins.discovery"} & set(printed)


def test_looking_at_all_plugins_imports_none_of_the_work() -> None:
    code = "import sys; from slideloom.plugins.discovery import registry; registry(); print(*sorted(sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"pandas", "cv2", "torch", "tensorflow", "pyvips", "openslide", "reportlab", "PIL"} & set(printed)
    late = ("slideloom.extraction", "slideloom.running", "slideloom.viewing", "slideloom_cohort.slides")
    assert [name for name in printed if name.startswith(late)] == []
