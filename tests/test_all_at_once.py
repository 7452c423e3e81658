"""One run that uses everything at once: folders in names, regions, QC, normalizer, masks, context, and every sink."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest
from slideloom import Size
from slideloom_cli.main import main
from slideloom_testing import stained

SLIDES = ("lab1/a", "lab2/deep/a")
# Of ImageNet, which models expect by default.
MEAN, STD = np.reshape([0.485, 0.456, 0.406], (3, 1, 1)), np.reshape([0.229, 0.224, 0.225], (3, 1, 1))
MODEL = "from torch.nn import *\ndef means(): return Sequential(AvgPool2d(32), Flatten())\n"


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Two slides of one name in two folders, with a region each, and a model."""
    for seed, name in enumerate(SLIDES):
        slide, region = tmp_path / f"slides/{name}.png", tmp_path / f"roi/{name}.geojson"
        for path in (slide, region):
            path.parent.mkdir(parents=True)
        assert cv2.imwrite(str(slide), stained(Size(640, 512), seed=seed)[..., ::-1])
        ring = [[40, 40], [560, 60], [500 - 100 * seed, 480], [60, 420], [40, 40]]
        feature = {
            "type": "Feature",
            "geometry": {"type": "Polygon", "coordinates": [ring]},
            "properties": {"objectType": "annotation", "classification": {"name": "Tumour"}},
        }
        region.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    (tmp_path / "model.py").write_text(MODEL)
    return tmp_path


def run(cohort: Path, out: Path, *more: str) -> int:
    words = ["--recursive", "--mpp", "0.5", "--tile-px", "64", "--tile-um", "40", "--icc", "srgb"]
    words += ["--roi", str(cohort / "roi"), "--roi-method", "inside", "--qc", "tissue", "--qc", "gaussian-v2"]
    words += ["--normalizer", "macenko", "--tile-mask", "roi", "--mask-class", "Tumour", "--context-um", "80:32"]
    for sink in ("tfrecord", "images", "webdataset", "hdf5:images=true"):
        words += ["--sink", sink]
    return main(["extract", str(cohort / "slides"), *words, *more, "--quiet", "--out", str(out)])


def contents(out: Path) -> dict[str, str]:
    files = [path for path in sorted(out.rglob("*")) if path.is_file() and "slideloom" not in path.parts]
    return {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if path.name != "extraction_report.json"
    }


def test_every_part_of_the_output_has_every_tile_for_any_threads_and_batches(cohort: Path, tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"

    assert run(cohort, one, "--threads", "1", "--batch-tiles", "3") == 0
    assert run(cohort, other, "--jobs", "2", "--threads", "2", "--batch-tiles", "32") == 0

    assert contents(one) == contents(other)
    written = {
        slide["slide"]: slide["written"] for slide in json.loads((one / "extraction_report.json").read_text())["slides"]
    }
    assert set(written) == set(SLIDES)
    assert min(written.values()) > 10
    for kind in ("tiles", "tiles-mask", "tiles-context_80um"):
        assert {name: len(list((one / kind / "64px_40um" / name).iterdir())) for name in SLIDES} == written
    assert main(["check", str(one), "--deep"]) == 0


def test_features_of_slides_of_one_name_are_those_of_their_tiles(cohort: Path, tmp_path: Path) -> None:
    sink, out = f"features:factory=means,code={cohort / 'model.py'},input_px=64,device=cpu", str(tmp_path / "out")
    words = ["--recursive", "--mpp", "0.5", "--tile-px", "64", "--tile-um", "32", "--filter", "none"]

    assert main(["extract", str(cohort / "slides"), *words, "--sink", sink, "--quiet", "--out", out]) == 0

    for name in SLIDES:
        rgb = cv2.imread(str(cohort / f"slides/{name}.png"))[..., ::-1] / 255
        with h5py.File(tmp_path / f"out/features/64px_32um/features_means/{name}.h5") as file:
            (x, y), row = file["coords"][0], file["features"][0]
        part = rgb[y : y + 64, x : x + 64].reshape(2, 32, 2, 32, 3).mean((1, 3)).transpose(2, 0, 1)
        scaled = (part - np.array([0.485, 0.456, 0.406])[:, None, None]) / np.array([0.229, 0.224, 0.225])[
            :, None, None
        ]
        assert np.allclose(row, scaled.ravel(), atol=1e-4)
