"""What a folder of built distributions must hold: `python packaging/check_dists.py dist`.

For every distribution of the repository a source archive and a wheel of its version, each with licence and readme; in a
wheel its package, typed, and nothing beside it.
"""

from __future__ import annotations

import email
import re
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

ROOT = Path(__file__).parents[1]
_STRAY = re.compile(r"(^|/)(tests?|__pycache__|\.[^/]+|build|dist)/|\.(pyc|orig|rej|log|o)$")
_MOST_BYTES = 20 << 20


def faults(folder: Path, root: Path = ROOT) -> Iterator[str]:
    """What is missing or too much, a line each."""
    expected = dict(_expected(root))
    found = {path.name for path in folder.iterdir()}
    for name, (version, package) in expected.items():
        stem = f"{name.replace('-', '_')}-{version}"
        archive = folder / f"{stem}.tar.gz"
        wheels = sorted(folder.glob(f"{stem}-*.whl"))
        yield from [] if archive.is_file() else [f"{name}: no source archive {archive.name}"]
        yield from [] if wheels else [f"{name}: no wheel {stem}-*.whl"]
        if archive.is_file():
            yield from (f"{archive.name}: {fault}" for fault in _in_archive(archive, stem))
        for wheel in wheels:
            yield from (f"{wheel.name}: {fault}" for fault in _in_wheel(wheel, name, version, package))
        found -= {archive.name, *(wheel.name for wheel in wheels)}
    yield from (f"{name}: is none of ours, or of another version" for name in sorted(found))


def _expected(root: Path) -> Iterator[tuple[str, tuple[str, str]]]:
    """Name, version and import package (empty for the distribution that only names others) of each distribution."""
    for path in (root / "pyproject.toml", root / "core/pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml"))):
        project = tomllib.loads(path.read_text(encoding="utf-8"))["project"]
        package = {root: "", root / "core": "slideloom"}.get(path.parent, f"slideloom_{path.parent.name}")
        yield project["name"], (project["version"], package)


def _in_archive(path: Path, stem: str) -> Iterator[str]:
    with tarfile.open(path) as archive:
        names = archive.getnames()
    for name in ("LICENSE", "README.md", "pyproject.toml", "PKG-INFO"):
        yield from [] if f"{stem}/{name}" in names else [f"has no {name}"]
    yield from (f"{name} does not belong there" for name in names if name.endswith((".so", ".pyd", ".pyc", ".o")))
    yield from _size(path)


def _in_wheel(path: Path, name: str, version: str, package: str) -> Iterator[str]:
    with zipfile.ZipFile(path) as wheel:
        names = wheel.namelist()
        info = next(part.partition("/")[0] for part in names if ".dist-info/" in part)
        about = email.message_from_bytes(wheel.read(f"{info}/METADATA"))
    yield from _metadata(about, name, version)
    yield from [] if f"{info}/licenses/LICENSE" in names else ["has no licence text"]
    yield from [] if not package or f"{package}/py.typed" in names else ["has no py.typed"]
    for part in names:
        if part.startswith(f"{info}/"):
            continue
        if not package or not part.startswith(f"{package}/") or _STRAY.search(part):
            yield f"{part} does not belong there"
    yield from _size(path)


def _metadata(about: Message, name: str, version: str) -> Iterator[str]:
    wanted = {"Name": name, "Version": version, "License-Expression": "Apache-2.0", "Requires-Python": ">=3.11"}
    for key, value in wanted.items():
        yield from [] if about[key] == value else [f"{key} is {about[key]!r} instead of {value!r}"]
    yield from [] if about["Summary"] else ["has no summary"]
    yield from [] if about.get_payload() else ["has no readme"]
    for need in about.get_all("Requires-Dist", []):
        yield from [f"needs {need}, which has no bound"] if re.match(r"slideloom[\w-]*(;|$| *;)", need) else []
        yield from [f"needs {need}, which no index has"] if "@" in need else []


def _size(path: Path) -> Iterator[str]:
    size = path.stat().st_size
    yield from [f"has {size} bytes"] if size > _MOST_BYTES else []


def main(words: list[str]) -> int:
    """Print the faults; 1 if there are any."""
    found = list(faults(Path(words[0])))
    print("\n".join(found) or f"{words[0]}: every distribution is whole")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
