"""Sessions: demo, tests, core_alone, lint, types, docs, and more that `nox --list` tells.

Tests, lint, types and docs share one environment, because installing it takes longer than most of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import venv
from collections import Counter
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["tests", "core_alone", "lint", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
DISTS = ["core", *(f"plugins/{name}" for name in PLUGINS), "."]
SOURCES = ["core/src", *(f"plugins/{name}/src" for name in PLUGINS)]
BUILD_TOOLS = ["hatchling>=1.24", "editables>=0.5", "setuptools>=77"]
TEST_TOOLS = ["pytest>=8", "pytest-cov>=5", "pytest-xdist>=3.5", "hypothesis>=6.100"]
CHECK_TOOLS = [
    "ruff>=0.6",
    "import-linter>=2.0",
    "mypy>=1.11",
    "pandas-stubs>=2.1",
    "mkdocs-material>=9.5",
    "mkdocs>=1.6,<2",
]
TORCH = ["torch>=2.4", "safetensors>=0.4", "huggingface_hub>=0.23"]
DEEP = [*TORCH, "tensorflow-cpu>=2.16", "onnx>=1.16", "onnxruntime>=1.18"]
LOADERS = [
    "webdataset>=0.2",
    "tifffile>=2024.1",
    "imagecodecs>=2024.1",
    "pyarrow>=14",
    "pymupdf>=1.24",
    "matplotlib>=3.8",
]
# Two processes, whole files each, so that fixtures are made once per file; files with slow tests first (conftest.py).
IN_PARALLEL = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
QUIET_LIBRARIES = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
COVERAGE = ".nox/coverage.json"


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job on the demo slide, as a new user would."""
    session.install("-r", "requirements.txt", "-c", "constraints.txt")
    session.run("slideloom", "demo", *session.posargs)


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """All tests, with coverage; `nox -s tests -- plugins/qc -k otsu` runs a part."""
    session.log('All tests take about ten minutes on two cores. `nox -s tests -- -m "not slow"` takes half as long:')
    session.log("it leaves out runs that are killed and resumed, whole cohorts, and outside packages.")
    chosen = [word for word in session.posargs if (ROOT / word.partition("::")[0]).exists()]
    arguments = [*([] if chosen else IN_PARALLEL), *session.posargs]
    if not session.posargs:
        arguments += ["--cov", "--cov-report", f"json:{COVERAGE}"]
    _run_shared(session, "pytest", *arguments, env=QUIET_LIBRARIES)
    if not session.posargs:
        session.log("Covered: " + _coverage_by_distribution())


@nox.session
def core_alone(session: nox.Session) -> None:
    """The core imports, runs and passes its tests with its four libraries and the testing package."""
    session.install("./core", "./plugins/testing", *TEST_TOOLS)
    arguments = session.posargs or ["core/tests", "-q", *IN_PARALLEL]
    session.run("pytest", *arguments, "-p", "no:cacheprovider", env={"SLIDELOOM_CORE_ALONE": "1"})


@nox.session(python=False)
def lint(session: nox.Session) -> None:
    """Ruff, and the layers by import-linter."""
    _run_shared(session, "ruff", "check", ".")
    _run_shared(session, "ruff", "format", "--check", ".")
    _run_shared(session, "lint-imports")


@nox.session(python=False)
def types(session: nox.Session) -> None:
    """Mypy, strict, on the core and every plugin."""
    _run_shared(session, "mypy", *SOURCES)


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """The documentation site, warnings as errors."""
    _run_shared(session, "mkdocs", "build", "--strict", "--quiet")


@nox.session
def bench(session: nox.Session) -> None:
    """Benchmarks: ratios measured in one run, as a table and as JSON under bench-results/."""
    session.install("-r", "requirements.txt", "-c", "constraints.txt", "psutil>=5.9")
    session.run("python", "-m", "bench", *session.posargs)


@nox.session
def wheels(session: nox.Session) -> None:
    """Build every wheel, install them in a clean environment, and run the demo from there."""
    session.install("build>=1.2", *BUILD_TOOLS)
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    for folder in DISTS:
        session.run("python", "-m", "build", "--no-isolation", "--wheel", "--outdir", "dist", folder, silent=True)
    with tempfile.TemporaryDirectory() as place:
        session.run("python", "-m", "venv", f"{place}/venv")
        python = str(_programs(Path(place, "venv")) / "python")
        session.run(python, "-m", "pip", "install", "-q", "--find-links", "dist", "slideloom", external=True)
        session.run(python, "-m", "slideloom", "demo", "--out", f"{place}/demo", external=True)
        session.run(python, "-m", "slideloom", "doctor", external=True)


def _run_shared(session: nox.Session, program: str, *words: str, env: dict[str, str] | None = None) -> None:
    """Run a program of the environment that tests, lint, types and docs share."""
    session.run(str(_shared(session) / program), *words, env=env, external=True)


def _shared(session: nox.Session) -> Path:
    """The folder of that environment's programs; it is made anew when what belongs into it has changed."""
    folder = ROOT / ".nox" / "shared"
    needs = [*BUILD_TOOLS, *TEST_TOOLS, *CHECK_TOOLS, *DEEP, *LOADERS]
    files = [ROOT / "requirements.txt", ROOT / "constraints.txt", *(ROOT / dist / "pyproject.toml" for dist in DISTS)]
    files += sorted(ROOT.glob("core/src/**/*.c"))
    wanted = hashlib.sha256(b"\0".join([repr(needs).encode(), *(path.read_bytes() for path in files)])).hexdigest()
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return _programs(folder)
    if not folder.exists():
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    pip = [str(_programs(folder) / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    session.run(*pip, *BUILD_TOOLS, external=True)
    # One environment to build in is enough for all the distributions of the clone.
    session.run(*pip, "--no-build-isolation", "-r", "requirements.txt", "-c", "constraints.txt", *needs, external=True)
    stamp.write_text(wanted)
    return _programs(folder)


def _programs(environment: Path) -> Path:
    return environment / ("Scripts" if os.name == "nt" else "bin")


def _coverage_by_distribution() -> str:
    """Share of lines and branches that tests ran, such as "core 95 %, qc 97 %"."""
    covered: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for name, file in json.loads((ROOT / COVERAGE).read_text(encoding="utf-8"))["files"].items():
        found = re.search(r"plugins[/\\](\w+)|(core)", name)
        dist = (found[1] or found[2]) if found else name
        summary = file["summary"]
        covered[dist] += summary["covered_lines"] + summary["covered_branches"]
        total[dist] += summary["num_statements"] + summary["num_branches"]
    return ", ".join(f"{dist} {100 * covered[dist] / total[dist]:.0f} %" for dist in sorted(total) if total[dist])
