"""The repository's own shape: every plugin alike, layers kept, nothing in it that belongs to one machine."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
import slideloom
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
compatible = run_path(str(ROOT / "packaging/versions.py"))["compatible"]
PLUGINS = sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))
DISTS = [ROOT / "core", *PLUGINS]
LIGHT = {
    "formats",
    "openslide", "tiff", "tifffile", "vips", "filters", "roi", "qc", "stain", "tfrecord", "images", "webdataset",
    "hdf5", "report", "cells", "cli", "cohort", "loaders", "testing",
    "dicom", "remote", "zarr",
    "studio",
}  # fmt: skip
# What only those install who ask for it: pylibCZIrw is under the LGPL, and isyntax has met no scanner's file.
OPTIONAL = {"czi", "isyntax"}
# With loops in C, which setuptools builds.
COMPILED = {"stain"}
# Distributions that were part of the core and use its inside; each may also use those named beside it.
FRONTS = {"testing": set(), "cli": {"testing"}, "cohort": {"cli"}, "loaders": {"cohort"}, "studio": {"cli", "cohort"}}
# What runs the scripts of another program stands on all that it gives other names to, and nothing stands on it.
ON_TOP = {"slideflow": {"cohort", "loaders", "deepfocus", "tfrecord"}}
# What other plugins may depend on; they reach it by names of `slideloom`, not by importing it.
SHARED = {"slideloom-core", "slideloom-torch", *(f"slideloom-{name}" for name in FRONTS)}
# What files hold. Who depends on it imports it: readers, and what tells of files or writes one.
FORMATS = "slideloom-formats"
# Modules may be longer than the 300 lines that house style aims at, but not by much.
MOST_LINES = 400

plugins = pytest.mark.parametrize("plugin", PLUGINS, ids=lambda path: path.name)


def table(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def package_of(plugin: Path) -> Path:
    return plugin / "src" / f"slideloom_{plugin.name}"


def sources(folder: Path) -> list[Path]:
    return sorted((folder / "src").rglob("*.py"))


def imports(path: Path) -> Iterator[tuple[int, str, str]]:
    """(line, module, name) of every import of a file; no name for `import module`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports in full"
            yield from ((node.lineno, node.module or "", alias.name) for alias in node.names)


@plugins
def test_a_plugin_has_the_shape_of_the_others(plugin: Path) -> None:
    project = table(plugin)["project"]

    assert project["name"] == f"slideloom-{plugin.name}"
    assert project["license"] == "Apache-2.0"
    assert project["requires-python"] == ">=3.11"
    assert project["readme"] == "README.md"
    assert project["description"]
    assert project["entry-points"] == {"slideloom.v1": {plugin.name: f"slideloom_{plugin.name}.plugin"}}
    tools = table(plugin)["tool"]
    if plugin.name in COMPILED:
        assert tools["setuptools"]["packages"]["find"]["where"] == ["src"]
        assert (package_of(plugin) / "_kernels.c").is_file()
    else:
        assert tools["hatch"]["build"]["targets"]["wheel"]["packages"] == [f"src/slideloom_{plugin.name}"]
    for name in ("__init__.py", "plugin.py", "py.typed"):
        assert (package_of(plugin) / name).is_file(), name
    assert len((plugin / "README.md").read_text(encoding="utf-8").splitlines()) >= 10
    assert list((plugin / "tests").glob("test_*.py"))


@plugins
def test_a_plugin_names_what_it_imports_and_no_more_of_the_core(plugin: Path) -> None:
    project = table(plugin)["project"]
    needs = [Requirement(text) for text in project["dependencies"]]
    extras = [Requirement(text) for texts in project.get("optional-dependencies", {}).values() for text in texts]

    # Who uses the inside of the core takes the core of the same release.
    uses_inside = plugin.name in {*FRONTS, *ON_TOP}
    wanted = f"=={project['version']}" if uses_inside else compatible(project["version"])
    ours = [need for need in [*needs, *extras] if need.name.startswith("slideloom-") and need.name != project["name"]]
    assert {need.specifier for need in ours} == {SpecifierSet(wanted)}
    assert any(need.name == "slideloom-core" for need in needs)
    own = {project["name"], *(f"slideloom-{name}" for name in ON_TOP.get(plugin.name, ()))}
    for need in [*needs, *extras]:
        assert need.specifier, f"{need}: give a lower bound"
        assert not need.name.startswith("slideloom-") or need.name in SHARED | own | {FORMATS}


def test_coverage_is_measured_of_every_package() -> None:
    measured = table(ROOT)["tool"]["coverage"]["run"]["source_pkgs"]

    assert set(measured) == {"slideloom", *(f"slideloom_{path.name}" for path in PLUGINS)}


def test_all_distributions_have_one_version() -> None:
    versions = {table(folder)["project"]["version"] for folder in [*DISTS, ROOT]}
    cited = re.search(r"(?m)^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"))

    assert versions == {slideloom.__version__} == {cited and cited[1]}


def test_every_distribution_names_the_pythons_that_are_tested() -> None:
    tested = re.findall(r'"(3\.\d+)"', re.search(r"PYTHONS = .*", (ROOT / "noxfile.py").read_text())[0])  # type: ignore[index]
    wanted = {f"Programming Language :: Python :: {version}" for version in tested}

    named = [set(table(folder)["project"]["classifiers"]) for folder in [*DISTS, ROOT]]
    assert [{each for each in found if "Python ::" in each} for found in named] == [wanted] * len(named)


def test_every_distribution_carries_the_licence() -> None:
    licence = (ROOT / "LICENSE").read_bytes()

    assert [folder.name for folder in DISTS if (folder / "LICENSE").read_bytes() != licence] == []


def test_a_clone_installs_every_distribution_but_those_under_other_licences() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").split("\n")

    usual = {f"-e ./plugins/{path.name}" for path in PLUGINS if path.name not in OPTIONAL}
    assert {line for line in lines if line} == {"-e ./core", *usual, "-e ."}


def test_the_distribution_a_user_installs_brings_the_light_plugins_and_offers_the_others() -> None:
    project = table(ROOT)["project"]
    version = project["version"]
    light = {f"slideloom-{name}=={version}" for name in LIGHT if (ROOT / "plugins" / name).is_dir()}
    extras = {
        name: {Requirement(text).name for text in texts} for name, texts in project["optional-dependencies"].items()
    }

    assert set(project["dependencies"]) == {f"slideloom-core=={version}", *light}
    assert {"torch", "tensorflow", "all"} <= set(extras)
    everything = {Requirement(text).name for text in project["dependencies"]} | set().union(*extras.values())
    assert {f"slideloom-{path.name}" for path in PLUGINS} <= everything


@plugins
def test_a_plugins_entry_point_loads_and_offers_something(plugin: Path) -> None:
    module = import_module(f"slideloom_{plugin.name}.plugin")

    assert module.__doc__
    assert any(name.startswith("slideloom_") for name in vars(module))


@plugins
def test_a_plugin_uses_public_names_of_the_core_and_no_other_plugin(plugin: Path) -> None:
    own = f"slideloom_{plugin.name}"
    insiders = {**FRONTS, **ON_TOP}
    fronts = {f"slideloom_{name}" for name in insiders.get(plugin.name, ())}
    project = table(plugin)["project"]
    asked = [project["dependencies"], *project.get("optional-dependencies", {}).values()]
    if FORMATS in {Requirement(text).name for texts in asked for text in texts}:
        fronts.add(FORMATS.replace("-", "_"))
    wrong = []
    for path in sources(plugin):
        for line, module, name in imports(path):
            top = module.split(".")[0]
            is_public = module == "slideloom" and name in {"", *slideloom._HOME_OF}
            is_testing = module == "slideloom_testing" or module.startswith("slideloom_testing.")
            is_inside = top == "slideloom" and plugin.name in insiders
            is_allowed = is_public or is_testing or is_inside or top in {own, *fronts}
            if top.startswith("slideloom") and not is_allowed:
                wrong.append(f"{path.relative_to(ROOT)}:{line}: {module} {name}")

    assert wrong == []


@plugins
def test_the_settings_of_a_plugin_import_none_of_its_modules(plugin: Path) -> None:
    """They name their implementation in `step`; an import inside a function would be one all the same."""
    settings = package_of(plugin) / "settings.py"
    own = package_of(plugin).name
    found = imports(settings) if settings.is_file() else iter(())

    assert [f"line {line}: {module}" for line, module, _ in found if module.split(".")[0] == own] == []


@plugins
def test_import_linter_looks_for_circles_in_every_plugin(plugin: Path) -> None:
    linter = table(ROOT)["tool"]["importlinter"]
    own = package_of(plugin).name

    assert own in linter["root_packages"]
    assert [own] in [found["ancestors"] for found in linter["contracts"] if found["type"] == "acyclic_siblings"]


@pytest.mark.parametrize("folder", DISTS, ids=lambda path: path.name)
def test_modules_are_short_and_say_their_purpose(folder: Path) -> None:
    for path in sources(folder):
        text = path.read_text(encoding="utf-8")
        assert len(text.splitlines()) <= MOST_LINES, f"{path.relative_to(ROOT)} is too long; split it"
        assert ast.get_docstring(ast.parse(text)), f"{path.relative_to(ROOT)} has no docstring"


def tracked() -> list[Path]:
    """Files that git knows, or would add."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git clone")
    words = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True).stdout.splitlines()
    return [ROOT / name for name in names if (ROOT / name).is_file()]


def test_nothing_in_the_repository_belongs_to_one_machine() -> None:
    """No absolute paths, no package registries, no lock files: what a clone needs it gets from the user's own setup."""
    paths = r"(?<![\w.~-])/(?:work|opt|home|Users|root|mnt)/\w"
    registries = r"--(?:extra-)?index-url|https?://(?:files\.)?py" + r"pi\.|pythonhosted"
    wrong = []
    for path in tracked():
        if re.search(r"(^|[.-])lock($|\.)|^uv\.|^Pipfile", path.name):
            wrong.append(f"{path.relative_to(ROOT)}: a lock file")
        if path.suffix in {".png", ".svs", ".safetensors", ".npz", ".pdf", ".h5"} or path == Path(__file__):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if re.search(paths, line) or re.search(registries, line):
                wrong.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")

    assert wrong == []


def test_test_files_have_names_of_their_own() -> None:
    names = [path.name for path in tracked() if path.name.startswith("test_") and path.suffix == ".py"]

    assert sorted(name for name in set(names) if names.count(name) > 1) == []


def test_every_distribution_is_installed_as_its_name_says() -> None:
    from importlib.metadata import distributions

    installed = {canonicalize_name(dist.metadata["Name"]) for dist in distributions()}

    assert {table(folder)["project"]["name"] for folder in DISTS} <= installed


# Cellpose is not installed where tests run, and its settings refuse to build without it.
WITHOUT_CONTRACT = {"Cellpose"}


@plugins
def test_every_step_of_a_plugin_is_held_to_its_contract(plugin: Path) -> None:
    from slideloom.plugins.discovery import registry

    (found,) = [item for item in registry().plugins if item.dist == f"slideloom-{plugin.name}"]
    steps = {cls.__name__ for classes in found.steps.values() for cls in classes} - WITHOUT_CONTRACT
    text = "".join(path.read_text(encoding="utf-8") for path in sorted((plugin / "tests").glob("*.py")))
    held = re.findall(r"^class Test\w+\(\w*Contract\):(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)

    assert {step for step in steps if not any(re.search(rf"\b{step}\b", body) for body in held)} == set()


def test_whatever_a_pipeline_may_leave_unsaid_has_a_default() -> None:
    from slideloom.plugins.discovery import registry
    from slideloom.plugins.hookspecs import DEFAULTS

    defaults = {use: registry().default(use) for use in DEFAULTS}

    assert defaults == {
        "sink": "tfrecord",
        "filter": "grayspace",
        "roi-folder": "roi-folder",
        "store": "tfrecord",
    }


def test_what_files_hold_is_parsed_where_every_fault_is_a_value_error() -> None:
    own = {
        "core/src/slideloom/base/parsing.py",
        # What a process, a checkpoint or a wheel of ours holds, and what was written in the line before.
        "core/src/slideloom/running/checking.py",
        "plugins/cli/src/slideloom_cli/doctor/libraries.py",
        "plugins/segmentation/src/slideloom_segmentation/checkpoint.py",
        "plugins/segmentation/src/slideloom_segmentation/fitting.py",
        "plugins/stain/src/slideloom_stain/fits.py",
    }
    parsing = re.compile(r"\b(?:json|tomllib)\.loads?\(")
    found = {
        path.relative_to(ROOT).as_posix()
        for dist in DISTS
        for path in (dist / "src").rglob("*.py")
        if parsing.search(path.read_text(encoding="utf-8"))
    }

    assert found <= own


def test_a_test_that_fails_leaves_no_process() -> None:
    found = {
        path.relative_to(ROOT).as_posix()
        for folder in ("core/tests", "plugins", "tests")
        for path in (ROOT / folder).rglob("test_*.py")
        if re.search(r"\bPopen\(", path.read_text(encoding="utf-8"))
    }

    assert not found, "start processes by the fixture start_process, which kills them"


def test_files_that_are_tested_first_or_together_exist(pytestconfig: pytest.Config) -> None:
    (conftest,) = (
        plugin
        for plugin in pytestconfig.pluginmanager.get_plugins()
        if getattr(plugin, "__file__", None) == str(ROOT / "conftest.py")
    )

    missing = [name for name in (*conftest.LONG, *conftest.TOGETHER) if not (ROOT / name).exists()]

    assert missing == []


def test_each_library_has_its_reason_and_licence_in_the_docs() -> None:
    page = (ROOT / "docs/explanation/dependencies.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| ([\w-]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", page)
    asked = {
        canonicalize_name(Requirement(text).name)
        for project in (table(folder)["project"] for folder in [*DISTS, ROOT])
        for texts in (project["dependencies"], *project.get("optional-dependencies", {}).values())
        for text in texts
    }

    told = {canonicalize_name(name) for name, *_ in rows} - {"library"}
    assert told - {"pyvips-binary"} == {name for name in asked if not name.startswith("slideloom")}
