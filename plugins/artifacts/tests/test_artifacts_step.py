"""The step: its contract, what it finds on pictures whose truth is known, and what its options change."""

from __future__ import annotations

from pathlib import Path

import attrs
import cv2
import numpy as np
import pytest
import torch
from attrs import frozen
from numpy.typing import NDArray
from slideloom import QcResult, Rgb, Size
from slideloom_artifacts import Artifacts, artifacts
from slideloom_artifacts.artifacts import _CORE, _MARGIN, BARE, WEIGHTS, Grid, _block, _network, bare_glass
from slideloom_artifacts.network import MULTIPLE, STRIDE, ArtifactNet
from slideloom_testing import AnalyticSlide, PixelsSlide, SlideQcContract, info_of, scene_of
from slideloom_testing.tissue import DemoSlide
from slideloom_testing.tissue.truth import Part
from torch.utils.flop_counter import FlopCounterMode

PLANTED: tuple[Part, ...] = ("tissue", "pen", "blur", "fold")
PACKAGE = Path(__file__).parents[1] / "src" / "slideloom_artifacts"


class TestArtifacts(SlideQcContract):
    settings = Artifacts(device="cpu")


@frozen
class Section:
    """Generated tissue at 4 um, and masks of what was planted, at the cells of the answer."""

    rgb: Rgb
    sound: NDArray[np.bool_]
    glass: NDArray[np.bool_]
    pen: NDArray[np.bool_]


@pytest.fixture(scope="module")
def planted() -> Section:
    """A slide of 3.6 x 2.4 mm that no training has seen."""
    slide = DemoSlide(Size(3600, 2400), mpp=1.0, seed=5)
    rgb = cv2.resize(slide.block(0, 0, slide.size), (900, 600), interpolation=cv2.INTER_AREA)
    known = {part: slide.truth.mask(part, downsample=8) for part in PLANTED}
    sound = known["tissue"] & ~known["pen"] & ~known["blur"] & ~known["fold"]
    return Section(rgb, sound, ~known["tissue"] & ~known["pen"], known["pen"])


@pytest.fixture
def section(planted: Section) -> Rgb:
    """The slide's pixels."""
    return planted.rgb


def assessed(rgb: Rgb, *, mpp: float = 4.0, **options: object) -> QcResult:
    return Artifacts(device="cpu", **options).build().assess(PixelsSlide(rgb, mpp=mpp), scene_of(mpp=mpp))  # type: ignore[arg-type]


def share(result: QcResult, name: str, where: NDArray[np.bool_]) -> float:
    """The share of some cells that are of a class."""
    (one,) = [one for one in result.classes if one.name == name]
    return float(result.mask_of(one)[where].mean())


def at_cells(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    return mask[::STRIDE, ::STRIDE]


def test_the_weights_are_small_and_hold_numbers_only() -> None:
    assert (PACKAGE / WEIGHTS).stat().st_size < 10e6
    assert (PACKAGE / WEIGHTS).read_bytes()[8:9] == b"{"  # the header of a safetensors file


def test_tissue_is_told_from_glass_and_ink(planted: Section) -> None:
    result = assessed(planted.rgb)

    assert share(result, "tissue", planted.sound) > 0.9
    assert share(result, "background", planted.glass) > 0.9
    assert share(result, "pen", planted.pen) > 0.8


def test_strong_defocus_is_found_and_sharp_tissue_is_not(planted: Section) -> None:
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (9, 9)).astype(np.float32)  # radius 4.5 pixels, 18 um
    light = (planted.rgb / 255.0) ** 2.2
    soft = np.round(255 * cv2.filter2D(light, -1, disk / disk.sum()) ** (1 / 2.2)).astype(np.uint8)
    inner = cv2.erode(planted.sound.astype(np.uint8), np.ones((7, 7), np.uint8)) > 0

    assert share(assessed(planted.rgb), "out-of-focus", inner) < 0.02
    assert share(assessed(soft), "out-of-focus", inner) > 0.8


def test_a_black_stroke_over_tissue_and_glass_is_ink(section: Rgb) -> None:
    stroke = np.zeros(section.shape[:2], np.uint8)
    cv2.line(stroke, (50, 300), (850, 320), 255, 60)
    clear = np.power(10, -0.9 * cv2.GaussianBlur(stroke, (0, 0), 3)[..., None] / 255)

    result = assessed(np.round(section * clear).astype(np.uint8))

    assert share(result, "pen", at_cells(stroke > 0)) > 0.8


def test_every_class_has_the_threshold_of_its_option() -> None:
    settings = Artifacts(background=0.9, fold=0.1, bubble=0.2, pen=0.3, dust=0.4, out_of_focus=0.6, keep="dust")

    assert {one.name: (one.kind, one.threshold) for one in settings.qc_classes()} == {
        "tissue": (None, None),
        "background": ("background", 0.9),
        "fold": ("artifact", 0.1),
        "bubble": ("artifact", 0.2),
        "pen": ("artifact", 0.3),
        "dust": (None, 0.4),
        "out-of-focus": ("blur", 0.6),
    }


def test_folds_and_bubbles_are_told_but_drop_nothing_unless_asked_to() -> None:
    kinds = {one.name: one.kind for one in Artifacts().qc_classes()}

    assert [name for name, kind in kinds.items() if kind is None] == ["tissue", "fold", "bubble"]
    assert all(one.kind is not None for one in Artifacts(keep=()).qc_classes() if one.name != "tissue")
    outlined = [one.name for one in Artifacts().qc_classes() if one.is_outlined]
    assert outlined == ["fold", "bubble", "pen", "dust", "out-of-focus"]


def test_a_class_to_keep_that_there_is_not_is_refused() -> None:
    with pytest.raises(
        ValueError, match="keep must be of background, fold, bubble, pen, dust, out-of-focus, not 'ink'"
    ):
        Artifacts(keep=("ink",))


@pytest.mark.parametrize(
    ("size", "mpp", "cells"),
    [(Size(8000, 4000), 0.5, (250, 500)), (Size(1001, 999), 4.0, (500, 500)), (Size(3, 2), 0.25, (1, 1))],
)
def test_cells_are_two_pixels_of_the_network_and_cover_the_slide(
    size: Size, mpp: float, cells: tuple[int, int]
) -> None:
    grid = Grid.of(info_of(size=size, mpp=mpp), 4.0)

    assert (grid.size.height // STRIDE, grid.size.width // STRIDE) == cells
    box = grid.box(0, 0, grid.size)
    assert (box.x, box.y, box.width, box.height) == pytest.approx((0, 0, size.width, size.height))


def test_a_slide_coarser_than_the_network_is_not_enlarged_and_the_report_says_so(section: Rgb) -> None:
    result = assessed(section, mpp=16.0)

    assert result.mask.shape == (300, 450)
    assert result.notes[0].startswith("the slide has 16 um per pixel and the network was made for 4;")
    assert assessed(section).notes == ()


def test_blocks_suit_the_network_and_join_without_a_seam(section: Rgb, monkeypatch: pytest.MonkeyPatch) -> None:
    """A picture of several blocks gives what it gives when its parts lie elsewhere in the blocks."""
    monkeypatch.setattr(artifacts, "_CORE", 320)
    assert (_CORE % MULTIPLE, _MARGIN % MULTIPLE) == (0, 0)
    whole, later = assessed(section).labels, assessed(section[:, 64:]).labels
    assert whole is not None
    assert later is not None

    assert (whole[:, 96:] == later[:, 64:]).mean() > 0.995


def test_beyond_the_slide_a_block_is_its_mirror_image() -> None:
    slide = AnalyticSlide(Size(1000, 800), mpp=4.0, downsamples=(1,))
    block = _block(slide, Grid.of(slide.info, 4.0), 0, 0)

    assert block.shape == (800 + 2 * _MARGIN, 512 + 2 * _MARGIN, 3)  # half of 1000, up to a multiple of 32
    assert np.array_equal(block[_MARGIN:, _MARGIN - 1 :: -1], block[_MARGIN:, _MARGIN : 2 * _MARGIN])


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_do_not_change_the_answer(section: Rgb, batch: int) -> None:
    one, other = assessed(section).labels, assessed(section, batch=batch).labels
    assert one is not None
    assert other is not None

    assert (one == other).mean() > 0.9999


@pytest.mark.parametrize(("side", "share"), [(3323, 832), (4441, 896), (960, 960), (961, 512), (70, 96)])
def test_blocks_share_a_slide_evenly(side: int, share: int) -> None:
    """In as few blocks as there must be: 4 of 831, 5 of 889, 1, 2 of 481, and 1, up to multiples of 32."""
    assert Grid(Size(side, side), 1.0, 1.0).core == Size(share, share)


@pytest.mark.parametrize("threads", [2, 3])
def test_the_answer_is_the_same_for_any_number_of_threads(
    section: Rgb, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_CORE", 320)
    before = torch.get_num_threads()
    scene = attrs.evolve(scene_of(mpp=4.0), threads=threads)

    found = Artifacts(device="cpu").build().assess(PixelsSlide(section, mpp=4.0), scene).labels
    alone = assessed(section).labels
    assert found is not None
    assert alone is not None

    assert np.array_equal(found, alone)
    assert torch.get_num_threads() == before


def test_a_pixel_costs_few_operations() -> None:
    """Twice the multiplications of a pixel of the input, by hand from channels, kernels and strides."""
    down = 75 * 24 / 4 + (24 * 32 + 32 * 32) * 9 / 16 + (32 * 64 + 64 * 64) * 9 / 64
    down += (64 * 96 + 96 * 96) * 9 / 256 + (96 * 128 + 128 * 128) * 9 / 1024
    up = (128 / 4 + 96 + 9 * 96) * 64 / 256 + (96 / 4 + 64 + 9 * 64) * 48 / 64
    up += (64 / 4 + 32 + 9 * 32) * 24 / 16 + (32 / 4 + 24 + 9 * 24) * 16 / 4 + 24 * 7 / 4
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        ArtifactNet(7)(torch.zeros(1, 3, 128, 192))

    assert counter.get_total_flops() / (128 * 192) == pytest.approx(2 * (down + up))
    assert down + up < 5500  # the wide network that it was made of has 10 104


def glass(seed: int) -> Rgb:
    """Even glass of some light and tint, with noise and a slope that together stay within four levels."""
    random = np.random.default_rng(seed)
    colour = random.integers(184, 252) + random.integers(-6, 1, 3)
    slope = np.linspace(0, random.uniform(0, 2), 384)[None, :, None]
    rgb: Rgb = np.clip(colour + slope + random.integers(-1, 2, (384, 384, 3)), 0, 255).astype(np.uint8)
    return rgb


@pytest.mark.parametrize("seed", range(8))
def test_glass_of_which_the_network_is_not_asked_is_what_it_takes_for_background(seed: int) -> None:
    block = glass(seed)

    assert bare_glass(block)
    assert (_network("cpu")(block[None]) == BARE).all()


@pytest.mark.parametrize("case", ["pale tissue", "a speck", "grey", "tinted"])
def test_glass_with_anything_on_it_is_shown_to_the_network(case: str) -> None:
    block = np.full((384, 384, 3), 240, np.uint8)
    if case == "pale tissue":
        block[100:200, 100:200] = (236, 230, 236)
    elif case == "a speck":
        block[100, 100] = 230
    elif case == "grey":
        block[:] = 170
    else:
        block[..., 1] = 220

    assert not bare_glass(block)


def test_bare_blocks_among_others_are_background_and_the_others_as_ever(
    section: Rgb, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "_CORE", 320)
    wide = np.pad(section, ((0, 0), (0, 1200), (0, 0)), constant_values=243)
    asked = assessed(wide).labels
    monkeypatch.setattr(artifacts, "bare_glass", lambda block: False)
    all_asked = assessed(wide, batch=2).labels
    assert asked is not None
    assert all_asked is not None

    assert np.array_equal(asked[:, 600:], np.full((300, 450), BARE))
    assert (asked == all_asked).mean() > 0.9999


@pytest.mark.parametrize("form", [torch.channels_last, torch.contiguous_format])
def test_a_margin_is_left_out_without_changing_the_scores_of_the_rest(form: torch.memory_format) -> None:
    torch.manual_seed(0)
    net = ArtifactNet(7).eval().to(memory_format=form)  # type: ignore[call-overload]  # torch's stubs lack it
    pictures = torch.randn(2, 3, 192, 256).contiguous(memory_format=form)

    with torch.inference_mode():
        whole, inside = net(pictures), net(pictures, margin=_MARGIN)

    cut = _MARGIN // STRIDE
    assert inside.shape == (2, 7, 32, 64)
    torch.testing.assert_close(inside, whole[..., cut:-cut, cut:-cut], rtol=0, atol=1e-5)
