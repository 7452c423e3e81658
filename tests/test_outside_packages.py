"""Packages of third parties: what `slideloom new-plugin` writes and the examples of the documentation.

They are copied out of the repository, installed as a user installs them into an environment of their own, and tested.
"""

from __future__ import annotations

import json
import os
import shutil
import site
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest
from attrs import frozen
from slideloom_cli.main import main
from slideloom_cli.scaffold import kinds_offered

EXAMPLES = Path(__file__).parents[1] / "docs" / "examples"
MADE = [f"Slideloom.own_{kind}" for kind in kinds_offered()]


@frozen
class Outside:
    """An environment that has everything of this one, and the packages."""

    python: Path
    folder: Path

    def run(self, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run the environment's Python."""
        return subprocess.run([str(self.python), *words], cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    pytest.importorskip("hatchling", reason="packages are built here with hatchling: pip install hatchling")
    folder = tmp_path_factory.mktemp("outside")
    for kind, name in zip(kinds_offered(), MADE, strict=True):
        assert main(["new-plugin", name, "--kind", kind, "--out", str(folder)]) == 0
    for example in EXAMPLES.iterdir():
        shutil.copytree(example, folder / example.name, ignore=shutil.ignore_patterns("__pycache__"))
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    here = [*site.getsitepackages(), sysconfig.get_path("purelib")]
    below = sysconfig.get_path("purelib", "venv", vars={"base": str(folder / "venv"), "platbase": str(folder / "venv")})
    lines = [f"import site; site.addsitedir({str(path)!r})" for path in dict.fromkeys(here)]
    Path(below, "parent.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
    packages = [word for path in packages_in(folder) for word in ("-e", str(path))]
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, "--no-build-isolation", *packages], check=True)
    return Outside(python=python, folder=folder)


def packages_in(folder: Path) -> list[Path]:
    return sorted(path.parent for path in folder.glob("*/pyproject.toml"))


@pytest.mark.slow
def test_every_package_passes_its_own_tests(outside: Outside) -> None:
    """All in one process, because starting pytest takes longer than the tests."""
    packages = packages_in(outside.folder)
    folders = [str(package / "tests") for package in packages]

    words = ("-W", "error", "-rs", "-p", "no:cacheprovider", "--rootdir", ".", *folders)
    done = outside.run("-m", "pytest", *words, cwd=outside.folder)

    assert done.returncode == 0, f"{done.stdout[-5000:]}{done.stderr[-1000:]}"
    assert len(packages) == len(kinds_offered()) + len(list(EXAMPLES.iterdir()))
    missing = [package.name for package in packages if str(Path(package.name, "tests")) not in done.stdout]
    assert not missing, done.stdout
    # What each says of the memory of its pixels is tested, not left out.
    assert "keeps_pixels" not in done.stdout


@pytest.mark.slow
def test_pytest_alone_is_enough_in_a_new_package(outside: Outside) -> None:
    done = outside.run("-m", "pytest", cwd=outside.folder / "slideloom-own-filter")

    assert done.returncode == 0, f"{done.stdout[-3000:]}{done.stderr[-1000:]}"


@pytest.mark.slow
def test_every_package_is_listed(outside: Outside) -> None:
    done = outside.run("-m", "slideloom", "plugins", "--json", cwd=outside.folder)
    listed = {plugin["dist"]: plugin for plugin in json.loads(done.stdout)}

    for package in packages_in(outside.folder):
        plugin = listed[package.name]
        assert plugin["error"] == ""
        assert plugin["steps"][0]["name"] == package.name.removeprefix("slideloom-")
        assert Path(plugin["file"]).is_relative_to(package)


def test_nothing_is_overwritten_and_nothing_else_is_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "slideloom-mine").mkdir()
    (tmp_path / "slideloom-mine" / "work.py").write_text("years of work")

    assert main(["new-plugin", "slideloom-mine", "--kind", "qc", "--out", str(tmp_path)]) == 1

    assert "already exists and is not overwritten" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "slideloom-mine").iterdir()] == ["work.py"]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../escape", "cannot be a package name"),
        ("a/b", "cannot be a package name"),
        ("", "cannot be a package name"),
        ("2fast", "start with a letter"),
        ("mine-", "cannot be a package name"),
        ("Über", "cannot be a package name"),
        ("slideloom-2", "leaves no good name"),
        ("json", "is installed here"),
        ("NumPy", "is installed here"),
        ("slideloom-qc", "is installed here"),
        ("class", "leaves no good name"),
    ],
)
def test_a_name_that_cannot_work_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, said: str
) -> None:
    assert main(["new-plugin", name, "--kind", "qc", "--out", str(tmp_path)]) == 1

    assert said in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_step_name_that_is_taken_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new-plugin", "slideloom-otsu", "--kind", "qc", "--out", str(tmp_path)]) == 1

    assert "a qc named 'otsu' is installed" in capsys.readouterr().err
