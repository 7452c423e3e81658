"""The slides of known pixels know their pixels."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from slideloom import Box, Point, Size, SlideError
from slideloom_testing import Analytic, AnalyticSlide, PixelsSlide, write_analytic


def by_quadrature(slide: AnalyticSlide, box: Box, fine: int = 400) -> np.ndarray:
    """The average of f over a box by the midpoint rule, from strips of vanishing width."""
    step = box.width / fine
    thin = [slide.expected(Box(box.x + (i + 0.5) * step, box.y, 1e-6, box.height), Size(1, fine)) for i in range(fine)]
    return np.mean(thin, axis=(0, 1, 2))


def test_the_closed_form_is_the_area_average() -> None:
    slide = AnalyticSlide(Size(900, 700))

    for box in (Box(10.3, 20.7, 50.5, 33.1), Box(400, 300, 1, 1), Box(0, 0, 900, 700)):
        assert slide.expected(box, Size(1, 1))[0, 0] == pytest.approx(by_quadrature(slide, box), abs=1e-3)


def test_averages_of_parts_average_to_the_whole() -> None:
    slide = AnalyticSlide(Size(900, 700), wavelength_px=40)
    box = Box(-30.5, 500.25, 300, 310)

    parts = slide.expected(box, Size(60, 31))

    assert parts.mean(axis=(0, 1)) == pytest.approx(slide.expected(box, Size(1, 1))[0, 0], abs=1e-9)


def test_every_level_is_the_rounded_average_of_what_its_pixels_cover() -> None:
    slide = AnalyticSlide(Size(1003, 801), downsamples=(1, 2.5, 4.0003, 16))

    for number, level in enumerate(slide.info.levels):
        pixels = slide.read(Point(3, 2), number, Size(40, 30))
        box = Box(3, 2, 40, 30).scaled(x=level.downsample_x, y=level.downsample_y)
        assert np.array_equal(pixels, np.floor(slide.expected(box, Size(40, 30)) + 0.5))


def test_values_stay_clear_of_black_and_white() -> None:
    slide = AnalyticSlide(Size(3000, 2000), wavelength_px=50)

    pixels = slide.expected(slide.info.box, Size(750, 500))

    assert pixels.min() > 15
    assert pixels.max() < 240
    assert pixels.std(axis=(0, 1)).min() > 20


def test_outside_the_slide_and_its_bounds_is_background() -> None:
    slide = AnalyticSlide(Size(400, 300), bounds=Box(100, 50, 200, 150), background=(250, 240, 230))

    assert (slide.read(Point(-50, -50), 0, Size(40, 40)) == (250, 240, 230)).all()
    pixels = slide.read(Point(90, 40), 0, Size(20, 20))
    assert (pixels[:10] == (250, 240, 230)).all()
    assert (pixels[:, :10] == (250, 240, 230)).all()
    assert (pixels[10:, 10:] != (250, 240, 230)).any(axis=-1).all()


def test_reading_at_any_box_agrees_with_the_closed_form_within_half_a_grey_level() -> None:
    slide = AnalyticSlide(Size(2000, 1500), downsamples=(1, 4), wavelength_px=64)
    box = Box(101.3, 203.8, 605.5, 605.5)

    difference = np.abs(slide.read_at(box, Size(299, 299)) - slide.expected(box, Size(299, 299)))

    assert difference.mean() < 0.5
    assert difference.max() < 1.5


def test_a_read_that_touches_damage_is_an_error_that_names_the_file() -> None:
    slide = AnalyticSlide(Size(400, 300), damaged=[Box(100, 100, 10, 10)], path=Path("torn.json"))

    slide.read(Point(0, 0), 0, Size(100, 300))
    with pytest.raises(SlideError, match=r"torn\.json"):
        slide.read(Point(0, 0), 0, Size(101, 300))


def test_a_slide_that_is_not_thread_safe_fails_loudly_when_shared() -> None:
    slide = AnalyticSlide(Size(4000, 3000), thread_safe=False)
    assert not slide.thread_safe
    slide.read(Point(0, 0), 0, Size(10, 10))

    slide._in_use.acquire()
    with pytest.raises(AssertionError, match="two threads"):
        slide.read(Point(0, 0), 0, Size(10, 10))


def test_threads_read_the_same_pixels() -> None:
    slide = AnalyticSlide(Size(2000, 1500), downsamples=(1, 4))
    places = [Point(100 * i, 70 * i) for i in range(12)]

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda place: slide.read(place, 0, Size(64, 64)), places))

    for place, pixels in zip(places, together, strict=True):
        assert np.array_equal(pixels, slide.read(place, 0, Size(64, 64)))


def test_an_analytic_slide_survives_the_way_through_its_file(tmp_path: Path) -> None:
    options = {
        "downsamples": (1, 4.0003),
        "mpp": (0.25, 0.26),
        "bounds": Box(10, 20, 300, 200),
        "damaged": [Box(50, 50, 5, 5)],
        "background": (1, 2, 3),
        "thread_safe": False,
        "objective_power": 20.0,
        "properties": {"a": "b"},
    }
    path = write_analytic(tmp_path / "one.json", Size(400, 300), **options)
    reader = Analytic().build()

    assert reader.recognises(path)
    slide = reader.open(path)

    assert isinstance(slide, AnalyticSlide)
    straight = AnalyticSlide(Size(400, 300), path=path, **options)
    assert slide.info == straight.info
    assert slide.damaged == straight.damaged
    assert slide.thread_safe is False
    assert np.array_equal(slide.read(Point(5, 5), 1, Size(5, 5)), straight.read(Point(5, 5), 1, Size(5, 5)))


def test_no_mpp_stays_none_through_the_file(tmp_path: Path) -> None:
    path = write_analytic(tmp_path / "one.json", Size(40, 30), mpp=None)

    assert Analytic().build().open(path).info.mpp is None


@pytest.mark.parametrize("text", ["", "{", '{"slideloom-analytic": 1, "width": 3', '{"slideloom-analytic": 1}', "[]"])
def test_a_broken_description_is_a_slide_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.json"
    path.write_text(text)

    with pytest.raises(SlideError, match=r"broken\.json"):
        Analytic().build().open(path)


def test_an_unknown_option_is_refused_when_writing(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="colour"):
        write_analytic(tmp_path / "one.json", Size(40, 30), colour="red")


def test_downsamples_must_rise_from_one() -> None:
    with pytest.raises(ValueError, match="rise from 1"):
        AnalyticSlide(Size(40, 30), downsamples=(2, 4))


def test_a_pixels_slide_gives_its_pixels_and_averages_for_smaller_levels() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (60, 84, 3), dtype=np.uint8)
    slide = PixelsSlide(rgb, mpp=0.5, downsamples=(1, 4))

    assert np.array_equal(slide.read(Point(10, 20), 0, Size(30, 20)), rgb[20:40, 10:40])
    blocks = rgb.reshape(15, 4, 21, 4, 3).mean(axis=(1, 3))
    assert np.abs(slide.read(Point(0, 0), 1, Size(21, 15)) - blocks).max() <= 0.5 + 1e-3
    assert (slide.read(Point(84, 0), 0, Size(5, 5)) == 255).all()
    assert (slide.read(Point(-9, -9), 0, Size(5, 5)) == 255).all()
