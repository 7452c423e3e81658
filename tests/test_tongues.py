"""Messages speak their reader's tongue: flags on the command line, arguments in Python, keys in a pipeline file."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import slideloom as sl
from slideloom.base.naming import naming, option_given, option_name
from slideloom.pipeline.fronts import FLAGS, PYTHON, FileFront
from slideloom.pipeline.words import NO_WORD, TABLES
from slideloom.settings.options import options_of
from slideloom_cli import main as cli
from slideloom_testing import write_demo_slide

ROOT = Path(__file__).parents[1]
FILE = FileFront("pipeline.toml")
ARGUMENTS = inspect.signature(sl.Project.extract_tiles).parameters
OPTIONS = [
    pytest.param(table, name, id=f"{table}.{name}")
    for table, cls in TABLES.items()
    for name in options_of(cls)
    if (table, name) not in NO_WORD
]


def flags_of_extract() -> set[str]:
    parser = cli._parser(["extract"])
    (commands,) = [action for action in parser._actions if hasattr(action, "choices") and action.choices]
    return {flag for action in commands.choices["extract"]._actions for flag in action.option_strings}


@pytest.mark.parametrize(("table", "name"), OPTIONS)
def test_every_option_is_named_as_its_reader_writes_it(table: str, name: str) -> None:
    with naming(FLAGS):
        assert option_name(table, name) in flags_of_extract()
        assert option_given(table, name, "x") == f"{option_name(table, name)} x"
    with naming(PYTHON):
        assert option_name(table, name) in {*ARGUMENTS, "recursive"}  # projects take patterns instead
        assert option_given(table, name, 1) == f"{option_name(table, name)}=1"
    with naming(FILE):
        assert option_name(table, name) == f"{table}.{name}"
        assert option_given(table, name, True) == f"{table}.{name} = true"
    assert option_name(table, name) == name  # the settings' own name, where no front has spoken


def test_a_switch_is_its_flag_alone() -> None:
    with naming(FLAGS):
        assert option_given("run", "redo", True) == "--redo"


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """The string constants of a module that are sentences, without docstrings, and without the help of options."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    apart = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "option", "add_argument",
        ):  # fmt: skip
            apart |= {id(each) for each in ast.walk(node)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart
        if is_text and " " in node.value.strip():
            yield node.lineno, node.value


# Modules that speak to the readers of one front only.
ONE_FRONT = ("plugins/cli/", "plugins/cohort/src/slideloom_cohort/command.py", "core/src/slideloom/pipeline/")
# What a function of Python, or a step, says of its own arguments.
OWN_ARGUMENTS = (
    "plugins/loaders/",
    "plugins/deepfocus/",
    "plugins/slideflow/",
    "plugins/cohort/",
    "core/src/slideloom/viewing/",
)


def test_no_message_names_an_option_by_itself() -> None:
    flags = {flag for flag in flags_of_extract() if flag.startswith("--") and flag != "--out"}
    names = {name for cls in TABLES.values() for name in options_of(cls)}
    unmistakable = "|".join(sorted(name for name in names if "_" in name))
    written = re.compile(rf"\b(?:{unmistakable})\b|\b(?:{'|'.join(sorted(names))})=\w|\brun\.\w+")
    found = []
    for path in [*ROOT.glob("core/src/**/*.py"), *ROOT.glob("plugins/*/src/**/*.py")]:
        place = path.relative_to(ROOT).as_posix()
        if place.startswith(ONE_FRONT):
            continue
        for line, text in sentences(path):
            by_flag = {word for word in re.findall(r"(?<![\w-])--[a-z][\w-]*", text) if word in flags}
            by_name = set() if place.startswith(OWN_ARGUMENTS) else set(written.findall(text))
            if by_flag | by_name:
                found.append(f"{place}:{line}: {sorted(by_flag | by_name)}: {text}")

    assert not found, "use option_name or option_given:\n" + "\n".join(found)


@pytest.fixture(scope="module")
def unmeasured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A slide that records no resolution."""
    path = tmp_path_factory.mktemp("unmeasured") / "a.svs"
    write_demo_slide(path, size=sl.Size(600, 500), mpp=1.0)
    content = path.read_bytes()
    path.write_bytes(content.replace(b"MPP = ", b"XXX = "))
    return path


SAID = "give {mpp} for all slides, or {mpp_file}, a CSV"


def test_a_missing_resolution_is_told_in_the_tongue_of_each_front(unmeasured: Path, tmp_path: Path) -> None:
    on_command_line = subprocess.run(
        [sys.executable, "-m", "slideloom", "extract", str(unmeasured), "--out", str(tmp_path / "a"), "--quiet",
         "--tile-px", "64", "--tile-um", "64", "--jobs", "2"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    (tmp_path / "p.toml").write_text(
        f'slideloom = 1\n[slides]\ninclude = ["{unmeasured.as_posix()}"]\n[tiles]\nsize_px = 64\nsize_um = 64\n'
    )
    by_file = subprocess.run(
        [sys.executable, "-m", "slideloom", "run", str(tmp_path / "p.toml"), "--out", str(tmp_path / "b"), "--quiet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert SAID.format(mpp="--mpp", mpp_file="--mpp-file") in " ".join(on_command_line.stderr.split())
    assert SAID.format(mpp="slides.mpp", mpp_file="slides.mpp_file") in " ".join(by_file.stderr.split())
    with pytest.raises(sl.MissingResolution, match=re.escape(SAID.format(mpp="mpp", mpp_file="mpp_file"))):
        sl.WSI(unmeasured, tile_px=64, tile_um=64)


def test_an_option_of_the_run_is_a_flag_where_a_file_is_run(tmp_path: Path) -> None:
    write_demo_slide(tmp_path / "a.svs", size=sl.Size(600, 500), mpp=1.0)
    text = 'slideloom = 1\n[slides]\ninclude = ["a.svs"]\n[tiles]\nsize_px = 64\nsize_um = {}\n'
    said = []
    for size in (64, 128):
        (tmp_path / "p.toml").write_text(text.format(size).replace("128", "64\nstride_div = 2"))
        done = subprocess.run(
            [sys.executable, "-m", "slideloom", "run", str(tmp_path / "p.toml"), "--quiet"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        said.append((done.returncode, done.stderr))

    assert said[0][0] == 0, said[0][1]
    assert said[1][0] == 1
    assert "run with --redo to make them again" in said[1][1]


def test_a_front_that_is_last_speaks_only_where_no_other_does(tmp_path: Path) -> None:
    path = tmp_path / "a.svs"
    write_demo_slide(path, size=sl.Size(600, 500), mpp=1.0)

    with pytest.raises(sl.SlideError, match=r"; tile_um=16\.0 resamples instead"):
        sl.WSI(path, tile_px=64, tile_um="40x")
    with naming(FLAGS), pytest.raises(sl.SlideError, match=r"; --tile-um 16\.0 resamples instead"):
        sl.WSI(path, tile_px=64, tile_um="40x")
