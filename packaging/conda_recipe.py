"""Write the conda-forge recipe of all distributions: `... conda_recipe.py dist --sources URL > recipe.yaml`.

It is made out of the distributions' own pyproject.toml files and the source archives of a release, whose checksums it
takes, so that nothing is written twice. URL is where the archives of the release are, as the index names it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
# What has another name there, or brings its native part by itself.
CONDA_NAMES = {
    "opencv-python-headless": "py-opencv",
    "openslide-bin": "openslide",
    "huggingface-hub": "huggingface_hub",
}
# A version of another package than on the index: there, the last part counts builds.
OWN_BOUNDS = {"openslide-bin": ">=4.0.0", "opencv-python-headless": ">=4.9.0"}
# Not on conda-forge: their distributions are left out.
NOT_THERE = {"pylibCZIrw"}
COMPILED = {"slideloom-core", "slideloom-stain"}


def recipe(dist: Path, sources: str, root: Path = ROOT) -> dict[str, Any]:
    """The recipe, in the form that rattler-build reads (schema version 1).

    Args:
        dist: folder with the source archives.
        sources: where they can be downloaded: the address before the file's name.
        root: of the repository.

    Raises:
        FileNotFoundError: an archive is missing.
    """
    projects = list(_projects(root))
    version = projects[0]["version"]
    return {
        "schema_version": 1,
        "context": {"version": version, "sources": sources.rstrip("/")},
        "recipe": {"name": "slideloom", "version": "${{ version }}"},
        "outputs": [_output(project, dist) for project in projects],
        "about": {
            "license": "Apache-2.0",
            "license_file": "LICENSE",
            "summary": projects[0]["description"],
        },
        "extra": {"recipe-maintainers": ["slideloom"]},
    }


def _projects(root: Path) -> Iterator[dict[str, Any]]:
    for path in (root / "pyproject.toml", root / "core/pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml"))):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        if not NOT_THERE & {Requirement(text).name for text in project["dependencies"]}:
            yield project


def _output(project: dict[str, Any], dist: Path) -> dict[str, Any]:
    name = project["name"]
    archive = f"{name.replace('-', '_')}-{project['version']}.tar.gz"
    is_compiled = name in COMPILED
    needs = [need for text in project["dependencies"] for need in _conda(Requirement(text))]
    python = "python" if is_compiled else "python >=3.11"
    host = [python, "pip", "setuptools >=77" if is_compiled else "hatchling >=1.24"]
    build: dict[str, Any] = {"script": "python -m pip install . -vv --no-deps --no-build-isolation"}
    requirements: dict[str, Any] = {"host": host, "run": [python, *needs]}
    if is_compiled:
        requirements = {"build": ["${{ compiler('c') }}", "${{ stdlib('c') }}"], **requirements}
    else:
        build["noarch"] = "python"
    if "scripts" in project:
        build["python"] = {"entry_points": [f"{name} = {entry}" for name, entry in project["scripts"].items()]}
    package = {"slideloom": "slideloom", "slideloom-core": "slideloom"}.get(name, name.replace("-", "_"))
    return {
        "package": {"name": name, "version": "${{ version }}"},
        "source": {
            "url": "${{ sources }}/" + archive.replace(project["version"], "${{ version }}"),
            "sha256": hashlib.sha256((dist / archive).read_bytes()).hexdigest(),
        },
        "build": build,
        "requirements": requirements,
        "tests": [{"python": {"imports": [package], "pip_check": name != "slideloom-core"}}],
    }


def _conda(need: Requirement) -> Iterator[str]:
    """A requirement as conda writes it; none if a marker leaves it out."""
    if need.marker is None or need.marker.evaluate({"extra": ""}):
        bounds = OWN_BOUNDS.get(need.name, ",".join(sorted(map(str, need.specifier), reverse=True)))
        yield f"{CONDA_NAMES.get(need.name, need.name.lower())} {bounds}".strip()


def main(words: list[str]) -> int:
    """Print the recipe. It is JSON, which is YAML too."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dist", type=Path)
    parser.add_argument("--sources", required=True)
    chosen = parser.parse_args(words)
    print(json.dumps(recipe(chosen.dist, chosen.sources), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
