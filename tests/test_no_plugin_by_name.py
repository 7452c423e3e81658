"""The core knows no plugin by name: none is written in its source, and each may be missing."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import slideloom as sl
from packaging.requirements import Requirement
from slideloom.plugins import discovery
from slideloom.plugins.hookspecs import DEFAULTS
from slideloom_testing.fixtures import DemoFiles

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "src" / "slideloom"
# The doors to other distributions: the table of public names, and `python -m slideloom`.
DOORS = {"__init__.py", "__main__.py"}
# Names of files, which the core shares with readers of them that are not ours, and of an option.
KNOWN_WORDS = {
    "extraction/extras.py": {".geojson"},  # a viewer's file
    "settings/field_names.py": {"artifacts"},  # regions to cut out
    "running/run_files.py": {".tfrecords"},  # where others look for the list of blurred slides
}


def texts_that_decide(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every string but docstrings, options' help, and the keys of defaults."""
    told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "help":
            told |= {id(part) for part in ast.walk(node.value)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.lineno, node.value


def test_no_text_of_the_core_is_the_name_of_a_plugin_or_its_step() -> None:
    """Equal to a step, a distribution or its package, or to a file's ending made of one."""
    plugins = [plugin for plugin in discovery.registry().plugins if plugin.dist != "slideloom-core"]
    steps = {cls.name for plugin in plugins for classes in plugin.steps.values() for cls in classes}
    dists = {plugin.dist for plugin in plugins} | {plugin.dist.replace("-", "_") for plugin in plugins}
    named = []
    for path in sorted(CORE.rglob("*.py")):
        place = path.relative_to(CORE).as_posix()
        for line, text in texts_that_decide(ast.parse(path.read_text(encoding="utf-8"))):
            word = text.strip().lstrip(".").partition(".")[0].removesuffix("/")
            is_name = word in dists or word in steps or (text.startswith(".") and word.removesuffix("s") in steps)
            is_known = text in DEFAULTS or text in KNOWN_WORDS.get(place, ())
            if is_name and not is_known and place not in DOORS:
                named.append(f"{place}:{line}: {text!r}")

    assert len(steps) > 30
    assert named == []


@pytest.fixture
def without(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """One distribution of the repository is as if it was never installed, and the others are imported anew."""
    dist: str = request.param
    points: list[EntryPoint] = [
        point for point in discovery._entry_points() if point.dist is not None and point.dist.name != dist
    ]
    monkeypatch.setattr(discovery, "_entry_points", lambda: points)
    before = [name for name in sys.modules if name.startswith("slideloom_")]
    for name in before:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, dist.replace("-", "_"), None)  # as if it were not installed
    discovery.registry.cache_clear()
    yield dist
    for name in [name for name in sys.modules if name.startswith("slideloom_") and name not in before]:
        del sys.modules[name]  # later tests would mix modules of two imports
    discovery.registry.cache_clear()


def standing_on(dist: str) -> set[str]:
    """Distributions that ask for another one, and so cannot be installed without it."""
    texts = {folder.name: (folder / "pyproject.toml").read_text(encoding="utf-8") for folder in ROOT.glob("plugins/*")}
    needs = {name: tomllib.loads(text)["project"]["dependencies"] for name, text in texts.items()}
    return {f"slideloom-{name}" for name, asked in needs.items() if dist in {Requirement(text).name for text in asked}}


# Those without which there is no command, no reader, or no slide to try.
_NEEDED_BY_ALL = ("cli", "formats", "testing")
PLUGINS = sorted(
    path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml") if path.parent.name not in _NEEDED_BY_ALL
)
# What a run takes of each light plugin; the reader is whichever there is.
STEPS = {
    "qc": ["--qc", "tissue"],
    "filters": ["--filter", "whitespace"],
    "stain": ["--normalizer", "reinhard-fast"],
    "tfrecord": ["--sink", "tfrecord"],
    "images": ["--sink", "images"],
    "hdf5": ["--sink", "hdf5"],
    "webdataset": ["--sink", "webdataset"],
}
# A use of each plugin, and what is said where it is missing.
EXTRACT = ["extract", "SLIDE", "--out", "OUT", "--tile-px", "100", "--tile-um", "100"]
NEEDED = {
    "artifacts": ([*EXTRACT, "--qc", "artifacts"], "no qc is named 'artifacts'"),
    "cells": ([*EXTRACT, "--placement", "nuclei"], "no placement is named 'nuclei'"),
    "cohort": (["project", "create", "OUT"], "invalid choice: 'project'"),
    "cyclegan": ([*EXTRACT, "--normalizer", "cyclegan"], "no normalizer is named 'cyclegan'"),
    "czi": ([*EXTRACT, "--reader", "czi"], "no reader is named 'czi'"),
    "dask": ([*EXTRACT, "--executor", "dask"], "no executor is named 'dask'"),
    "deepfocus": ([*EXTRACT, "--qc", "deepfocus"], "no qc is named 'deepfocus'"),
    "dicom": ([*EXTRACT, "--reader", "dicom"], "no reader is named 'dicom'"),
    "features": ([*EXTRACT, "--sink", "features:timm=resnet18"], "no sink is named 'features'"),
    "filters": (EXTRACT, "no plugin offers a default filter: name one"),
    "hdf5": ([*EXTRACT, "--sink", "hdf5"], "no sink is named 'hdf5'"),
    "images": ([*EXTRACT, "--sink", "images"], "no sink is named 'images'"),
    "isyntax": ([*EXTRACT, "--reader", "isyntax"], "no reader is named 'isyntax'"),
    "loaders": ([], "_loader comes with slideloom-loaders, which is not installed"),
    "openslide": ([*EXTRACT, "--reader", "openslide"], "no reader is named 'openslide'"),
    "qc": ([*EXTRACT, "--qc", "otsu"], "no qc is named 'otsu'"),
    "remote": (
        ["info", "s3://bucket/a.svs"],
        "no installed plugin reads what is not local: pip install",
    ),
    "report": ([*EXTRACT, "--report"], "no report will be written: no installed plugin writes one"),
    "roi": ([*EXTRACT, "--roi", "ROIS"], "no plugin offers a default roi"),
    "segmentation": ([*EXTRACT, "--qc", "segment"], "no qc is named 'segment'"),
    "slideflow": (["plugins"], ""),  # nothing of slideloom's own needs it
    "studio": (["studio", "SLIDE"], "invalid choice: 'studio'"),
    "stain": ([*EXTRACT, "--normalizer", "macenko"], "no normalizer is named 'macenko'"),
    "tfrecord": (EXTRACT, "no plugin offers a default sink: name one"),
    "tiff": ([*EXTRACT, "--reader", "tiff"], "no reader is named 'tiff'"),
    "tifffile": ([*EXTRACT, "--reader", "tifffile"], "no reader is named 'tifffile'"),
    "torch": ([], "slideloom.computing comes with slideloom-torch, which is not installed"),
    "vips": ([*EXTRACT, "--reader", "vips"], "no reader is named 'vips'"),
    "webdataset": ([*EXTRACT, "--sink", "webdataset"], "no sink is named 'webdataset'"),
    "zarr": ([*EXTRACT, "--reader", "ome-zarr"], "no reader is named 'ome-zarr'"),
}


@pytest.mark.parametrize("without", [f"slideloom-{name}" for name in PLUGINS], indirect=True, ids=PLUGINS)
def test_without_any_one_plugin_the_rest_works_and_what_is_missing_is_named(
    without: str,
    demo_slide: DemoFiles,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    missing = without.removeprefix("slideloom-")
    from slideloom_cli.main import main  # imported anew, as all of slideloom's packages but the core

    code = main(["plugins", "--json"])
    listed = json.loads(capsys.readouterr().out)
    assert {f"slideloom-{name}" for name in PLUGINS} - {plugin["dist"] for plugin in listed} == {without}
    broken = {plugin["dist"] for plugin in listed if plugin["error"]}
    assert code == (1 if broken else 0)
    assert broken <= standing_on(without)

    words = [word for name, steps in STEPS.items() if name != missing for word in steps]
    words += ["--filter", "none"] if missing == "filters" else []
    run = ["extract", str(demo_slide.path), "--tile-px", "100", "--tile-um", "100", "--max-tiles", "8", *words]
    assert main([*run, "--quiet", "--out", str(tmp_path / "run")]) == 0
    (slide,) = json.loads((tmp_path / "run" / "extraction_report.json").read_text())["slides"]
    assert slide["written"] == 8
    capsys.readouterr()

    needed, said = NEEDED[missing]
    given = {"SLIDE": str(demo_slide.path), "OUT": str(tmp_path / "needed"), "ROIS": str(demo_slide.rois)}
    told = _told(main, [given.get(word, word) for word in needed], without, capsys)
    assert said in told + caplog.text


def _told(run: Callable[[list[str]], int], words: list[str], dist: str, capsys: pytest.CaptureFixture[str]) -> str:
    if not words:
        name = next(name for name, home in sl._HOME_OF.items() if home.startswith(dist.replace("-", "_")))
        with pytest.raises(sl.PluginError) as caught:
            getattr(sl, name)
        return str(caught.value)
    with suppress(SystemExit):  # of argparse
        run(words)
    return " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize("without", ["slideloom-testing"], indirect=True)
def test_the_command_line_without_the_testing_package_lacks_its_demo_slide_only(
    without: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from slideloom_cli.main import main

    assert main(["plugins"]) == 0


def test_python_m_slideloom_says_where_the_command_line_comes_from() -> None:
    code = """
import runpy, sys
sys.modules["slideloom_cli"] = None
sys.argv = ["slideloom", "plugins"]
runpy.run_module("slideloom", run_name="__main__")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.returncode == 1
    assert "comes with slideloom-cli, which is not installed: pip install slideloom-cli" in done.stderr
