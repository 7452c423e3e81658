"""The core stands on five libraries; what other distributions bring, it asks for by name."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions, requires
from pathlib import Path

import pytest
import slideloom as sl
from packaging.requirements import Requirement
from slideloom import _HOMES

FORBIDDEN = (
    "cv2", "PIL", "openslide", "pyvips", "skimage", "simplejpeg", "tifffile", "imagecodecs", "torch", "tensorflow",
    "pandas", "rich",
)  # fmt: skip
# Public names of other distributions, which may be installed here or not.
ELSEWHERE = {name: home for home, names in _HOMES.items() if not home.startswith("slideloom.") for name in names}
IMPORT_ALL = f"""
import importlib, pkgutil, sys
for name in {FORBIDDEN!r}:
    sys.modules[name] = None
import slideloom
for module in pkgutil.walk_packages(slideloom.__path__, "slideloom."):
    if module.name != "slideloom.__main__":
        importlib.import_module(module.name)
for name in slideloom._HOME_OF:
    if name not in {sorted(ELSEWHERE)!r}:
        getattr(slideloom, name)
"""


def test_every_module_imports_without_pandas_rich_and_any_image_library() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_names_for_users_are_listed_and_those_for_plugins_are_there_as_well() -> None:
    plugin_names = {"Reader", "SlideQc", "Settings", "option", "hookimpl", "Format"}

    assert dir(sl) == sorted(sl.__all__)
    assert {"WSI", "Project", "run_pipeline", "SlideError"} <= set(sl.__all__) <= {"__version__", *sl._HOME_OF}
    assert plugin_names.isdisjoint(sl.__all__)
    assert all(hasattr(sl, name) for name in plugin_names)


def test_the_core_asks_for_five_libraries() -> None:
    asked = {Requirement(line).name for line in requires("slideloom-core") or ()}

    assert asked == {"attrs", "filelock", "numpy", "pluggy", "shapely"}


@pytest.mark.parametrize(("name", "home"), ELSEWHERE.items())
def test_a_public_name_of_a_missing_distribution_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, name: str, home: str
) -> None:
    package = home.partition(".")[0]
    for module in [module for module in sys.modules if module.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    dist = package.replace("_", "-")

    with pytest.raises(sl.PluginError) as caught:
        getattr(sl, name)

    assert str(caught.value) == f"slideloom.{name} comes with {dist}, which is not installed: pip install {dist}"


def test_a_table_of_tiles_says_that_it_needs_pandas(
    raw: object, analytic: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)

    with sl.WSI(analytic(), tile_px=60, tile_um=75) as wsi, pytest.raises(sl.PluginError, match="pip install pandas"):
        wsi.tile_dataframe()


@pytest.mark.skipif(
    "SLIDELOOM_CORE_ALONE" not in os.environ, reason="plugins are installed here; nox -s core_alone has none"
)
def test_no_plugin_and_no_image_library_is_installed_in_this_session() -> None:
    installed = {dist.metadata["Name"].lower() for dist in distributions()}

    assert {name for name in installed if name.startswith("slideloom")} == {"slideloom-core", "slideloom-testing"}
    assert not {"opencv-python-headless", "pillow", "openslide-python", "pyvips", "pandas", "rich"} & installed
