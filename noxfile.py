"""Sessions: demo, tests, core_alone, lint, types, docs, bench, wheels."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import nox

nox.options.sessions = ["tests", "core_alone", "lint", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
SOURCES = ["core/src", *(f"plugins/{name}/src" for name in PLUGINS)]
TEST_TOOLS = ["pytest>=8", "pytest-cov>=5", "pytest-xdist>=3.5", "hypothesis>=6.100"]
TORCH = ["torch>=2.4", "safetensors>=0.4", "huggingface_hub>=0.23"]
DEEP = [*TORCH, "tensorflow-cpu>=2.16", "onnx>=1.16", "onnxruntime>=1.18"]
LOADERS = [
    "webdataset>=0.2",
    "tifffile>=2024.1",
    "imagecodecs>=2024.1",
    "pyarrow>=14",
    "pymupdf>=1.24",
    "hatchling>=1.24",
    "editables>=0.5",
    "matplotlib>=3.8",
]


def _install_clone(session: nox.Session, *more: str) -> None:
    session.install("-r", "requirements.txt", "-c", "constraints.txt", *more)


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job on the demo slide, as a new user would."""
    _install_clone(session)
    session.run("slideloom", "demo", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """All tests but those marked core-alone; `nox -s tests -- plugins/qc` runs a part."""
    _install_clone(session, *TEST_TOOLS, *DEEP, *LOADERS)
    # Two processes, whole files each: fixtures are made once per file, and torch keeps to one thread in each.
    arguments = session.posargs or ["-n", "2", "--dist", "loadfile", "--cov", "--cov-report=term:skip-covered"]
    session.run(
        "pytest", *arguments, env={"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
    )


@nox.session
def core_alone(session: nox.Session) -> None:
    """The core imports, runs and passes its tests with its five libraries and no plugin."""
    session.install("./core", *TEST_TOOLS)
    session.run("pytest", "core/tests", "-q", "-p", "no:cacheprovider", env={"SLIDELOOM_CORE_ALONE": "1"})


@nox.session
def lint(session: nox.Session) -> None:
    """Ruff, and the layers by import-linter."""
    _install_clone(session, "ruff>=0.6", "import-linter>=2.17")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict, on the core and every plugin."""
    _install_clone(session, "mypy>=1.11", "pandas-stubs>=2.1", *TEST_TOOLS, *TORCH)
    session.run("mypy", *SOURCES)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation site, warnings as errors."""
    # The reference page about testing is made out of the contracts, which import pytest.
    _install_clone(session, "mkdocs-material>=9.5", "mkdocs>=1.6,<2", "pytest>=8")
    session.run("mkdocs", "build", "--strict", "--quiet")


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks: ratios measured in one run, as a table and as JSON under bench-results/."""
    _install_clone(session, "psutil>=5.9")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every wheel, install them in a clean environment, and run the demo from there."""
    session.install("build>=1.2", "hatchling>=1.24", "setuptools>=77")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    for folder in ("core", *(f"plugins/{name}" for name in PLUGINS), "."):
        session.run("python", "-m", "build", "--no-isolation", "--wheel", "--outdir", "dist", folder, silent=True)
    with tempfile.TemporaryDirectory() as place:
        session.run("python", "-m", "venv", f"{place}/venv")
        python = next(
            path for path in (Path(place, "venv/bin/python"), Path(place, "venv/Scripts/python.exe")) if path.exists()
        )
        session.run(str(python), "-m", "pip", "install", "-q", "--find-links", "dist", "slideloom", external=True)
        session.run(str(python), "-m", "slideloom", "demo", "--out", f"{place}/demo", external=True)
        session.run(str(python), "-m", "slideloom", "doctor", external=True)
