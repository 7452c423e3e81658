"""Fixtures for every test of the repository: real slides, and plugins that are really installed into a folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from slideloom.base.geometry import Size
from slideloom.plugins.discovery import registry
from slideloom_testing import write_analytic

pytest_plugins = ["slideloom_testing.fixtures"]

ROOT = Path(__file__).parent

# No test has a time limit: by itself, Hypothesis fails an example that takes 0.2 s, as on a loaded machine.
settings.register_profile("slideloom", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("slideloom")


# A shell tells what it starts in the background to ignore Ctrl-C. Where it starts the tests so, the processes that they
# interrupt would ignore it too.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Other files that take 12 s of the processor or more, as those with slow tests do.
LONG = [
    "core/tests/test_isolation.py",
    "core/tests/test_main_script.py",
    "core/tests/test_publishing.py",
    "core/tests/test_resuming.py",
    "core/tests/test_run.py",
    "plugins/artifacts/tests/test_artifacts_step.py",
    "plugins/cells/tests/test_cells_nuclei.py",
    "plugins/cli/tests/test_cli.py",
    "plugins/cyclegan/tests/test_cyclegan_normalizer.py",
    "plugins/deepfocus/tests/test_deepfocus_classes.py",
    "plugins/deepfocus/tests/test_deepfocus_step.py",
    "plugins/deepfocus/tests/test_deepfocus_weights.py",
    "plugins/loaders/tests/test_loaders_beside.py",
    "plugins/loaders/tests/test_loaders_passes.py",
    "plugins/loaders/tests/test_loaders_ranks.py",
    "plugins/loaders/tests/test_loaders_tensorflow.py",
    "plugins/loaders/tests/test_loaders_torch.py",
    "plugins/remote/tests/test_remote_outputs.py",
    "plugins/remote/tests/test_remote_zarr.py",
    "plugins/segmentation/tests/test_segmentation_demo.py",
    "plugins/segmentation/tests/test_segmentation_following.py",
    "plugins/segmentation/tests/test_segmentation_steps.py",
    "plugins/slideflow/tests/test_slideflow_projects.py",
    "plugins/stain/tests/test_stain_steps.py",
    "plugins/stain/tests/test_stain_tensors.py",
    "plugins/stain/tests/test_stain_value_range.py",
    "plugins/studio/tests/browser/test_studio_drawing.py",
    "plugins/studio/tests/browser/test_studio_races.py",
    "plugins/studio/tests/browser/test_studio_tuning.py",
    "tests/test_disk_space.py",
    "tests/test_end_to_end.py",
]
# Files below these folders share models that take long to train, so one process runs them all.
TOGETHER = ("plugins/segmentation/",)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: where processes share the files, none is left with a long one at the end."""
    long = {ROOT / name for name in LONG} | {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile`, the files of some folders go to one process together."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class ByFileOrFolder(LoadFileScheduling):  # type: ignore[misc, unused-ignore]  # where xdist is not installed
        def _split_scope(self, nodeid: str) -> str:
            file: str = super()._split_scope(nodeid)
            return next((folder for folder in TOGETHER if file.startswith(folder)), file)

    return ByFileOrFolder(config, log)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides; the test is skipped where there is none."""
    named = os.environ.get("SLIDELOOM_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real slides: {folder} does not exist; set SLIDELOOM_TEST_DATA")
    return folder


InstallPlugin = Callable[..., None]

RAW_PLUGIN = '''
from pathlib import Path
from typing import ClassVar
import attrs
from slideloom import Settings, Sink, Writer, hookimpl, option, partial_path, path_of_name
from slideloom_testing import Analytic


@attrs.frozen
class Raw(Settings[Sink]):
    """Pixels as they are, one file per slide."""

    name: ClassVar[str] = "raw"
    folder: str = option("raw", help="sub-folder")

    def build(self):
        return RawSink(self.folder)


class RawSink(Sink):
    def __init__(self, folder):
        self.folder = folder

    def open(self, info, scene, folder):
        path = path_of_name(folder / self.folder, info.name, ending=".raw")
        path.parent.mkdir(parents=True, exist_ok=True)
        return RawWriter(path)

    def encode(self, batch):
        return [rgb.tobytes() for rgb in batch.rgb]


class RawWriter(Writer):
    def __init__(self, path):
        self.path, self.partial, self.count = path, partial_path(path), 0
        self.file = self.partial.open("wb")

    def write(self, tiles, encoded):
        for index, data in zip(tiles.index.tolist(), encoded):
            self.file.write(index.to_bytes(8, "little") + data)
            self.count += 1

    def commit(self):
        self.file.close()
        if not self.count:
            self.partial.unlink()
            return []
        self.partial.rename(self.path)
        return [self.path]

    def abort(self):
        self.file.close()
        self.partial.unlink(missing_ok=True)


@hookimpl
def slideloom_readers():
    return [Analytic]


@hookimpl
def slideloom_sinks():
    return [Raw]
'''


@pytest.fixture
def install_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InstallPlugin]:
    """Installs a plugin's source as a distribution of its own: a module and a dist-info with its entry point."""
    site = tmp_path / "site"
    site.mkdir()
    monkeypatch.syspath_prepend(str(site))
    # Worker processes find it the same way.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")]))

    def install(name: str, source: str, *, group: str = "slideloom.v1", dist: str | None = None) -> None:
        (site / f"{name}.py").write_text(textwrap.dedent(source), encoding="utf-8")
        info = site / f"{dist or name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist or name}\nVersion: 1.0\n", encoding="utf-8")
        (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {name}\n", encoding="utf-8")
        sys.modules.pop(name, None)
        registry.cache_clear()

    registry.cache_clear()
    yield install
    registry.cache_clear()


StartProcess = Callable[..., "subprocess.Popen[Any]"]


@pytest.fixture
def start_process() -> Iterator[StartProcess]:
    """Starts a process as `subprocess.Popen` does; one that still runs when its test ends, or fails, is killed."""
    started: list[subprocess.Popen[Any]] = []

    def start(*arguments: Any, **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen(*arguments, **options))  # noqa: S603 - what tests start
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        with process:  # closes its pipes
            process.wait()


@pytest.fixture
def raw(install_plugin: InstallPlugin) -> InstallPlugin:
    """The analytic reader and a sink that stores pixels are installed; returns `install_plugin` for more."""
    install_plugin("raw_plugin", RAW_PLUGIN)
    return install_plugin


@pytest.fixture
def analytic(tmp_path: Path) -> Callable[..., Path]:
    """Writes a slide whose pixels are a formula. No file is a copy of another."""
    folder = tmp_path / "slides"
    folder.mkdir()

    def write(name: str = "a", width: int = 2200, height: int = 1800, **options: object) -> Path:
        options.setdefault("mpp", 0.5)
        others = len({path.name for path in folder.iterdir()} - {f"{name}.json"})
        path = write_analytic(folder / f"{name}.json", Size(width, height), **options)
        path.write_text(path.read_text() + " " * others)
        return path

    return write
