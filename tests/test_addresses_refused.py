"""Every option and argument that is a path, of every command, step and public function, refuses an address.

`Path("s3://bucket/out")` is the relative path `s3:/bucket/out`, so an option that is not checked writes to a local
folder `s3:` and succeeds. These tests find the options by themselves, so that a new one is not forgotten.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import slideloom as sl
from slideloom.pipeline.pipeline import RunOptions, Slides
from slideloom.plugins.discovery import registry
from slideloom.plugins.hookspecs import KINDS
from slideloom.settings.options import options_of
from slideloom.settings.tables import from_table
from slideloom_cli.main import _COMMANDS, _parser, main
from slideloom_cohort.sources import Source

AWAY = "s3://bucket/folder/thing.csv"
REFUSED = "is not a local path"
# What stands for a path in the help of an option; slides may be addresses.
PATHS = re.compile(r"\b(DIR|FILE|CSV|PDF|OUT|TOML)\b")


def _commands() -> list[str]:
    return [*_COMMANDS, *(command.name for plugin in registry().plugins for command in plugin.commands)]


def _leaves(parser: argparse.ArgumentParser, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    inner = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not inner:
        yield words, parser
    for action in inner:
        for name, sub in action.choices.items():
            yield from _leaves(sub, (*words, name))


def _path_options() -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser, argparse.Action]]:
    for command in _commands():
        chosen = next(a for a in _parser([command])._actions if isinstance(a, argparse._SubParsersAction))
        for words, parser in _leaves(chosen.choices[command], (command,)):
            for action in parser._actions:
                if action.type is Path or PATHS.search(str(action.metavar or "")):
                    yield words, parser, action


CLI_OPTIONS = list(_path_options())


def _words(parser: argparse.ArgumentParser, wanted: argparse.Action, home: Path) -> list[str]:
    """What a command needs, with an address for one of its options."""
    words = []
    for action in parser._actions:
        value = AWAY if action is wanted else _usual(action, home)
        if not action.option_strings:
            words.append(value)
        elif action.required or action is wanted or action.dest.startswith("tile_"):
            words += [action.option_strings[0], value]
    return words


def _usual(action: argparse.Action, home: Path) -> str:
    """A value that a command takes: `1` is a file that is there."""
    usual = {"root": str(home), "pipeline": "pipeline.toml", "out": "1.html", "name": "my-step"}
    return str(next(iter(action.choices))) if action.choices else usual.get(action.dest, "1")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "1").touch()
    (tmp_path / "pipeline.toml").write_text("slideloom = 1\n[tiles]\nsize_px = 299\nsize_um = 302\n")
    sl.Project.create(tmp_path / "project")
    return tmp_path


def _everything(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*"))


@pytest.mark.parametrize(
    ("words", "parser", "action"),
    CLI_OPTIONS,
    ids=[" ".join((*words, (action.option_strings or [action.dest])[0])) for words, _, action in CLI_OPTIONS],
)
def test_every_path_option_of_every_command_refuses_an_address(
    words: tuple[str, ...],
    parser: argparse.ArgumentParser,
    action: argparse.Action,
    here: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = _everything(here)

    try:
        code = main([*words, *_words(parser, action, here / "project")])
    except SystemExit as stop:
        code = int(stop.code or 0)

    assert code != 0
    assert REFUSED in capsys.readouterr().err
    assert _everything(here) == before


def test_the_path_options_of_commands_are_found() -> None:
    found = {" ".join((*words, (action.option_strings or [action.dest])[0])) for words, _, action in CLI_OPTIONS}

    assert {
        "extract --staging", "extract --log", "extract --mpp-file", "extract --buffer", "extract --params",
        "run --staging", "run pipeline", "check checked", "preview --out", "tiles --out", "report --out",
        "report folders",
        "studio --out", "tissue --out", "doctor --out", "doctor --slide", "project create root",
        "project create --annotations", "project create --roi", "project thumbnails --out", "project tiles --out",
        "project extract --params", "segment predict --out", "segment train --regions",
    } <= found  # fmt: skip


def _settings() -> Iterator[tuple[type[Any], str]]:
    steps = [cls for kind in KINDS for cls in registry().all(kind)]
    for cls in dict.fromkeys([Slides, RunOptions, Source, *steps]):
        for name, info in options_of(cls).items():
            if "Path" in str(info.type) and "Address" not in str(info.type):
                yield cls, name


@pytest.mark.parametrize(("cls", "name"), list(_settings()), ids=lambda item: getattr(item, "__name__", item))
def test_every_path_in_settings_refuses_an_address(cls: type[Any], name: str) -> None:
    _, mistakes = from_table(cls, {name: AWAY}, where="pipeline.toml")

    assert any(name in mistake and "local path" in mistake for mistake in mistakes)


def test_paths_in_settings_are_found() -> None:
    found = {(cls.__name__, name) for cls, name in _settings()}

    assert {
        ("Slides", "mpp_file"),
        ("RunOptions", "staging"),
        ("RunOptions", "buffer"),
        ("Source", "tfrecords"),
    } <= found


# How to give an address for each argument of the public functions that is a path; the project is in the folder here.
CALLS: dict[str, Callable[[], object]] = {
    "ContactSheet.save path": lambda: sl.ContactSheet("", (), ()).save(AWAY),
    "Dataset.save_params path": lambda: sl.Project("project").dataset(299, 302).save_params(AWAY),
    "Dataset.thumbnails outdir": lambda: sl.Project("project").dataset(299, 302).thumbnails(AWAY),
    "Project root": lambda: sl.Project(AWAY),
    "Project.open root": lambda: sl.Project.open(AWAY),
    "Project.create root": lambda: sl.Project.create(AWAY),
    "Project.create annotations": lambda: sl.Project.create("other", annotations=AWAY),
    "Project.create roi": lambda: sl.Project.create("other", roi=AWAY),
    "Project.add_source roi": lambda: sl.Project("project").add_source("more", roi=AWAY),
    "Project.extract_tiles mpp_file": lambda: _extract(mpp_file=AWAY),
    "Project.extract_tiles params": lambda: _extract(params=AWAY),
    "Project.extract_tiles buffer": lambda: _extract(buffer=AWAY),
    "Dataset.bags folder": lambda: sl.Project("project").dataset(299, 302).bags(folder=AWAY),
    "WSI.extract out": lambda: sl.WSI.__new__(sl.WSI).extract(AWAY),
    "studio out": lambda: sl.studio("1", out=AWAY),
    "studio roi": lambda: sl.studio("1", roi=AWAY),
    "WSI mpp_file": lambda: sl.WSI("1", 299, 302, mpp_file=AWAY),
    "OutputFolder root": lambda: sl.OutputFolder(Path(AWAY), "299px_302um"),
    "load_params path": lambda: sl.load_params(AWAY),
    "load_pipeline path": lambda: sl.load_pipeline(Path(AWAY)),
    "save_params path": lambda: sl.save_params(AWAY, tile_px=299, tile_um=302),
    "save_mask path": lambda: sl.save_mask(_mask(), Path(AWAY), slide=_info()),
    "storing_in folder": lambda: _entered(Path(AWAY)),
    "write_regions_geojson path": lambda: sl.write_regions_geojson(Path(AWAY), sl.Regions()),
    "write_tiles_geojson path": lambda: sl.write_tiles_geojson(Path(AWAY), _no_tiles(), []),
    "write_whole path": lambda: sl.write_whole(Path(AWAY), b""),
    "StainNormalizer.save path": lambda: sl.StainNormalizer("macenko").save(AWAY),
}
# These take addresses, or only what a caller has already opened, checked or named; none of them writes.
OTHERS = {
    "Dataset.tfrecord_report outdir": "checked after the dataset is known to have TFRecords",
    **dict.fromkeys(
        ("WSI path", "WSI.of path", "open_slide path", "run_pipeline slides", "run_pipeline out"), "may be an address"
    ),
    **dict.fromkeys(("Project.create slides", "Project.add_source slides"), "may be an address"),
    **dict.fromkeys(("contact_sheet slides", "contact_sheet roi", "WSI roi", "load_regions folder"), "may be one"),
    **dict.fromkeys(("find_slides base", "named_slides base"), "never one"),
    **dict.fromkeys(
        (
            "Project.extract_tiles normalizer_source",
            "tensorflow_loader normalizer_source",
            "torch_loader normalizer_source",
            "StainNormalizer.load path",
            "load_mask path",
            "hub_file cache",
        ),
        "read, and missing",
    ),
    **dict.fromkeys(
        (
            "FileState path",
            "FileState.of path",
            "Table path",
            "check_size path",
            "file_digest path",
            "open_table path",
            "Params path",
        ),
        "reads a file that was found",
    ),
    **dict.fromkeys(
        (
            "Draft path",
            "PatientFile path",
            "OutputFolder.holding path",
            "OutputFolder.relative path",
            "RemoteFiles open_output",
            "Reporter write",
            "discard_path path",
            "make_room path",
            "partial_path path",
            "path_inside folder",
            "path_of_name folder",
            "place_of text",
            "pipeline_from_table base",
            "sync_path path",
            "local_path text",
        ),
        "for plugins, within a folder that was checked",
    ),
}


def _extract(**options: Any) -> object:
    return sl.Project("project").extract_tiles(tile_px=299, tile_um=302, **options)


def _pipeline() -> sl.Pipeline:
    return sl.Pipeline(tiles=sl.Tiling(size_px=299, size_um=302))


def _info() -> sl.SlideInfo:
    return sl.SlideInfo(Path("a.svs"), "a", "tiff", (sl.Level(sl.Size(8, 8), 1.0, 1.0),))


def _mask() -> sl.QcResult:
    return sl.QcResult(np.zeros((8, 8), bool), "artifact")


def _no_tiles() -> sl.Tiles:
    return sl.Tiles(*[np.zeros(0, np.int64)] * 6, footprint=sl.Size(8, 8))


def _entered(folder: Path) -> None:
    with sl.storing_in(folder):
        pass


# What a reader or another step does with a file that was found, and the steps themselves, which plugins write.
OF_FOUND_FILES = ("slideloom.slides.", "slideloom.steps.")


def _public() -> Iterator[str]:
    for name in (name for name, home in sl._HOME_OF.items() if not home.startswith(OF_FOUND_FILES)):
        thing = getattr(sl, name)
        if inspect.isclass(thing):
            own = [item for item in dir(thing) if not item.startswith("_") and callable(getattr(thing, item, None))]
            functions = {name: thing.__init__, **{f"{name}.{item}": getattr(thing, item) for item in own}}
        else:
            functions = {name: thing} if callable(thing) else {}
        for label, function in functions.items():
            try:
                parameters = inspect.signature(function).parameters.values()
            except (TypeError, ValueError):  # written in C
                continue
            yield from (f"{label} {item.name}" for item in parameters if "Path" in str(item.annotation))


def test_no_argument_of_a_public_function_is_forgotten() -> None:
    assert set(_public()) <= {*CALLS, *OTHERS}


def test_an_output_whose_address_has_become_a_path_is_refused(here: Path) -> None:
    before = _everything(here)

    with pytest.raises(sl.ConfigError, match="give an address as text"):
        sl.run_pipeline(_pipeline(), [], Path(AWAY))

    assert _everything(here) == before


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_every_path_argument_of_public_functions_refuses_an_address(call: Callable[[], object], here: Path) -> None:
    before = _everything(here)

    with pytest.raises(sl.ConfigError, match="local path"):
        call()

    assert _everything(here) == before
