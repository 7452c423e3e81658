"""Sessions: demo, tests, core_alone, lint, types, docs, and more that `nox --list` tells.

Tests, coverage, lint, types and docs share one environment, because installing it takes longer than most of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import tomllib
import venv
from collections import Counter
from pathlib import Path

import nox
from packaging.requirements import Requirement
from packaging.version import Version

nox.needs_version = ">=2024.4.15"
nox.options.sessions = ["tests", "core_alone", "lint", "types", "docs"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# What requirements.txt leaves out: a library under the LGPL, and a reader that has met no scanner's file.
APART = ["plugins/czi", "plugins/isyntax"]
DISTS = ["core", *(f"plugins/{name}" for name in PLUGINS), "."]
SOURCES = ["core/src", *(f"plugins/{name}/src" for name in PLUGINS)]
BUILD_TOOLS = ["hatchling>=1.24", "editables>=0.5", "setuptools>=77"]
TEST_TOOLS = ["pytest>=8", "pytest-cov>=5", "pytest-xdist>=3.5", "hypothesis>=6.100"]
DOCS_TOOLS = ["mkdocs-material>=9.5", "mkdocs>=1.6,<2"]
CHECK_TOOLS = [
    "ruff>=0.6",
    "import-linter>=2.17",
    "mypy>=1.11",
    "pandas-stubs>=2.1",
    *DOCS_TOOLS,
]
TORCH = ["torch>=2.4", "safetensors>=0.4", "huggingface_hub>=0.23"]
# The small build of TensorFlow is made for x86 only, and not for macOS.
_SMALL = "sys_platform != 'darwin' and platform_machine in 'x86_64 AMD64'"
TENSORFLOW = [f"tensorflow-cpu>=2.16; {_SMALL}", "tensorflow>=2.16; sys_platform == 'darwin'"]
TENSORFLOW += ["tensorflow>=2.16; sys_platform != 'darwin' and platform_machine not in 'x86_64 AMD64'"]
DEEP = [*TORCH, *TENSORFLOW, "tensorboard>=2.14", "onnx>=1.16", "onnxruntime>=1.18"]
TIFF_TOOLS = ["tifffile>=2024.1", "imagecodecs>=2024.6.1"]
CLUSTER_TOOLS = ["dask-jobqueue>=0.9", "kubernetes-validate>=1.31", "pyyaml>=6"]
REMOTE_TOOLS = ["s3fs>=2025.2", "moto[server]>=5"]
# What tests of the light plugins look at files with; of the plugins, only tifffile and dicom need some of them.
FILE_TOOLS = [*TIFF_TOOLS, *REMOTE_TOOLS, "pyisyntax>=0.1.7", "pymupdf>=1.24", "wsidicom>=0.36"]
LOADERS = [
    "webdataset>=0.2",
    *FILE_TOOLS,
    *CLUSTER_TOOLS,
    "pyarrow>=14",
    "matplotlib>=3.8",
    "lightning>=2.4",  # trains in several processes
    "playwright>=1.40",  # drives the Chromium of the system, where there is one
]
# Two processes, whole files each, so that fixtures are made once per file; files with slow tests first (conftest.py).
IN_PARALLEL = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
# Tests start hundreds of processes, each of which would else compile what it imports of our own.
KEEPS_COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
QUIET_LIBRARIES = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}
COVERAGE = ".nox/coverage.json"


@nox.session
def demo(session: nox.Session) -> None:
    """Run the main job on the demo slide, as a new user would."""
    session.install("-r", "requirements.txt", "-c", "constraints.txt")
    session.run("slideloom", "demo", *session.posargs)


@nox.session(python=False)
def tests(session: nox.Session) -> None:
    """All tests; `nox -s tests -- plugins/qc -k otsu` runs a part."""
    session.log("All tests take about twenty minutes on two cores.")
    session.log('`nox -s tests -- -m "not slow"` is shorter: it leaves out runs that are killed and resumed, cohorts,')
    session.log("campaigns, training, and outside packages.")
    chosen = [word for word in session.posargs if (ROOT / word.partition("::")[0]).exists()]
    arguments = [*([] if chosen else IN_PARALLEL), *session.posargs]
    _run_shared(session, "pytest", *arguments, env=QUIET_LIBRARIES | KEEPS_COMPILED)


@nox.session(python=False)
def coverage(session: nox.Session) -> None:
    """All tests, and the share of each distribution's lines and branches that they run in their own process."""
    # Not a part of `tests`: on Python 3.11, tracing takes a quarter more of the processor than the tests alone.
    arguments = [*IN_PARALLEL, *session.posargs, "--cov", "--cov-report", f"json:{COVERAGE}"]
    _run_shared(session, "pytest", *arguments, env=QUIET_LIBRARIES | KEEPS_COMPILED)
    session.log("Covered: " + _coverage_by_distribution())


@nox.session
def core_alone(session: nox.Session) -> None:
    """The core imports, runs and passes its tests with its five libraries and the testing package."""
    session.install("./core", "./plugins/testing", *TEST_TOOLS)
    # Runs that share a folder and worker processes take long and need no library: the session `tests` has them.
    arguments = session.posargs or ["core/tests", "-q", "-m", "not slow", *IN_PARALLEL]
    session.run("pytest", *arguments, "-p", "no:cacheprovider", env={"SLIDELOOM_CORE_ALONE": "1", **KEEPS_COMPILED})


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


@nox.session(python=False)
def scale(session: nox.Session) -> None:
    """What a cohort of 1000 and of 20,000 finished slides costs, as a table; takes half an hour."""
    _run_shared(session, "python", "-m", "bench.scale", *session.posargs)


@nox.session(python=False)
def bench_gpu(session: nox.Session) -> None:
    """What runs on a GPU: that it gives the results of the CPU, and how fast. Uses the PyTorch that is installed."""
    session.run("python", "-m", "pytest", "-q", "-rs", "tests/test_on_gpu.py", external=True)
    session.run("python", "-m", "bench.gpu", *session.posargs, external=True)


@nox.session
def release(session: nox.Session) -> None:
    """Build and check all that is published, install it from a folder, and run demo, tests and an outside plugin."""
    session.install("build>=1.2", "twine>=6", "check-wheel-contents>=0.6", *BUILD_TOOLS)
    dist = ROOT / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    for folder in DISTS:
        # The wheel is built out of the source archive, so what is missing there is found here.
        session.run("python", "-m", "build", "--no-isolation", "--outdir", "dist", folder, silent=True)
    built = sorted(str(path) for path in dist.iterdir())
    session.run("twine", "check", "--strict", *built, silent=True)
    # The distribution `slideloom` only names others, and its wheel is empty, which that check takes for a fault.
    wheels = [name for name in built if name.endswith(".whl") and not Path(name).name.startswith("slideloom-")]
    session.run("check-wheel-contents", *wheels)
    session.run("python", "packaging/check_dists.py", "dist")
    _installed_from(session, dist)


def _installed_from(session: nox.Session, dist: Path) -> None:
    """Install what was built in an environment of its own, and use it there."""
    with tempfile.TemporaryDirectory() as place:
        venv.create(f"{place}/venv", with_pip=True, symlinks=os.name != "nt")
        python = str(_programs(Path(place, "venv")) / "python")
        pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--find-links", str(dist)]
        session.run(*pip, "slideloom[dask,slideflow]", *TEST_TOOLS, *FILE_TOOLS, external=True)
        session.run(python, "-m", "pip", "check", external=True)
        session.run(python, "-m", "slideloom", "doctor", external=True)
        session.run(python, "-m", "slideloom", "demo", "--out", f"{place}/demo", external=True)
        tests = [*IN_PARALLEL, "-q", "-m", "not slow", "-p", "no:cacheprovider", *_test_folders()]
        session.run(python, "-m", "pytest", *(session.posargs or tests), external=True)
        outside = ROOT / "docs/examples/slideloom-hospital"
        session.run(*pip, str(outside), external=True)
        session.run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(outside), external=True)
        session.run(*pip, *LOADERS, *TORCH, "-c", "constraints.txt", external=True)
        session.run(python, "-m", "pytest", "tests/test_docs_blocks.py", "-k", "first-tiles", external=True)


@nox.session
def site(session: nox.Session) -> None:
    """The documentation of several versions side by side, by mike: `nox -s site -- deploy 0.2.0 latest`."""
    session.install("-r", "requirements.txt", "-c", "constraints.txt", *DOCS_TOOLS, "mike>=2.1")
    session.run("mike", *session.posargs)


@nox.session
def bump(session: nox.Session) -> None:
    """Write a version into every distribution: `nox -s bump -- 0.2.0`."""
    session.install("packaging>=23.2")
    session.run("python", "packaging/versions.py", *session.posargs)


def _on_python(session: nox.Session) -> None:
    """Tests of the core and of the plugins that `pip install slideloom` brings, on one version of Python."""
    session.install(*TEST_TOOLS, *FILE_TOOLS, *(f"./{folder}" for folder in _light()))
    session.run("pytest", *IN_PARALLEL, *(session.posargs or ["-m", "not slow", *_test_folders()]))


for _version in PYTHONS:
    nox.session(_on_python, name=f"tests-{_version}", python=_version)


@nox.session(python="3.11")
def lowest(session: nox.Session) -> None:
    """The oldest releases of all libraries that are allowed, with the tests that need nothing else."""
    session.install(
        "-c", str(_lower_bounds(session)), *TEST_TOOLS, *FILE_TOOLS, *(f"./{folder}" for folder in _light())
    )
    session.run("pip", "list")
    session.run("pytest", *IN_PARALLEL, *(session.posargs or ["-m", "not slow", *_test_folders()]))


@nox.session(python=False)
def fuzz(session: nox.Session) -> None:
    """Damage 10,000 slides for each reader; `nox -s fuzz -- reader-tiff --most 500` is a part of it."""
    readers = [
        f"reader-{name}" for name in ("tiff", "openslide", "vips", "tifffile", "dicom", "ome-zarr", "czi", "isyntax")
    ]
    chosen = session.posargs if any(word in readers for word in session.posargs) else [*readers, *session.posargs]
    _run_shared(session, "python", "-m", "stress", *chosen)


@nox.session(python=False)
def stress(session: nox.Session) -> None:
    """Campaigns that try to break slideloom; `nox -s stress -- disks --seed 7` runs one with other cases."""
    _run_shared(session, "python", "-m", "stress", *session.posargs)


@nox.session(python=False)
def studio_js(session: nox.Session) -> None:
    """Test and bundle the page of `slideloom studio` by npm; `-- check` compares with what is committed instead."""
    page, served = ROOT / "plugins/studio/page", ROOT / "plugins/studio/src/slideloom_studio/static"
    with session.chdir(page), tempfile.TemporaryDirectory() as built:
        # Versions are exact in package.json; a lock file would name one registry.
        session.run("npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--ignore-scripts", external=True)
        session.run("npx", "prettier", "--check", ".", external=True)
        session.run("node", "--test", "tests/", external=True)
        session.run("node", "build.mjs", built if "check" in session.posargs else str(served), external=True)
        if "check" in session.posargs:
            made = {path.name: path.read_bytes() for path in Path(built).iterdir()}
            kept = {path.name: path.read_bytes() for path in served.iterdir()}
            if made != kept:
                wrong = sorted(name for name in made | kept if made.get(name) != kept.get(name))
                session.error(
                    f"{', '.join(wrong)}: not what the sources give; run nox -s studio_js and commit {served}"
                )


def _light() -> list[str]:
    """Folders of the core and of the plugins that every installation has."""
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    names = [Requirement(text).name.removeprefix("slideloom-") for text in asked]
    return [name if name == "core" else f"plugins/{name}" for name in names]


def _test_folders() -> list[str]:
    return [f"{folder}/tests" for folder in _light()]


def _lower_bounds(session: nox.Session) -> Path:
    """A file of constraints that pins each library to the lowest release that is allowed."""
    lowest: dict[str, Version] = {}
    for folder in _light():
        project = tomllib.loads((ROOT / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for need in map(Requirement, project["dependencies"]):
            bounds = [Version(part.version) for part in need.specifier if part.operator == ">="]
            if not need.name.startswith("slideloom") and bounds:
                lowest[need.name] = max([*bounds, lowest.get(need.name, Version("0"))])
    file = Path(session.create_tmp(), "lowest.txt")
    file.write_text("".join(f"{name}=={version}\n" for name, version in lowest.items()), encoding="utf-8")
    return file


def _run_shared(session: nox.Session, program: str, *words: str, env: dict[str, str] | None = None) -> None:
    """Run a program of the environment that tests, lint, types and docs share."""
    session.run(str(_shared(session) / program), *words, env=env, external=True)


def _shared(session: nox.Session) -> Path:
    """The folder of that environment's programs; it is made anew when what belongs into it has changed."""
    folder = ROOT / ".nox" / "shared"
    needs = [*BUILD_TOOLS, *TEST_TOOLS, *CHECK_TOOLS, *DEEP, *LOADERS]
    files = [ROOT / "requirements.txt", ROOT / "constraints.txt", *(ROOT / dist / "pyproject.toml" for dist in DISTS)]
    files += [*sorted(ROOT.glob("core/src/**/*.c")), *sorted(ROOT.glob("plugins/*/src/**/*.c"))]
    wanted = hashlib.sha256(b"\0".join([repr(needs).encode(), *(path.read_bytes() for path in files)])).hexdigest()
    stamp = folder / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return _programs(folder)
    if not folder.exists():
        venv.create(folder, with_pip=True, symlinks=os.name != "nt")
    python = str(_programs(folder) / "python")
    # Compiled afterwards, by every processor; pip would take one, and compile the tests of the libraries too.
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile"]
    session.run(*pip, *BUILD_TOOLS, external=True)
    # One environment to build in is enough for all the distributions of the clone.
    apart = [word for dist in APART for word in ("-e", f"./{dist}")]
    here = ["--no-build-isolation", "-r", "requirements.txt", *apart, "-c", "constraints.txt"]
    session.run(*pip, *here, *needs, external=True)
    # From here on, where no other folder of the path is called tests. It ends with 1 where a library brings code of
    # another Python, which nobody imports.
    within = str(folder.relative_to(ROOT))
    compiling = [python, "-m", "compileall", "-qq", "-j", "0", "-x", r"[/\\]tests?[/\\]", within]
    session.run(*compiling, external=True, success_codes=[0, 1])
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
