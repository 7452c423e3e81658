"""The script that draws what `tissue` and `pen` find, for whoever has pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image
from slideloom_testing.fixtures import DemoFiles

SCRIPT = Path(__file__).parents[1] / "docs" / "figures" / "qc_fields.py"


def drawn(*words: Path | str) -> None:
    subprocess.run([sys.executable, str(SCRIPT), *map(str, words)], check=True)


def test_a_slide_is_drawn_before_and_after(demo_slide: DemoFiles, tmp_path: Path) -> None:
    drawn(demo_slide.path, tmp_path / "before")
    drawn(demo_slide.path, tmp_path / "after", "--before", tmp_path / "before")

    name = f"{demo_slide.path.stem}.png"
    with Image.open(tmp_path / "before" / name) as alone, Image.open(tmp_path / "after" / name) as both:
        assert both.height == alone.height
        assert both.width == alone.width // 2 * 3 + 4  # a panel more; between panels there are 8 pixels
    masks = np.load(tmp_path / "after" / "masks.npz")
    assert 0 < masks[f"{demo_slide.path.name}:tissue"].mean() < 1
    assert (tmp_path / "after" / "sheets.pdf").stat().st_size > 1000
