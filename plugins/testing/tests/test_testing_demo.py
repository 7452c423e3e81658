"""The demo slide looks like H&E, and its truth is true."""

from __future__ import annotations

import builtins
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from shapely.geometry import Point as Spot, shape as shape_of
from slideloom import Box, ConfigError, OutputError, Size, SlideError
from slideloom_testing import (
    DemoSlide,
    DemoTruth,
    PixelsSlide,
    load_truth,
    save_truth,
    write_demo_rois,
    write_demo_slide,
)
from slideloom_testing.tissue.outlines import ragged
from slideloom_testing.tissue.pyramid import keep_levels
from slideloom_testing.tissue.render import defocused

SIZE, MPP = Size(2000, 1500), 1.0


@pytest.fixture(scope="module")
def made() -> tuple[DemoSlide, np.ndarray]:
    slide = DemoSlide(SIZE, mpp=MPP, seed=0)
    rgb = np.empty((SIZE.height, SIZE.width, 3), np.uint8)
    for left, top, block in slide.blocks():
        rgb[top : top + block.shape[0], left : left + block.shape[1]] = block
    return slide, rgb


def deep(truth: DemoTruth, part: Any, margin_px: float) -> np.ndarray:
    """The part without its rim, at level 0."""
    from slideloom_testing.tissue.truth import rasterized

    return rasterized(truth.shape(part).buffer(-margin_px), truth.size, downsample=1)


def saturation(rgb: np.ndarray) -> np.ndarray:
    high, low = rgb.max(axis=-1).astype(float), rgb.min(axis=-1)
    return (high - low) / np.maximum(high, 1) * 255


def otsu(values: np.ndarray) -> float:
    """The threshold of largest between-class variance (Otsu 1979), by its definition."""
    count, edges = np.histogram(values, 256, (0, 256))
    below = np.cumsum(count)
    total, mean = np.cumsum(count * edges[:-1]), (count * edges[:-1]).sum() / count.sum()
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (mean * below - total) ** 2 / (below * (count.sum() - below))
    return float(edges[np.nanargmax(between[:-1])])


def test_otsu_on_saturation_separates_tissue_from_glass(made: tuple[DemoSlide, np.ndarray]) -> None:
    slide, rgb = made
    small = PixelsSlide(rgb, mpp=MPP).read_at(Box(0, 0, SIZE.width, SIZE.height), Size(500, 375))
    values = saturation(small)
    truth = slide.truth
    section = truth.mask("tissue", downsample=4)
    glass = ~(section | truth.mask("pen", downsample=4))
    stroma = truth.mask("stroma", downsample=4)

    limit = otsu(values)

    assert (values[glass] <= limit).mean() > 0.98
    assert (values[stroma] > limit).mean() > 0.85
    assert (values[truth.mask("tumor", downsample=4)] > limit).mean() > 0.85


def test_only_the_planted_patch_is_out_of_focus_at_the_resolution_of_focus_qc(
    made: tuple[DemoSlide, np.ndarray],
) -> None:
    slide, rgb = made
    mpp = 4 * 302 / 299
    size = Size(int(SIZE.width * MPP / mpp), int(SIZE.height * MPP / mpp))
    small = PixelsSlide(rgb, mpp=MPP).read_at(Box(0, 0, SIZE.width, SIZE.height), size)
    grey = small @ np.array([0.2125, 0.7154, 0.0721]) / 255
    padded = np.pad(grey, 1, mode="reflect")
    laplace = np.abs(4 * grey - padded[:-2, 1:-1] - padded[2:, 1:-1] - padded[1:-1, :-2] - padded[1:-1, 2:])
    kernel = np.exp(-0.5 * (np.arange(-12, 13) / 3.0) ** 2)
    smooth = np.pad(laplace, 12, mode="edge")
    for axis in (0, 1):
        smooth = np.apply_along_axis(lambda line: np.convolve(line, kernel / kernel.sum(), "valid"), axis, smooth)

    def at_mpp(part: np.ndarray) -> np.ndarray:
        rows = ((np.arange(size.height) + 0.5) * SIZE.height / size.height).astype(int)
        columns = ((np.arange(size.width) + 0.5) * SIZE.width / size.width).astype(int)
        return part[rows[:, None], columns[None, :]]

    truth = slide.truth
    patch = at_mpp(deep(truth, "blur", 40 / MPP))
    focus = at_mpp(deep(truth, "tissue", 20 / MPP) & ~deep(truth, "blur", -50 / MPP) & ~deep(truth, "pen", -10 / MPP))
    assert patch.sum() > 300
    assert (smooth[patch] <= 0.02).mean() > 0.95
    assert (smooth[focus] > 0.02).mean() > 0.95


def test_nuclei_are_darker_and_bluer_than_what_is_around_them(made: tuple[DemoSlide, np.ndarray]) -> None:
    slide, rgb = made
    truth = slide.truth
    clear = truth.shape("tumor").difference(truth.blur.buffer(60)).difference(truth.pen)
    inside = shapely.contains_xy(clear, truth.nuclei[:, 0], truth.nuclei[:, 1])
    x, y = np.floor(truth.nuclei[inside]).astype(int).T

    centre, tissue = rgb[y, x].astype(float), rgb[deep(truth, "stroma", 0)].astype(float)

    assert inside.sum() > 500
    assert centre.mean() < tissue.mean() - 30
    assert (centre[:, 2] > centre[:, 0]).mean() > 0.8  # blue exceeds red in haematoxylin
    assert (tissue[:, 0] > tissue[:, 2]).mean() > 0.8  # red exceeds blue in eosin


def test_nuclei_are_denser_in_the_tumour_than_in_stroma(made: tuple[DemoSlide, np.ndarray]) -> None:
    truth = made[0].truth

    def per_mm2(part: Any) -> float:
        area = truth.shape(part)
        inside = shapely.contains_xy(area, truth.nuclei[:, 0], truth.nuclei[:, 1])
        return inside.sum() / (area.area * MPP**2 * 1e-6)

    assert per_mm2("tumor") > 1.5 * per_mm2("stroma")
    assert truth.nuclei.shape == (len(truth.nuclei_kind), 2)


def test_the_marker_is_green(made: tuple[DemoSlide, np.ndarray]) -> None:
    slide, rgb = made
    ink, tissue = deep(slide.truth, "pen", 15), deep(slide.truth, "tissue", -20)
    greener = rgb[..., 1].astype(float) > rgb[..., 0]

    assert greener[ink & ~tissue].mean() > 0.99
    assert greener[ink & tissue].mean() > 0.7  # eosin takes green away
    assert slide.truth.pen.intersection(slide.truth.tissue).area > 0.05 * slide.truth.pen.area


def test_labelled_regions_lie_in_tissue_and_do_not_overlap(made: tuple[DemoSlide, np.ndarray]) -> None:
    truth = made[0].truth
    shapes = [region.shape for region in truth.regions]

    assert {region.label for region in truth.regions} == {"tumor", "stroma"}
    assert all(shape.is_valid and not shape.is_empty for shape in shapes)
    assert shapely.union_all(shapes).area == pytest.approx(sum(shape.area for shape in shapes))
    assert shapely.union_all(shapes).difference(truth.tissue.buffer(2)).area == 0


def test_blocks_fit_without_a_seam(made: tuple[DemoSlide, np.ndarray]) -> None:
    slide, rgb = made

    for left, top in ((900, 400), (1500, 380), (0, 0)):
        block = slide.block(left, top, Size(260, 230)).astype(int)
        difference = np.abs(block - rgb[top : top + 230, left : left + 260])
        assert difference.max() <= 1  # the Fourier transform of another block may round differently


def test_a_seed_is_a_slide() -> None:
    small = {"size": Size(900, 700), "mpp": 1.0}
    one, same, other = DemoSlide(**small, seed=1), DemoSlide(**small, seed=1), DemoSlide(**small, seed=2)
    place = (100, 200, Size(300, 200))

    assert np.array_equal(one.block(*place), same.block(*place))
    assert one.truth == same.truth
    assert not np.array_equal(one.block(*place), other.block(*place))


@pytest.mark.parametrize(("size", "seed"), [(Size(1500, 1100), 2), (Size(1500, 1100), 5), (Size(600, 450), 1)])
def test_any_seed_and_size_has_everything(size: Size, seed: int) -> None:
    truth = DemoSlide(size, mpp=1.0, seed=seed).truth

    assert {region.label for region in truth.regions} == {"tumor", "stroma"}
    assert truth.pen.intersection(truth.tissue).area > 0.05 * truth.pen.area
    assert truth.blur.area > 0.02 * size.area
    assert truth.fold.area > 0


def test_a_point_out_of_focus_becomes_a_disk_of_the_stated_radius() -> None:
    light = np.zeros((1, 101, 101), np.float32)
    light[0, 50, 50] = 1000
    radius = 12.0

    spread = defocused(light, radius)[0]

    y, x = np.mgrid[0:101, 0:101]
    away = np.hypot(x - 50, y - 50)
    assert spread.sum() == pytest.approx(1000, rel=1e-4)
    assert spread[away < radius - 1] == pytest.approx(1000 / (np.pi * radius**2), rel=0.02)
    assert np.abs(spread[away > radius + 1]).max() < 1e-3


def test_depths_in_an_outline_are_exact_but_for_what_is_far_outside() -> None:
    blob = ragged(np.random.default_rng(4), 900.0, 700.0, 300.0, 200.0)
    x, y = np.meshgrid(np.arange(0.0, 2000, 20, np.float32), np.arange(0.0, 1500, 20, np.float32))
    u, v = (x - 900) / 300, (y - 700) / 200
    exact = (blob.scale(np.arctan2(v, u)) - np.hypot(u, v)) * 200

    found = blob.depth(x, y)

    near = exact >= -60
    assert found[near] == pytest.approx(exact[near], abs=1e-3)
    assert ((found[~near] < -60 + 1e-3) & (found[~near] >= exact[~near] - 1e-3)).all()
    assert 0.1 < near.mean() < 0.5


def test_a_slide_too_small_for_tissue_is_refused() -> None:
    with pytest.raises(ValueError, match="too small"):
        DemoSlide(Size(300, 300), mpp=1.0)


def test_the_truth_survives_its_files(made: tuple[DemoSlide, np.ndarray], tmp_path: Path) -> None:
    truth = made[0].truth

    files = save_truth(truth, tmp_path / "truth")
    again = load_truth(tmp_path / "truth")

    assert all(file.exists() for file in files)
    assert again == truth
    assert np.array_equal(again.nuclei, truth.nuclei)
    assert again.nuclei_kind.tolist() == truth.nuclei_kind.tolist()
    with np.load(tmp_path / "truth" / "truth.npz") as arrays:
        assert arrays["tissue"].shape == (94, 125)  # ceil of 1500 / 16 and 2000 / 16
        assert arrays["downsample"] == 16
        assert arrays["tissue"].mean() * 94 * 125 * 16**2 == pytest.approx(truth.tissue.area, rel=0.02)


def test_missing_truth_is_an_error_that_names_the_folder(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="nowhere"):
        load_truth(tmp_path / "nowhere")


def test_regions_are_written_as_qupath_writes_them(made: tuple[DemoSlide, np.ndarray], tmp_path: Path) -> None:
    truth = made[0].truth

    path = write_demo_rois(truth, tmp_path / "rois", "demo")

    assert path == tmp_path / "rois" / "demo.geojson"
    collection = json.loads(path.read_text())
    assert collection["type"] == "FeatureCollection"
    assert len(collection["features"]) == len(truth.regions)
    for feature, region in zip(collection["features"], truth.regions, strict=True):
        assert feature["properties"]["objectType"] == "annotation"
        assert feature["properties"]["classification"]["name"] == region.label
        assert feature["properties"]["name"] == region.name
        assert shape_of(feature["geometry"]).equals(region.shape)


def test_without_pyvips_the_error_names_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any, **more: Any) -> Any:
        if name == "pyvips":
            raise ImportError("No module named 'pyvips'")
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(ConfigError, match="pip install slideloom-vips"):
        write_demo_slide(tmp_path / "demo.svs")


def test_openslide_opens_the_written_slide(tmp_path: Path) -> None:
    pytest.importorskip("pyvips")
    openslide = pytest.importorskip("openslide")
    path = tmp_path / "demo.svs"

    truth = write_demo_slide(path, size=Size(1800, 1300), mpp=0.5, seed=3)

    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.svs"]
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == "aperio"
        assert float(slide.properties["openslide.mpp-x"]) == 0.5
        assert slide.properties["openslide.objective-power"] == "20"
        assert slide.level_dimensions[0] == (1800, 1300)
        assert [round(downsample) for downsample in slide.level_downsamples] == [1, 4]
        stored = np.asarray(slide.read_region((400, 300), 0, (300, 200)).convert("RGB")).astype(int)
    rendered = DemoSlide(Size(1800, 1300), mpp=0.5, seed=3).block(400, 300, Size(300, 200))
    assert np.abs(stored - rendered).mean() < 6  # JPEG at quality 82
    assert truth.tissue.contains(Spot(500, 600))


def test_an_unwritable_place_is_an_error_that_names_it(tmp_path: Path) -> None:
    pytest.importorskip("pyvips")

    with pytest.raises(OutputError, match="nowhere"):
        write_demo_slide(tmp_path / "nowhere" / "demo.svs", size=Size(900, 700), mpp=1.0)


@pytest.mark.parametrize("order", ["<", ">"])
def test_levels_are_left_out_of_the_chain(tmp_path: Path, order: str) -> None:
    path = tmp_path / "chain.tif"
    starts = [16, 60, 104, 148]
    content = (b"II" if order == "<" else b"MM") + struct.pack(order + "HHHQ", 43, 8, 0, starts[0])
    for following in [*starts[1:], 0]:
        content += struct.pack(order + "QHHQQQ", 1, 256, 4, 1, 7, following) + b"\0" * 8
    path.write_bytes(content)

    keep_levels(path, {1, 4})

    after = path.read_bytes()
    assert struct.unpack_from(order + "Q", after, 8) == (16,)
    assert struct.unpack_from(order + "Q", after, 16 + 28) == (104,)
    assert struct.unpack_from(order + "Q", after, 104 + 28) == (0,)


def test_levels_of_another_file_are_not_touched(tmp_path: Path) -> None:
    path = tmp_path / "text.tif"
    path.write_bytes(b"This is not a slide at all.")

    with pytest.raises(ValueError, match="BigTIFF"):
        keep_levels(path, {1})
