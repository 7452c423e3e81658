from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "slideloom-green-pen"

USE = """
import numpy as np
from slideloom.plugins.discovery import registry
from slideloom_testing import PixelsSlide

pixels = np.full((400, 600, 3), (190, 90, 150), np.uint8)
pixels[100:200, 300:500] = (40, 160, 60)
settings = registry().find("qc", "green-pen")(tile_px=50, tile_um=50.0)
result = settings.build()(PixelsSlide(pixels, mpp=1.0))
print(result.mask.sum(), result.mask[2:4, 6:10].all(), type(settings).__module__)
"""


def test_a_third_partys_model_is_installed_from_its_own_folder_and_runs(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    source, site = tmp_path / "source", tmp_path / "site"
    shutil.copytree(EXAMPLE, source)
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*install, "--no-index", "--target", str(site), str(source)], check=True)
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    run = subprocess.run(
        [sys.executable, "-c", USE], check=True, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths}
    )
    # The mark covers two rows and four columns of cells of 50 um.
    assert run.stdout.split() == ["8", "True", "slideloom_green_pen"]
