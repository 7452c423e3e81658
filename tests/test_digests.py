"""Digests of pipelines stay what they are: another digest makes every slide of every finished run anew.

Whoever changes one on purpose (an option more, a default, another name) writes the new value here, and says so in the
changelog.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from slideloom import Pipeline, Slides, pipeline_from_table
from slideloom.pipeline.pipeline import QcUse, RoiUse
from slideloom.pipeline.tiling import Tiling
from slideloom.plugins.builtin import Grid
from slideloom_cyclegan.settings import CycleGan
from slideloom_deepfocus.settings import DeepFocus
from slideloom_filters.settings import Grayspace
from slideloom_images.settings import Images
from slideloom_qc import GaussianV2, Otsu
from slideloom_roi.settings import GeoJson
from slideloom_segmentation.settings import SegmentQc
from slideloom_stain.settings import Macenko
from slideloom_tfrecord.settings import TFRecords

# As they were before options were converted and checked wherever they come from; those of regions and models since
# regions are repaired by uniting shells and nesting is "auto", and since strided models have `trust` and `on_nan`;
# those with a stain normalizer since its loops are compiled, those with a filter since these have `measured`, those
# with `tissue`, `pen` or `nuclei` since their second revision, and those with `deepfocus` since its third. All of them
# since resampling has one, too.
README = "4d198824c22383f5389ed8f44685b3f3fb4a060562112f15db3edd5523ec5d01"
EVERY_TILING_OPTION = "10f80e0f2e753cc11cf0e000a2550b1b57b58da010506a5706bcf1100abd5629"
REGIONS = "ace924b1e9cc1d3a67d9c1a512fe49472c50faae747f255ba4d71d359b7713f8"
MODELS = "2ed0810bfa85698e1bbd98c5f5edf965c77452d9ab338d7a368dfaaefdac167b"
PYTHON = "0cc619417bd14c176830d63dbb62c196624e2161f23eb96703567615d4f8419f"
PYTHON_MODELS = "7e0b231d50217534cbf4d5447c3fd02dcae1677b700ae218c7e014ebed39b770"


@pytest.mark.parametrize(
    ("digest", "table"),
    [
        (
            README,
            {
                "slides": {"include": ["slides/*.svs"]},
                "tiles": {"size_px": 299, "size_um": 302},
                "qc": [{"use": "tissue"}, {"use": "gaussian-v2"}],
                "filter": [{"use": "grayspace"}],
                "normalizer": {"use": "macenko", "target": "v3"},
                "sink": [{"use": "tfrecord"}],
            },
        ),
        (
            EVERY_TILING_OPTION,
            {
                "slides": {
                    "mpp": 1,
                    "avoid_readers": ["tiff"],
                    "reader": "vips:reads_at_once=2",
                    "mpp_file": "mpp.csv",
                    "allow_objective_power": True,
                    "icc": "srgb",
                },
                "tiles": {
                    "size_px": 256,
                    "magnification": "10x",
                    "stride_div": 2,
                    "edge_tiles": True,
                    "random_origin": True,
                    "use_bounds": True,
                    "enable_downsample": False,
                    "max_tiles": 7,
                    "seed": 3,
                },
                "qc": [{"use": "otsu", "filter_threshold": 1}, {"use": "pen", "mpp": 4}],
                "filter": [],
                "sink": [{"use": "images", "format": "png"}, {"use": "hdf5", "images": True}],
            },
        ),
        (
            REGIONS,
            {
                "tiles": {"size_px": 100, "size_um": 100.5},
                "roi": [
                    {
                        "use": "roi-folder",
                        "folder": "rois",
                        "method": "inside",
                        "filter_method": "proportion",
                        "threshold": 1,
                        "artifacts": ["pen"],
                    },
                    {"use": "qupath-csv", "folder": "rois"},
                ],
                "filter": [{"use": "whitespace", "threshold": 200, "fraction": 1}],
                "normalizer": {"use": "reinhard-fast", "target": "some.png"},
                "placement": {"use": "nuclei"},
                "sink": [{"use": "webdataset"}],
            },
        ),
        (
            MODELS,
            {
                "tiles": {"size_px": 100, "size_um": 100.5},
                "qc": [
                    {"use": "deepfocus", "weights": "own.safetensors"},
                    {"use": "strided-model", "model": "m.pt", "tile_um": 256},
                    {"use": "segment", "model": "m", "discard": ["background", 1]},
                ],
                "roi": [{"use": "segment", "model": "m.safetensors"}],
                "normalizer": {"use": "cyclegan", "weights": "published"},
            },
        ),
    ],
    ids=["readme", "every tiling option", "regions", "models"],
)
def test_the_digest_of_a_file_stays(digest: str, table: dict[str, Any]) -> None:
    assert pipeline_from_table({"slideloom": 1, **table}, where="here").digest() == digest


def test_the_digest_of_settings_built_in_python_stays() -> None:
    """Whole numbers where options take any number, and text where they take a path."""
    plain = Pipeline(
        tiles=Tiling(size_px=299, size_um=302, stride_div=2),
        qc=(QcUse(step=Otsu(), filter_threshold=1), QcUse(step=GaussianV2(mpp=1, sigma=2))),
        filters=(Grayspace(threshold=0, fraction=1),),
        normalizer=Macenko(target="v2", seed=3),
        sinks=(TFRecords(folder="x"),),
    )
    models = Pipeline(
        tiles=Tiling(size_px=299, magnification="20x"),
        slides=Slides(mpp=1),
        roi=(RoiUse(source=GeoJson(folder=Path("rois"), simplify_px=1), artifacts=("a",)),),
        qc=(
            QcUse(step=DeepFocus(weights="own.safetensors", mpp=1, threshold=1)),
            QcUse(step=SegmentQc(model="m", discard="background")),
        ),
        normalizer=CycleGan(weights="he.pth", second_weights="mt.pth"),
        sinks=(Images(),),
        placement=Grid(seed=2),
    )

    assert (plain.digest(), models.digest()) == (PYTHON, PYTHON_MODELS)
