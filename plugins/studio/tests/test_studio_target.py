"""What is in view as a normalizer's target: the values of its own fit, in the pipeline like any other."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import attrs
import pytest
import slideloom as sl
from slideloom import Box, Size, load_pipeline
from slideloom_studio.targeting import View
from slideloom_testing.fixtures import DemoFiles

SIZE = ("--tile-px", "64", "--tile-um", "128")  # two microns, and so two pixels of the slide, per pixel
BOX = [301, 200, 900, 801]


def expected(demo: DemoFiles, method: str, box: Box, size: Size) -> Any:
    """What the library makes of the same pixels."""
    with sl.open_slide(demo.path) as slide:
        return sl.StainNormalizer(method).fit(slide.read_at(box, size)).fit_values


@pytest.mark.parametrize("method", ["macenko", "reinhard-tissue", "vahadane"])
def test_the_values_are_those_of_the_normalizers_own_fit(method: str, open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path, *SIZE)

    answer = page.post("api/slides/s1/target", {"use": method, "box": BOX}).json()

    assert answer["target"] == expected(demo_slide, method, Box(*BOX), Size(450, 401))  # half of 900 x 801, rounded up
    assert (answer["width"], answer["height"], answer["downsample"]) == (450, 401, 2.0)


def test_what_lies_beyond_the_slide_does_not_count(open_studio: Any, demo_slide: DemoFiles) -> None:
    page = open_studio(demo_slide.path, *SIZE)

    answer = page.post("api/slides/s1/target", {"use": "reinhard", "box": [-500, -700, 5000, 5000]}).json()

    assert answer["target"] == expected(demo_slide, "reinhard", Box(0, 0, 2000, 1500), Size(1000, 750))


def test_a_large_view_is_read_at_two_thousand_pixels(open_studio: Any, demo_slide: DemoFiles) -> None:
    with sl.open_slide(demo_slide.path) as slide:
        large = attrs.evolve(
            slide.info, levels=tuple(attrs.evolve(level, size=Size(80_000, 40_000)) for level in slide.info.levels[:1])
        )
    tiles = open_studio(demo_slide.path, *SIZE).studio.pipeline.now[1].tiles

    view = View.of([0, 0, 80_000, 40_000], large, tiles)

    assert view.size == Size(2048, 1024)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"use": "macenko", "box": [1, 2, 3]}, "box must be x, y, width and height"),
        ({"use": "macenko", "box": [9000, 0, 100, 100]}, "nothing of the slide is in view"),
        ({"use": "macenko", "box": [0, 0, 60, 60]}, "no target for macenko.*move to stained tissue"),
        ({"use": "hsv-augment", "box": BOX}, "hsv-augment takes no target from a view"),
    ],
)
def test_a_view_that_is_no_target_is_told(given: Any, words: str, open_studio: Any, demo_slide: DemoFiles) -> None:
    answer = open_studio(demo_slide.path, *SIZE).post("api/slides/s1/target", given)

    assert answer.status == 422
    assert re.search(words, answer.json()["error"])


def test_file_command_and_python_hold_the_values(open_studio: Any, demo_slide: DemoFiles, tmp_path: Path) -> None:
    page = open_studio(demo_slide.path, *SIZE)
    target = page.post("api/slides/s1/target", {"use": "macenko", "box": BOX}).json()["target"]
    table = page.put("api/pipeline", {"normalizer": {"use": "macenko", "options": {"target": target}}}).json()
    text = page.studio.text(page.studio.shelf.entry("s1"))
    (tmp_path / "pipeline.toml").write_text(text.toml(), encoding="utf-8")
    program: dict[str, Any] = {}

    exec(text.python().partition("slides = ")[0], program)
    file = load_pipeline(tmp_path / "pipeline.toml")

    assert table["normalizer"]["options"]["target"] == target
    assert json.loads(json.dumps(target)) == target
    assert file.normalizer == program["pipeline"].normalizer == text.pipeline.normalizer
    assert file.digest() == program["pipeline"].digest() == text.pipeline.digest()


def test_forms_say_which_targets_a_view_can_be(shared_page: Any) -> None:
    forms = [form for form in shared_page.get("api/steps").json() if form["kind"] == "normalizer"]

    taking = {form["name"] for form in forms for option in form["options"] if option["from_view"]}

    assert taking == {name for name in (form["name"] for form in forms) if name.startswith(("mac", "rein", "vah"))}
