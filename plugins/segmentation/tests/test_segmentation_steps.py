"""A trained model in use: as slide QC, as ROI source, and what blending does at the seams of patches."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs
import numpy as np
import pytest
import shapely
import torch
from shapely.geometry import shape as from_geojson
from slideloom import ConfigError, Region, Regions, Size
from slideloom.settings.digest import digest_of
from slideloom_segmentation import SegmentModel, SegmentQc, SegmentRoi, predict
from slideloom_segmentation.model import Facts
from slideloom_segmentation.model_grid import ModelGrid
from slideloom_segmentation.predicting import ModelRois
from slideloom_testing import AnalyticSlide, PixelsSlide, scene_of
from slideloom_testing.contracts import RoiSourceContract, SlideQcContract
from torch import Tensor, nn

GLASS = (225, 240, 240)  # a little green, so that `Redness` is below one half
WITHOUT = """
import sys
sys.modules[sys.argv[1]] = None  # as if it were not installed
from slideloom import PluginError
from slideloom_segmentation.plugin import slideloom_commands, slideloom_roi_sources, slideloom_slide_qc
slideloom_commands()
for settings in (*slideloom_roi_sources(), *slideloom_slide_qc()):
    try:
        settings(model="folder").build()
    except PluginError as error:
        print(error)
"""


class Redness(nn.Module):
    """A model that looks at one pixel at a time, so that the answer for a whole slide is known."""

    def forward(self, image: Tensor) -> Tensor:
        return 3 * (image[:, :1] - image[:, 1:2])


def pixelwise(*, mpp: float, patch_px: int = 32) -> SegmentModel:
    facts = Facts(arch="unet", width=2, classes=("background", "red"), is_binary=True, mpp=mpp, patch_px=patch_px)
    return SegmentModel(facts, Redness(), torch.device("cpu"))


class TestQc(SlideQcContract):
    entry_module = "slideloom_segmentation.plugin"

    @pytest.fixture(autouse=True)
    def _settings(self, trained: Path) -> None:
        self.settings = SegmentQc(model=trained, device="cpu")


class TestRoi(RoiSourceContract):
    entry_module = "slideloom_segmentation.plugin"

    @pytest.fixture(autouse=True)
    def _settings(self, demo_model: Path, demo_svs) -> None:
        self.settings = SegmentRoi(model=demo_model, device="cpu")
        self.slide_info = demo_svs[0].info


def test_the_qc_discards_glass_and_keeps_tissue(trained: Path, section, truth) -> None:
    slide, regions = section(11)

    result = SegmentQc(model=trained, device="cpu").build().assess(slide, scene_of())

    grid = ModelGrid.of(slide.info, 16.0)
    glass = truth(regions, grid.size, scale=grid.scale_x) == 0
    assert result.mask.shape == (200, 300)  # 800 x 1200 pixels of 4 um at 16 um
    assert (result.mask & glass).sum() / (result.mask | glass).sum() > 0.95
    assert result.kind == "background"
    assert sum(result.metrics.values()) == pytest.approx(1)
    assert result.metrics["share background"] == result.mask.mean()


def test_classes_to_discard_go_by_name_or_number(trained: Path, section) -> None:
    slide, _ = section(11)
    masks = [
        SegmentQc(model=trained, discard=discard, kind="artifact", device="cpu").build().assess(slide, scene_of()).mask
        for discard in (("background", "stroma"), (0, 1), ("tumor",))
    ]

    assert np.array_equal(masks[0], masks[1])
    assert np.array_equal(masks[0], ~masks[2])


def test_classes_with_a_kind_are_reported_each_by_itself(trained: Path, section) -> None:
    slide, _ = section(11)
    plain, classes = (
        SegmentQc(model=trained, discard=discard, device="cpu").build().assess(slide, scene_of())
        for discard in (("background", "stroma"), ("background", "stroma:artifact:0.2"))
    )

    assert [(one.value, one.name, one.kind, one.threshold) for one in classes.classes] == [
        (0, "background", "background", None),
        (1, "stroma", "artifact", 0.2),
        (2, "tumor", None, None),
    ]
    assert np.array_equal(classes.mask, plain.mask)
    assert plain.labels is None
    shares = [np.mean(classes.labels == value) for value in range(3)]
    assert shares == pytest.approx([classes.metrics[f"share {name}"] for name in ("background", "stroma", "tumor")])


def test_a_kind_that_there_is_not_is_refused(trained: Path) -> None:
    with pytest.raises(ConfigError, match=r"segment: discard: 'stroma:ink' is not NAME, NAME:KIND"):
        SegmentQc(model=trained, discard=("stroma:ink",)).build()


class TestQcWithClasses(SlideQcContract):
    @pytest.fixture(autouse=True)
    def _settings(self, trained: Path) -> None:
        self.settings = SegmentQc(model=trained, discard=("background", "tumor:artifact:0.5"), device="cpu")


@pytest.mark.parametrize(
    "settings",
    [
        lambda model: SegmentQc(model=model, discard=("pen",)),
        lambda model: SegmentQc(model=model, discard=("pen:artifact",)),
        lambda model: SegmentQc(model=model, discard=(3,)),
        lambda model: SegmentRoi(model=model, labels=("pen",)),
    ],
)
def test_an_unknown_class_is_answered_with_the_known_ones(trained: Path, settings) -> None:
    with pytest.raises(ConfigError, match="it has 0 background, 1 stroma, 2 tumor"):
        settings(trained).build()


@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("size", [Size(200, 130), Size(32, 32), Size(20, 9), Size(56, 57)])
def test_blended_patches_of_a_pixelwise_model_show_no_seams(overlap: float, batch: int, size: Size) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (size.height, size.width, 3), dtype=np.uint8)
    slide = PixelsSlide(rgb, mpp=2.0)
    model = pixelwise(mpp=2.0)
    scaled = rgb.astype(np.float64) / 127.5 - 1
    expected = 1 / (1 + np.exp(-3 * (scaled[..., 0] - scaled[..., 1])))

    bands = list(model.bands(slide, overlap=overlap, batch=batch))

    whole = np.concatenate([band for _, band in bands], axis=1)
    assert [top for top, _ in bands] == np.cumsum([0, *[band.shape[1] for _, band in bands[:-1]]]).tolist()
    assert whole.shape == (1, size.height, size.width)
    assert np.abs(whole[0] - expected).max() < 1e-5
    assert np.array_equal(model.class_map(slide, overlap=overlap, batch=batch), whole[0] >= 0.5)


def test_a_patch_counts_less_towards_its_edge() -> None:
    class Edge(nn.Module):
        """1 at the outermost two pixels of a patch, where networks know least, else 0."""

        def forward(self, image: Tensor) -> Tensor:
            logits = torch.full_like(image[:, :1], 20.0)
            logits[:, :, 2:-2, 2:-2] = -20.0
            return logits

    model = SegmentModel(pixelwise(mpp=2.0).facts, Edge(), torch.device("cpu"))
    slide = PixelsSlide(np.full((128, 128, 3), 200, np.uint8), mpp=2.0)

    whole = np.concatenate([band for _, band in model.bands(slide, overlap=0.25)], axis=1)[0]

    assert whole[:2].min() > 0.99  # nothing else covers the slide's own edge
    # The second pixel of a patch is 1.5 pixels from its edge, of 8 that it shares; at corners both axes add.
    share = math.sin(math.pi / 2 * 1.5 / 8) ** 2
    assert whole[8:-8, 8:-8].max() == pytest.approx(1 - (1 - share) ** 2, abs=1e-4)


def test_memory_does_not_grow_with_the_height_of_the_slide() -> None:
    def peak(height: int) -> int:
        slide = AnalyticSlide(Size(40_000, height), mpp=0.5, downsamples=(1, 4, 16, 64), wavelength_px=5000)
        tracemalloc.start()
        for _ in pixelwise(mpp=32.0).bands(slide):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2_000)  # what is allocated once only
    low, high = peak(10_000), peak(80_000)

    assert high < 1.3 * low
    assert high < 16e6


def test_regions_lie_where_the_tissue_is_in_level_0_pixels(trained: Path, section) -> None:
    slide, regions = section(11)
    source = SegmentRoi(model=trained, labels=("tumor",), device="cpu").build()
    assert isinstance(source, ModelRois)

    found = source.regions_of(slide)

    tumor = regions.items[1].shape
    union = shapely.union_all([item.shape for item in found.items])
    assert {item.label for item in found.items} == {"tumor"}
    assert union.intersection(tumor).area / union.union(tumor).area > 0.85
    assert all(item.shape.is_valid for item in found.items)


def test_holes_stay_open_unless_small() -> None:
    rgb = np.full((300, 400, 3), GLASS, np.uint8)
    rgb[50:250, 50:350] = (200, 60, 120)
    rgb[100:160, 100:160] = GLASS  # 60 x 60 pixels of 4 um: 0.058 mm2
    rgb[100:104, 300:304] = GLASS  # 0.0003 mm2
    rgb[280:290, 380:390] = (200, 60, 120)  # 0.0016 mm2
    source = object.__new__(ModelRois)
    source._settings = SegmentRoi(model="none", simplify_um=0.0)
    source._model = pixelwise(mpp=4.0)
    source._labels = [1]

    (region,) = source.regions_of(PixelsSlide(rgb, mpp=4.0)).items

    assert region.shape.equals(shapely.box(50, 50, 350, 250).difference(shapely.box(100, 100, 160, 160)))
    assert (region.name, region.label) == ("red_0", "red")


def test_outlines_move_by_no_more_than_the_tolerance(trained: Path, section) -> None:
    slide, _ = section(12)
    exact, simpler = (
        SegmentRoi(model=trained, labels=("tumor",), simplify_um=tolerance, device="cpu").build()
        for tolerance in (0.0, 32.0)
    )
    assert isinstance(exact, ModelRois)
    assert isinstance(simpler, ModelRois)

    one, other = (shapely.union_all([item.shape for item in step.regions_of(slide).items]) for step in (exact, simpler))

    assert one.boundary.hausdorff_distance(other.boundary) <= 32 / 4 + 1e-6
    assert shapely.get_num_coordinates(other) < shapely.get_num_coordinates(one) / 2


def test_a_slide_without_a_find_says_so(trained: Path) -> None:
    glass = PixelsSlide(np.full((800, 800, 3), 243, np.uint8), mpp=4.0)
    source = SegmentRoi(model=trained, labels=("tumor",), device="cpu").build()
    assert isinstance(source, ModelRois)

    found = source.regions_of(glass)

    assert found.items == ()
    assert "found no region" in found.notes[0]


def test_geojson_has_the_regions_in_level_0_pixels(trained: Path, section, tmp_path: Path) -> None:
    slide, _ = section(11)
    settings = SegmentRoi(model=trained, device="cpu")
    seen: list[Regions] = []

    (path,) = predict(settings, [slide], out=tmp_path / "rois", progress=lambda _, regions: seen.append(regions))

    features = json.loads(path.read_text())["features"]
    assert path.name == "section11.geojson"
    assert [feature["properties"]["classification"]["name"] for feature in features] == [
        item.label for item in seen[0].items
    ]
    for feature, item in zip(features, seen[0].items, strict=True):
        assert from_geojson(feature["geometry"]).symmetric_difference(item.shape).area < 1e-3 * item.shape.area


def test_threads_share_one_model(trained: Path, section) -> None:
    model = SegmentModel.load(trained, device="cpu")
    slide, _ = section(11)
    alone = model.class_map(slide)

    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(lambda _: model.class_map(slide), range(3)))

    assert SegmentModel.load(trained, device="cpu") is model
    assert all(np.array_equal(found, alone) for found in together)


def test_a_model_trained_anew_in_the_same_folder_counts_as_another(trained: Path, tmp_path: Path) -> None:
    settings = SegmentQc(model=tmp_path)
    file = tmp_path / "model.safetensors"
    digests = []
    for content in (trained / "model.safetensors").read_bytes(), b"other weights":
        file.write_bytes(content)
        digests.append(digest_of(settings))

    assert digests[0] != digests[1]
    assert digest_of(attrs.evolve(settings, device="cuda")) == digests[1]


@pytest.mark.parametrize(
    "content",
    [None, b"", b"not weights", "foreign", "[1]", "null", "[" * 100_000],
    ids=lambda content: str(content)[:12],
)
def test_a_file_that_is_no_model_is_named(tmp_path: Path, content: bytes | str | None) -> None:
    path = tmp_path / "model.safetensors"
    if isinstance(content, str):  # of another program, or with facts that are none
        from safetensors.torch import save_file

        facts = None if content == "foreign" else {"slideloom_segmentation": content}
        save_file({"weight": torch.zeros(1)}, path, metadata=facts)
    elif isinstance(content, bytes):
        path.write_bytes(content)

    with pytest.raises(ConfigError, match=r"model\.safetensors: (no such model|cannot be read|not a model)"):
        SegmentQc(model=tmp_path).build()


@pytest.mark.parametrize("library", ["torch", "safetensors"])
def test_without_its_libraries_the_plugin_loads_and_builds_name_the_command(library: str) -> None:
    found = subprocess.run([sys.executable, "-c", WITHOUT, library], capture_output=True, text=True, check=True)

    message = f"step 'segment' needs {library}, which is not installed: pip install 'slideloom-segmentation[torch]'"
    assert found.stdout.count(message) == 2


def test_the_truth_of_the_tests_is_drawn_as_the_slide_is(section, truth) -> None:
    slide, regions = section(11)
    assert [type(item) for item in regions.items] == [Region, Region]

    glass = truth(regions, slide.info.size, scale=1.0) == 0

    rgb = slide.thumbnail(max_px=slide.info.size.width)
    assert rgb[glass].mean() > 240
    assert rgb[~glass].mean() < 225
