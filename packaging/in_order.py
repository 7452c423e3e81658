"""Sort built distributions into folders in the order in which they can be published: `... in_order.py FOLDER`.

The folders are 1-core, 2-shared (what other plugins need), 3-plugins and 4-slideloom. Whoever installs while an upload
is going on finds either nothing new or all that is needed.
"""

from __future__ import annotations

import re
import shutil
import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).parents[1]
FOLDERS = ("1-core", "2-shared", "3-plugins", "4-slideloom")


def ranks(root: Path = ROOT) -> dict[str, int]:
    """Of each distribution, the number of its folder; nothing needs one of a later folder."""
    projects = [
        tomllib.loads(path.read_text(encoding="utf-8"))["project"] for path in root.glob("plugins/*/pyproject.toml")
    ]
    needed = {
        Requirement(text).name
        for project in projects
        for texts in (project["dependencies"], *project.get("optional-dependencies", {}).values())
        for text in texts
    }
    found = {project["name"]: 1 if project["name"] in needed else 2 for project in projects}
    return {"slideloom-core": 0, **found, "slideloom": 3}


def sort(folder: Path, into: Path, root: Path = ROOT) -> None:
    """Copy the distributions of a folder into the four.

    Raises:
        ValueError: one of them is none of ours, or one of ours is missing.
    """
    rank = ranks(root)
    files = {path: re.split(r"-\d", path.name)[0].replace("_", "-") for path in sorted(folder.iterdir())}
    strange = sorted(path.name for path, name in files.items() if name not in rank)
    missing = sorted(set(rank) - set(files.values()))
    if strange or missing:
        raise ValueError(f"{folder}: none of ours: {strange}; missing: {missing}")
    for path, name in files.items():
        place = into / FOLDERS[rank[name]]
        place.mkdir(exist_ok=True)
        shutil.copy2(path, place / path.name)


if __name__ == "__main__":
    sort(Path(sys.argv[1]), Path.cwd())
