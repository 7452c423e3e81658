"""The core needs numpy, attrs, filelock, pluggy and shapely, and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distributions, requires

import pytest

FORBIDDEN = (
    "cv2",
    "PIL",
    "openslide",
    "pyvips",
    "skimage",
    "simplejpeg",
    "tifffile",
    "imagecodecs",
    "torch",
    "tensorflow",
)
IMPORT_ALL = f"""
import importlib, pkgutil, sys
for name in {FORBIDDEN!r}:
    sys.modules[name] = None
import slideloom
for module in pkgutil.walk_packages(slideloom.__path__, "slideloom."):
    # The loaders' torch and tensorflow forms are imported only by who asks for them.
    if not any(word in module.name for word in ("testing", "__main__", "torch", "tensorflow")):
        importlib.import_module(module.name)
for name in slideloom.__all__:
    getattr(slideloom, name)
"""


def test_every_module_imports_without_any_image_library() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_the_core_asks_for_five_libraries() -> None:
    asked = {line.split(">=")[0] for line in requires("slideloom-core") or () if "extra ==" not in line}

    assert asked == {"attrs", "filelock", "numpy", "pluggy", "shapely"}


@pytest.mark.skipif(
    "SLIDELOOM_CORE_ALONE" not in os.environ, reason="plugins are installed here; nox -s core_alone has none"
)
def test_no_plugin_and_no_image_library_is_installed_in_this_session() -> None:
    installed = {dist.metadata["Name"].lower() for dist in distributions()}

    assert not {name for name in installed if name.startswith("slideloom-")} - {"slideloom-core"}
    assert not {"opencv-python-headless", "pillow", "openslide-python", "pyvips"} & installed
