"""Which libraries are installed, which of them load, and which have versions that are wrong here."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib import metadata
from typing import Any

from packaging.requirements import Requirement
from slideloom.base.installing import pip_install
from slideloom.plugins.discovery import name_and_version
from slideloom.plugins.hookspecs import Library

from slideloom_cli.doctor.findings import Finding

# If the processor is too old for their instructions, these libraries do not raise an error but end the process.
_ASK_APART = """
import importlib, json, sys
try:
    answer = [str(getattr(importlib.import_module(sys.argv[1]), "__version__", "")), ""]
except Exception as error:
    answer = ["", f"{type(error).__name__}: {error}"]
print(json.dumps(answer))
"""
# The messages that TensorFlow prints at each start are not findings; its errors are still shown.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0"}


def examine(library: Library) -> dict[str, Any]:
    """Version and builds of a library, or why it cannot be imported and the remedy, and the faults it is known for."""
    version, error = _ask_apart(library.module) if library.apart else _ask(library.module)
    row: dict[str, Any] = {"library": library.module, "gives": library.gives, "needed": library.needed, "error": error}
    if error:
        row["remedy"] = pip_install(library.install)
    row["version"] = version
    row["builds"] = {} if error else _builds_of(library)
    row["faults"] = [] if error else list(_known_faults(library.faults))
    return row


def finding_of(row: Mapping[str, Any]) -> Iterator[Finding]:
    """The lines of what `examine` found."""
    name, gives = row["library"], row["gives"]
    if row["error"]:
        words = f"{gives}: {row['remedy']}" + (f" ({row['error']})" if row["needed"] else "")
        yield Finding("fault" if row["needed"] else "absent", name, words)
        return
    version = ", ".join([row["version"], *(f"{dist} {build}" for dist, build in row["builds"].items())])
    yield Finding("ok", name, f"{version:<28} {gives}")
    for fault in row["faults"]:
        yield Finding("fault", name, fault)


def unmet_requirements() -> Iterator[str]:
    """Requirements of slideloom's distributions that the installed versions do not meet.

    pip checks them when it installs, and not when another library is changed afterwards.
    """
    for dist in metadata.distributions():
        name, own_version = name_and_version(dist)  # of others, too: metadata of some are damaged
        if name != "slideloom" and not name.startswith("slideloom-"):
            continue
        for need in map(Requirement, dist.requires or ()):
            if need.marker is not None and not need.marker.evaluate({"extra": ""}):
                continue
            version = _version_of(need.name)
            if version is None:
                yield f"{name} {own_version} needs {need}, which is not installed: {pip_install(str(need))}"
            elif not need.specifier.contains(version, prereleases=True):
                yield f"{name} {own_version} needs {need}; {version} is installed: {pip_install(str(need))}"


def _known_faults(faults: Mapping[str, str]) -> Iterator[str]:
    for versions, words in faults.items():
        wrong = Requirement(versions)
        found = _version_of(wrong.name)
        if found is not None and wrong.specifier.contains(found, prereleases=True):
            yield f"{wrong.name} {found}: {words}: pip install --upgrade {wrong.name}"


def _version_of(dist: str) -> str | None:
    try:
        return name_and_version(metadata.distribution(dist))[1] or None
    except metadata.PackageNotFoundError:
        return None


def _builds_of(library: Library) -> dict[str, str]:
    """Versions of the distributions that bring its native part: of OpenSlide, one version has had several builds."""
    versions = {dist: _version_of(dist) for dist in library.reported if dist.endswith(("-bin", "-binary"))}
    return {dist: version for dist, version in versions.items() if version is not None}  # None: the system's own


def _ask(name: str) -> tuple[str, str]:
    """The version and the error of a library, one of them empty."""
    try:
        module = importlib.import_module(name)
    except Exception as error:
        return "", f"{type(error).__name__}: {error}"
    native = getattr(module, "__library_version__", "")  # that of OpenSlide itself, besides its Python package
    if name == "pyvips":
        native = ".".join(str(module.version(part)) for part in range(3))
    return str(getattr(module, "__version__", "")) + (f" (native {native})" if native else ""), ""


def _ask_apart(name: str) -> tuple[str, str]:
    done = subprocess.run(  # noqa: S603 - the module is one of our own list
        [sys.executable, "-P", "-c", _ASK_APART, name],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        env={**_QUIET, **os.environ},
    )
    if done.returncode:
        return "", f"importing it ends the process with code {done.returncode}"
    version, error = json.loads(done.stdout.splitlines()[-1])
    return version, error
