"""What is held out: no slide that was trained on, every class in both parts, and no region that is not seen."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import numpy as np
import pytest
from shapely.geometry import Polygon, box
from slideloom import ConfigError, Region, Regions, Slide
from slideloom_segmentation import SegmentConfig, train
from slideloom_segmentation.sampling import Plot
from slideloom_segmentation.splitting import split
from slideloom_testing import PixelsSlide

SMALL = SegmentConfig(
    mode="multiclass", labels=("stroma", "tumor"), width=4, mpp=32.0, patch_px=32, epochs=2, patches=8, device="cpu"
)


def trained(section, out: Path, *, seeds: tuple[int, ...], resume: bool = False) -> Path:
    slides, regions = zip(*(section(seed) for seed in seeds), strict=True)
    return train(SMALL, slides=slides, regions=regions, out=out, resume=resume)


@pytest.fixture(scope="module")
def out(section, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a model of sections 1 and 2."""
    folder = tmp_path_factory.mktemp("models") / "two"
    trained(section, folder, seeds=(1, 2))
    return folder


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ((1, 3), "section3 was not there; section2 is missing"),
        ((1, 2, 3), "section3 was not there"),
        ((2, 1), "their order differs"),
    ],
)
def test_a_training_does_not_go_on_with_other_slides(out: Path, section, seeds: tuple[int, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=rf"checkpoint\.pt: made with other slides or regions: {said}"):
        trained(section, out, seeds=seeds, resume=True)


def test_a_training_does_not_go_on_with_other_regions(out: Path, section) -> None:
    (first, drawn), (second, of_second) = section(1), section(2)
    changed = Regions(items=(*drawn.items, Region("more", box(0, 0, 200, 200), "stroma")))

    with pytest.raises(ConfigError, match="section1 has other regions; give the same"):
        train(SMALL, slides=[first, second], regions=[changed, of_second], out=out, resume=True)
    assert trained(section, out, seeds=(1, 2), resume=True).is_file()


def test_a_slide_given_twice_is_refused_also_under_another_name(section, tmp_path: Path) -> None:
    slide, regions = section(1)
    copy = PixelsSlide(
        slide.read_at(slide.info.box, slide.info.size), mpp=4.0, downsamples=(1, 4), path=Path("copy.json")
    )

    for again in (slide, copy):
        with pytest.raises(ConfigError, match=r"are the same slide, or have one name.*leave one out"):
            train(SMALL, slides=[slide, section(2)[0], again], regions=[regions] * 3, out=tmp_path / "a")
    assert not (tmp_path / "a").exists()


def plot_of(number: int, *labels: str, config: SegmentConfig = SMALL) -> Plot:
    """A slide of one colour with a region for each label, beside each other."""
    slide: Slide = PixelsSlide(np.full((640, 960, 3), 10 * number, np.uint8), mpp=8.0, path=Path(f"s{number}.json"))
    regions = [Region(label, box(300 * i, 0, 300 * i + 200, 300), label) for i, label in enumerate(labels)]
    return Plot.of(slide, Regions(items=tuple(regions)), config)


@pytest.mark.parametrize("seed", range(8))
def test_every_class_is_in_both_parts_where_slides_allow_it(seed: int) -> None:
    plots = [
        plot_of(0, "stroma", "tumor"), plot_of(1, "stroma"), plot_of(2, "stroma"), plot_of(3, "stroma", "tumor"),
    ]  # fmt: skip

    parts = split(plots, attrs.evolve(SMALL, seed=seed, val_fraction=0.25))

    held_out = {plot.slide.info.name for plot, _, _ in parts.places}
    assert len(held_out) == 1
    assert held_out < {"s0", "s3"}
    assert {plot.slide.info.name for plot in parts.train} == {"s0", "s1", "s2", "s3"} - held_out


@pytest.mark.parametrize(
    ("labels", "role"),
    [((("stroma", "tumor"), ("stroma",)), "(training|validation)"), ((("stroma",),) * 2, "training")],
)
def test_a_class_that_one_part_must_lack_is_named(labels: tuple[tuple[str, ...], ...], role: str) -> None:
    with pytest.raises(ConfigError, match=f"nothing in the {role} part is 'tumor'.*label it in two slides or more"):
        split([plot_of(number, *named) for number, named in enumerate(labels)], SMALL)


def test_patches_to_validate_on_hold_a_class_that_few_of_them_have() -> None:
    config = SegmentConfig(mode="multiclass", labels=("stroma", "tumor"), mpp=1.0, patch_px=32, device="cpu")
    regions = Regions(
        items=(Region("s", box(0, 0, 1560, 760), "stroma"), Region("t", box(1500, 700, 1530, 730), "tumor"))
    )
    pixels = np.zeros((800, 1600, 3), np.uint8)
    plots = [
        Plot.of(PixelsSlide(pixels + number, mpp=1.0, path=Path(f"s{number}.json")), regions, config)
        for number in range(2)
    ]

    for seed in range(5):
        places = split(plots, attrs.evolve(config, seed=seed)).places
        classes = {number for plot, x, y in places for number in np.unique(plot.labels(x, y, 32)).tolist()}
        assert 256 <= len(places) <= 258
        assert classes == {0, 1, 2}


@pytest.mark.parametrize(
    ("shape", "is_seen"),
    [
        (box(101, 101, 103, 103), False),  # at 32 um of a slide of 4 um, a pixel is 8 wide; its centre lies at 100
        (box(101, 101, 107, 107), False),
        (box(97, 97, 103, 103), True),
        (box(98.5, 0, 99.5, 700), False),  # thinner than a pixel, between two columns of centres
        (Polygon([(0, 0), (700, 1), (0, 2)]), False),
        (box(5000, 5000, 5400, 5400), False),  # off the slide
        (box(96, 96, 112, 112), True),
    ],
)
def test_a_region_that_paints_no_pixel_is_refused(section, shape: Polygon, is_seen: bool) -> None:
    slide, regions = section(1)
    drawn = Regions(items=(*regions.items, Region("speck", shape, "tumor")))

    if is_seen:
        assert Plot.of(slide, drawn, SMALL).cells
        return
    with pytest.raises(ConfigError, match=r"section1.json: 1 regions hold the centre of no pixel at 32 um/px .speck."):
        Plot.of(slide, drawn, SMALL)


def test_the_score_of_an_epoch_is_of_classes_that_are_there(section, tmp_path: Path) -> None:
    trained(section, tmp_path / "a", seeds=(1, 2))

    epochs = json.loads((tmp_path / "a" / "params.json").read_text())["training"]["epochs"]
    assert all(0 <= epoch["val_iou"] < 1 for epoch in epochs)
