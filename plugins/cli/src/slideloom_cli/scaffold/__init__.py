"""Writes complete plugin packages from templates, for `slideloom new-plugin`."""

from __future__ import annotations

import keyword
import re
import sys
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from string import Template

from attrs import frozen
from slideloom.base.errors import ConfigError
from slideloom.base.storing import storing_in
from slideloom.plugins.discovery import registry
from slideloom.plugins.hookspecs import KINDS


@frozen
class _Kind:
    """A kind of step with templates.

    Attributes:
        noun: what the kind is called.
        contract: name of its contract class.
        summary: what the template's step does.
        toml: how a pipeline file uses the step, up to its name.
        needs: libraries that the template imports, besides those of every plugin.
    """

    noun: str
    contract: str
    summary: str
    toml: str
    needs: tuple[str, ...] = ()


_KINDS = {
    "reader": _Kind("reader", "Reader", "Opens NumPy files (.npy) that hold an image.", "[slides]\nreader = "),
    "roi": _Kind(
        "ROI source",
        "RoiSource",
        "Regions of interest out of tables of rectangles.",
        "[[roi]]\nuse = ",
        ("shapely>=2.0.4",),
    ),
    "qc": _Kind("slide QC", "SlideQc", "Discards what is nearly black on a slide.", "[[qc]]\nuse = "),
    "filter": _Kind("tile filter", "TileFilter", "Drops tiles with little contrast.", "[[filter]]\nuse = "),
    "normalizer": _Kind("normalizer", "Normalizer", "Makes the glass of a slide white.", "[normalizer]\nuse = "),
    "sink": _Kind("sink", "Sink", "Stores the mean colour of every tile.", "[[sink]]\nuse = "),
    "placement": _Kind(
        "placement", "Placement", "Places tiles in rows that are shifted like bricks.", "[placement]\nuse = "
    ),
}
_NAME = re.compile(r"[a-z]([a-z0-9._-]*[a-z0-9])?", re.IGNORECASE)
_STEP = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


def kinds_offered() -> tuple[str, ...]:
    """The kinds of steps with templates."""
    return tuple(_KINDS)


@frozen
class Names:
    """The names of a package and of what is in it.

    Attributes:
        dist: name of the distribution, normalized by PEP 503, such as "slideloom-pale-tiles".
        package: name of the import package, such as "slideloom_pale_tiles".
        step: name of the step in pipeline files, such as "pale-tiles".
        cls: name of the settings class, such as "PaleTiles".
    """

    dist: str
    package: str
    step: str
    cls: str


def names_for(name: str) -> Names:
    """The names of a plugin package.

    Args:
        name: name of the distribution, with or without the prefix "slideloom-".

    Raises:
        ConfigError: it cannot be the name of a distribution, a package or a step, or the package is installed already.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot be a package name; use letters, digits and single hyphens, and start with a letter, "
            "such as slideloom-pale-tiles"
        )
    dist = re.sub(r"[-_.]+", "-", name).lower()  # normalized by PEP 503
    step = dist.removeprefix("slideloom-")
    package = dist.replace("-", "_")
    if not _STEP.fullmatch(step) or keyword.iskeyword(package):
        raise ConfigError(f"{name!r} leaves no good name for a step; start with a letter, such as slideloom-pale-tiles")
    if package in sys.stdlib_module_names or find_spec(package) is not None:
        raise ConfigError(f"{name!r}: a package '{package}' is installed here; choose another name")
    return Names(dist=dist, package=package, step=step, cls="".join(word.capitalize() for word in step.split("-")))


def write_plugin(name: str, *, kind: str, folder: Path) -> Path:
    """Write a package with one working step of a kind, its contract test, and a README.

    Args:
        name: see `names_for`.
        kind: one of `kinds_offered()`.
        folder: where the package's own folder is made.

    Returns:
        The package's folder.

    Raises:
        ConfigError: the name is invalid or taken, or the folder already exists; nothing is overwritten.
        OutputError: the folder cannot be written.
    """
    names = names_for(name)
    if names.step in registry().names(kind):
        raise ConfigError(f"a {kind} named '{names.step}' is installed here; choose another name")
    home = folder / names.dist
    if home.exists():
        raise ConfigError(f"{home}: already exists and is not overwritten; choose another name or --out")
    words = _words(names, kind)
    with storing_in(home):
        for path, text in _files(names, kind).items():
            target = home / path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("x", encoding="utf-8", newline="\n") as file:
                file.write(Template(text).substitute(words))
    return home


def _words(names: Names, kind: str) -> dict[str, str]:
    about = _KINDS[kind]
    needs = sorted(["attrs>=23.2", "numpy>=1.26", "slideloom-core>=0.1", *about.needs])
    toml = f'{about.toml}"{names.step}"'
    return {
        "dist": names.dist,
        "package": names.package,
        "step": names.step,
        "cls": names.cls,
        "noun": about.noun,
        "hook": KINDS[kind],
        "contract": about.contract,
        "contract_and_settings": ", ".join(sorted([about.contract, "Settings"])),
        "summary": about.summary,
        "toml": toml + ('\nfolder = "regions"' if kind == "roi" else ""),
        "dependencies": ", ".join(f'"{need}"' for need in needs),
    }


def _files(names: Names, kind: str) -> dict[str, str]:
    """The template texts, by the path that each is written to."""
    templates = resources.files(__name__) / "templates"
    source = f"src/{names.package}"
    homes = {
        "common/pyproject.toml": "pyproject.toml",
        "common/README.md": "README.md",
        "common/gitignore": ".gitignore",
        "common/py.typed": f"{source}/py.typed",
        "common/plugin.py": f"{source}/plugin.py",
        "common/init.py": f"{source}/__init__.py",
        f"{kind}/settings.py": f"{source}/settings.py",
        f"{kind}/step.py": f"{source}/step.py",
        f"{kind}/test.py": f"tests/test_{names.package}.py",
    }
    return {home: (templates / f"{name}.template").read_text(encoding="utf-8") for name, home in homes.items()}
