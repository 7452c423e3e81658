"""One version for all distributions: `python packaging/versions.py 0.2.0` writes it wherever it stands.

It stands in the root's pyproject.toml; everywhere else it is a copy, which tests compare. A plugin takes any core whose
public names mean the same: up to the next major release, and before 1.0 up to the next minor one. What uses the inside
of the core (the command, projects, loaders) takes that of its own release only.
"""

from __future__ import annotations

import datetime
import re
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).parents[1]
_OWN = r"slideloom(?:-[a-z0-9]+)?(?:\[[a-z0-9,]+\])?"


def version() -> str:
    """The version of this tree."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    return str(tomllib.loads(text)["project"]["version"])


def compatible(version: str) -> str:
    """Which versions of a distribution of ours a plugin of this version takes, such as ">=0.1.0,<0.2"."""
    major, minor = Version(version).release[:2]
    below = f"{major + 1}" if major else f"0.{minor + 1}"
    return f">={version},<{below}"


def bump(new: str, *, root: Path = ROOT, today: datetime.date | None = None) -> list[Path]:
    """Write a version wherever it stands, and close the open section of the changelog.

    Args:
        new: such as "0.2.0".
        root: of the repository.
        today: date of the release; that of this computer by default.

    Returns:
        The files that were changed.

    Raises:
        ValueError: it is no version, or not above the present one unless that is still unreleased.
    """
    text = (root / "pyproject.toml").read_text(encoding="utf-8")
    old = str(tomllib.loads(text)["project"]["version"])
    is_open = f"## {old} (unreleased)" in (root / "CHANGELOG.md").read_text(encoding="utf-8")
    try:
        fits = Version(new) > Version(old) or (is_open and new == old)
    except InvalidVersion as error:
        raise ValueError(f"{new!r} is no version; write it like 0.2.0") from error
    if not fits or str(Version(new)) != new:
        raise ValueError(f"{new!r} does not follow {old}; write it like 0.2.0")
    changed = []
    for path, change in _places(root, old, new, today or datetime.date.today()):
        before = path.read_text(encoding="utf-8")
        after = change(before)
        if after != before:
            path.write_text(after, encoding="utf-8")
            changed.append(path)
    return changed


def _places(root: Path, old: str, new: str, today: datetime.date) -> Iterator[tuple[Path, Callable[[str], str]]]:
    for path in (root / "pyproject.toml", root / "core/pyproject.toml", *sorted(root.glob("plugins/*/pyproject.toml"))):
        yield path, lambda text: in_project(text, old, new)
    yield (
        root / "core/src/slideloom/__init__.py",
        lambda text: text.replace(f'__version__ = "{old}"', f'__version__ = "{new}"'),
    )
    yield root / "CITATION.cff", lambda text: re.sub(r"(?m)^version: .*$", f"version: {new}", text)
    yield (
        root / "CHANGELOG.md",
        lambda text: re.sub(r"(?m)^## \S+ \(unreleased\)$", f"## {new} ({today.isoformat()})", text),
    )


def in_project(text: str, old: str, new: str) -> str:
    """A pyproject.toml with the new version: its own, and those of the distributions that it needs."""
    text = re.sub(rf'(?m)^version = "{re.escape(old)}"$', f'version = "{new}"', text)
    text = re.sub(rf'"({_OWN})=={re.escape(old)}"', rf'"\1=={new}"', text)
    return re.sub(rf'"({_OWN}){re.escape(compatible(old))}"', rf'"\1{compatible(new)}"', text)


def main(words: list[str]) -> int:
    """Print the present version, or write a new one."""
    if not words:
        print(version())
        return 0
    try:
        changed = bump(words[0])
    except ValueError as error:
        print(f"versions: {error}", file=sys.stderr)
        return 2
    print(f"{words[0]}: {len(changed)} files changed; commit them and tag v{words[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
