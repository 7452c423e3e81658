"""What is published: versions written everywhere at once, and archives that hold what they should."""

from __future__ import annotations

import datetime
import hashlib
import io
import shutil
import tarfile
import tomllib
import zipfile
from pathlib import Path
from runpy import run_path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
versions = run_path(str(ROOT / "packaging/versions.py"))
check = run_path(str(ROOT / "packaging/check_dists.py"))
TODAY = datetime.date(2027, 1, 31)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A copy of the files that a version stands in."""
    names = ["pyproject.toml", "core/pyproject.toml", "core/src/slideloom/__init__.py", "CITATION.cff", "CHANGELOG.md"]
    for path in [*(ROOT / name for name in names), *ROOT.glob("plugins/*/pyproject.toml")]:
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)
    return tmp_path


def _needs(project: dict[str, Any]) -> list[Requirement]:
    extras = project.get("optional-dependencies", {}).values()
    return [Requirement(text) for texts in [project.get("dependencies", []), *extras] for text in texts]


def test_a_new_version_is_written_into_every_distribution_and_what_it_needs(tree: Path) -> None:
    versions["bump"]("3.4.5", root=tree, today=TODAY)

    files = [tree / "pyproject.toml", tree / "core/pyproject.toml", *tree.glob("plugins/*/pyproject.toml")]
    projects = [tomllib.loads(path.read_text())["project"] for path in files]
    assert {project["version"] for project in projects} == {"3.4.5"}
    ours = [need for project in projects for need in _needs(project) if need.name.startswith("slideloom")]
    assert len(ours) > len(files)
    assert {str(need.specifier) for need in ours} == {"==3.4.5", "<4,>=3.4.5"}
    assert '__version__ = "3.4.5"\n' in (tree / "core/src/slideloom/__init__.py").read_text()
    assert "\nversion: 3.4.5\n" in (tree / "CITATION.cff").read_text()


def test_a_release_closes_the_open_section_of_the_changelog(tree: Path) -> None:
    (tree / "CHANGELOG.md").write_text("# Changelog\n\n## 9.9.0 (unreleased)\n\n- New.\n\n## 0.1.0 (2026-11-30)\n")

    versions["bump"]("10.0.0", root=tree, today=TODAY)

    assert (tree / "CHANGELOG.md").read_text() == (
        "# Changelog\n\n## 10.0.0 (2027-01-31)\n\n- New.\n\n## 0.1.0 (2026-11-30)\n"
    )


def test_the_present_version_can_be_released_while_it_is_open_and_not_again(tree: Path) -> None:
    now = tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"]
    (tree / "CHANGELOG.md").write_text(f"## {now} (unreleased)\n")

    versions["bump"](now, root=tree, today=TODAY)

    assert (tree / "CHANGELOG.md").read_text() == f"## {now} (2027-01-31)\n"
    with pytest.raises(ValueError, match="does not follow"):
        versions["bump"](now, root=tree, today=TODAY)


@pytest.mark.parametrize("wrong", ["0.0.9", "next", "v9.0.0", "9.0.0-1", "9..0", ""])
def test_what_is_no_later_version_changes_nothing(wrong: str, tree: Path) -> None:
    before = (tree / "pyproject.toml").read_bytes()

    with pytest.raises(ValueError, match="write it like"):
        versions["bump"](wrong, root=tree, today=TODAY)

    assert (tree / "pyproject.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("version", "taken"),
    [("0.1.0", ">=0.1.0,<0.2"), ("0.9.3", ">=0.9.3,<0.10"), ("1.0.0", ">=1.0.0,<2"), ("2.5.1", ">=2.5.1,<3")],
)
def test_a_plugin_takes_a_core_up_to_the_next_break(version: str, taken: str) -> None:
    assert versions["compatible"](version) == taken


WHEEL = "slideloom_core-0.5-py3-none-any.whl"
ARCHIVE = "slideloom_core-0.5.tar.gz"
ABOUT = (
    "Metadata-Version: 2.4\nName: slideloom-core\nVersion: 0.5\nSummary: The core\nLicense-Expression: Apache-2.0\n"
    "Requires-Python: >=3.11\n\nA readme.\n"
)
INSIDE = {
    "slideloom/__init__.py": "",
    "slideloom/py.typed": "",
    "slideloom_core-0.5.dist-info/METADATA": ABOUT,
    "slideloom_core-0.5.dist-info/licenses/LICENSE": "Apache",
}
SOURCES = ("LICENSE", "README.md", "pyproject.toml", "PKG-INFO", "src/slideloom/__init__.py")


def _built(place: Path, inside: dict[str, str | None] | None = None, sources: tuple[str, ...] = SOURCES) -> list[str]:
    """The faults of a repository with one distribution, whose wheel holds these files besides or instead."""
    (place / "core").mkdir()
    (place / "core/pyproject.toml").write_text('[project]\nname = "slideloom-core"\nversion = "0.5"\n')
    (place / "pyproject.toml").write_text('[project]\nname = "slideloom-core"\nversion = "0.5"\n')
    dist = place / "dist"
    dist.mkdir()
    with zipfile.ZipFile(dist / WHEEL, "w") as wheel:
        for name, text in {**INSIDE, **(inside or {})}.items():
            if text is not None:
                wheel.writestr(name, text)
    with tarfile.open(dist / ARCHIVE, "w:gz") as archive:
        for name in sources:
            archive.addfile(tarfile.TarInfo(f"slideloom_core-0.5/{name}"), io.BytesIO())
    return list(check["faults"](dist, place))


def test_a_whole_distribution_has_no_faults(tmp_path: Path) -> None:
    assert _built(tmp_path) == []


INFO = "slideloom_core-0.5.dist-info"


@pytest.mark.parametrize(
    ("inside", "fault"),
    [
        ({f"{INFO}/licenses/LICENSE": None}, "has no licence text"),
        ({"slideloom/py.typed": None}, "has no py.typed"),
        ({"tests/test_a.py": ""}, "tests/test_a.py does not belong there"),
        ({"slideloom/__pycache__/a.pyc": ""}, "slideloom/__pycache__/a.pyc does not belong there"),
        ({"slideloom/build.log": ""}, "slideloom/build.log does not belong there"),
        ({f"{INFO}/METADATA": ABOUT.replace("0.5", "0.4")}, "Version is '0.4' instead of '0.5'"),
        ({f"{INFO}/METADATA": ABOUT.replace("Apache-2.0", "MIT")}, "License-Expression is 'MIT' instead of 'Apache"),
        ({f"{INFO}/METADATA": ABOUT.replace("A readme.\n", "")}, "has no readme"),
        (
            {f"{INFO}/METADATA": ABOUT.replace("\n\n", "\nRequires-Dist: slideloom-qc\n\n")},
            "needs slideloom-qc, which has no bound",
        ),
        (
            {f"{INFO}/METADATA": ABOUT.replace("\n\n", "\nRequires-Dist: a @ https://x.org/a.whl\n\n")},
            "which no index has",
        ),
    ],
)
def test_what_a_wheel_lacks_or_should_not_hold_is_told(
    inside: dict[str, str | None], fault: str, tmp_path: Path
) -> None:
    (told,) = _built(tmp_path, inside)

    assert told.startswith(f"{WHEEL}: ")
    assert fault in told


def test_a_source_archive_without_a_licence_or_with_built_code_is_told(tmp_path: Path) -> None:
    told = _built(tmp_path, sources=(*SOURCES[1:], "src/slideloom/_kernels.so"))

    assert told == [
        f"{ARCHIVE}: has no LICENSE",
        f"{ARCHIVE}: slideloom_core-0.5/src/slideloom/_kernels.so does not belong there",
    ]


def test_what_is_missing_and_what_is_of_another_version_is_told(tmp_path: Path) -> None:
    _built(tmp_path)
    (tmp_path / "dist" / WHEEL).rename(tmp_path / "dist" / WHEEL.replace("0.5", "0.4"))

    assert list(check["faults"](tmp_path / "dist", tmp_path)) == [
        "slideloom-core: no wheel slideloom_core-0.5-*.whl",
        "slideloom_core-0.4-py3-none-any.whl: is none of ours, or of another version",
    ]


order = run_path(str(ROOT / "packaging/in_order.py"))
conda = run_path(str(ROOT / "packaging/conda_recipe.py"))
PROJECTS = [
    tomllib.loads(path.read_text(encoding="utf-8"))["project"]
    for path in (ROOT / "pyproject.toml", ROOT / "core/pyproject.toml", *ROOT.glob("plugins/*/pyproject.toml"))
]


@pytest.fixture
def archives(tmp_path: Path) -> Path:
    """A folder with a source archive and a wheel of each distribution, which hold their names."""
    for project in PROJECTS:
        stem = f"{project['name'].replace('-', '_')}-{project['version']}"
        (tmp_path / f"{stem}.tar.gz").write_text(project["name"])
        (tmp_path / f"{stem}-py3-none-any.whl").write_text(project["name"])
    return tmp_path


def test_nothing_is_published_before_what_it_needs(archives: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    into = tmp_path_factory.mktemp("sorted")

    order["sort"](archives, into)

    place = {path.read_text(): path.parent.name for path in into.rglob("*.whl")}
    assert set(place) == {project["name"] for project in PROJECTS}
    assert len(list(into.rglob("*.tar.gz"))) == len(PROJECTS)
    for project in PROJECTS:
        needs = {need.name for need in _needs(project)} & set(place)
        wrong = [need for need in needs - {project["name"]} if place[need] > place[project["name"]]]
        assert wrong == [], project["name"]


@pytest.mark.parametrize("change", ["lost", "strange"])
def test_an_incomplete_or_strange_release_is_not_sorted(change: str, archives: Path, tmp_path: Path) -> None:
    if change == "lost":
        for path in archives.glob("slideloom_qc-*"):
            path.unlink()
    else:
        (archives / "numpy-2.0.tar.gz").touch()
    into = archives / "into"

    with pytest.raises(ValueError, match="slideloom-qc" if change == "lost" else "numpy"):
        order["sort"](archives, into)

    assert not into.exists()


def test_the_conda_recipe_has_each_distribution_with_its_needs_and_checksum(archives: Path) -> None:
    made = conda["recipe"](archives, "https://example.org/files/")

    outputs = {output["package"]["name"]: output for output in made["outputs"]}
    assert set(outputs) == {project["name"] for project in PROJECTS} - {"slideloom-czi"}
    qc = outputs["slideloom-qc"]
    assert qc["source"]["sha256"] == hashlib.sha256(b"slideloom-qc").hexdigest()
    assert qc["source"]["url"] == "${{ sources }}/slideloom_qc-${{ version }}.tar.gz"
    assert any(need.startswith("py-opencv >=4.9") for need in qc["requirements"]["run"])
    assert outputs["slideloom-core"]["requirements"]["build"] == ["${{ compiler('c') }}", "${{ stdlib('c') }}"]
    assert "noarch" not in outputs["slideloom-stain"]["build"]
    assert outputs["slideloom-cli"]["build"]["python"] == {"entry_points": ["slideloom = slideloom_cli.main:entry"]}


def test_the_image_is_made_without_what_a_clone_may_hold_besides() -> None:
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()

    assert {".git", ".nox", "dist", "**/*.so"} <= set(left_out)
