"""Importing any of our modules, or building a step, changes nothing in the user's process."""

from __future__ import annotations

import subprocess
import sys

from slideloom_testing.fixtures import DemoFiles

# Torch and TensorFlow would take half a minute to import; modules that need them do not use OpenCV on their own.
EVERYTHING = """
import importlib, pkgutil
from importlib.metadata import entry_points
import attrs, cv2
cv2.setNumThreads(3)
modules = steps = 0
for package in ["slideloom", *sorted({entry.value.split(".")[0] for entry in entry_points(group="slideloom.v1")})]:
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        if any(word in module.name for word in ("testing", "__main__", "torch", "tensor", "scaffold")):
            continue
        try:
            importlib.import_module(module.name)
        except ImportError:
            continue
        modules += 1
        assert cv2.getNumThreads() == 3, module.name
from slideloom import SlideloomError
from slideloom.plugins.discovery import registry
from slideloom.plugins.hookspecs import KINDS
for kind in KINDS:
    for cls in registry().all(kind):
        needed = [field for field in attrs.fields(cls) if field.default is attrs.NOTHING]
        if needed or any(word in cls.__module__ for word in ("deepfocus", "segmentation", "cyclegan", "dask")):
            continue
        try:
            cls().build()
        except SlideloomError:  # it wants a library that is not installed
            continue
        steps += 1
        assert cv2.getNumThreads() == 3, cls
assert modules > 80 and steps > 15, (modules, steps)
print(modules, steps)
"""


def test_importing_and_building_leave_opencvs_threads_alone() -> None:
    done = subprocess.run([sys.executable, "-c", EVERYTHING], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_reading_a_slide_leaves_opencvs_threads_as_they_were(demo_slide: DemoFiles) -> None:
    code = """
import sys, cv2
import slideloom as sl
cv2.setNumThreads(3)
for reader in ("tiff", "openslide", "vips"):
    wsi = sl.WSI(sys.argv[1], tile_px=100, tile_um=200, reader=reader)
    wsi.qc("otsu")
    sum(tile.rgb.mean() for tile in wsi)
    assert cv2.getNumThreads() == 3, reader
"""
    path = str(demo_slide.path)
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
