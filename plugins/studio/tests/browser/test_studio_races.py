"""Answers that come late or out of order, or are refused because something changed meanwhile.

A test holds a request back and lets it go when something else has happened: what a busy machine does by chance.
"""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import slideloom as sl
from slideloom_testing.fixtures import DemoFiles

SIZE = ("--tile-px", 50, "--tile-um", 50, "--filter", "none")


@pytest.fixture
def studio(open_studio: Callable[..., Any], demo_slide: DemoFiles) -> Any:
    """A studio of the demo slide with tiles of 50 microns and Otsu's mask."""
    return open_studio(demo_slide.path, *SIZE, "--qc", "otsu")


@pytest.fixture
def three(open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path) -> Any:
    """A studio of three copies of the demo slide."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("alpha", "beta", "gamma"):
        shutil.copyfile(demo_slide.path, folder / f"{name}.svs")
    return open_studio(folder, "--roi", tmp_path / "rois", "--out", tmp_path / "out")


class Held:
    """The first request to an address, held back until `let_go`; later ones pass.

    Args:
        user: whose page sends it.
        address: a pattern of the browser's.
        method: of the request.
        answered: True to hold back the answer, which the server gives at once.
    """

    def __init__(self, user: Any, address: str, method: str = "GET", *, answered: bool = False) -> None:
        self._route: Any = None
        self._answer: Any = None

        def hold(route: Any) -> None:
            if self._route is not None or route.request.method != method:
                route.fallback()
                return
            self._route = route
            self._answer = route.fetch() if answered else None

        user.page.route(address, hold)

    def let_go(self) -> None:
        if self._answer is None:
            self._route.continue_()
        else:
            self._route.fulfill(response=self._answer)


def kept_by(path: Path, threshold: float) -> int:
    """Number of tiles that the library keeps by Otsu's mask."""
    with sl.WSI(path, tile_px=50, tile_um=50) as wsi:
        wsi.qc("otsu", filter_threshold=threshold)
        return len(wsi.tile_dataframe())


def decided(user: Any, kept: int) -> None:
    """Wait until so many tiles are kept."""
    user.tab("Tiles")
    user.page.locator(".total", has_text=re.compile(rf"^{kept:,} of ")).wait_for()


def set_threshold(user: Any, value: str) -> None:
    user.tab("Steps")
    user.page.locator("[data-path='qc.0.filter_threshold'] input[type=range]").fill(value)


def current(user: Any) -> Any:
    return user.page.locator("#slides [aria-current=true] .name")


def test_the_slide_that_was_asked_for_last_is_shown(user: Any, three: Any) -> None:
    user.open(three.server.url)
    user.page.route("**/slides/s2/pyramid", lambda _: None)  # beta's answer never comes

    user.page.keyboard.press(".")
    current(user).get_by_text("beta").wait_for()
    user.page.keyboard.press(",")
    current(user).get_by_text("alpha").wait_for()
    user.page.keyboard.press(".")
    current(user).get_by_text("beta").wait_for()
    user.page.keyboard.press(".")
    user.page.locator("#bar h1", has_text="gamma").wait_for()

    assert current(user).inner_text() == "gamma"
    user.page.unroute("**/slides/s2/pyramid")
    user.page.keyboard.press(",")
    user.page.locator("#bar h1", has_text="beta").wait_for()


def test_a_run_waits_until_the_server_has_what_is_on_screen(user: Any, studio: Any, demo_slide: DemoFiles) -> None:
    expected = kept_by(demo_slide.path, 0.2)
    assert expected != kept_by(demo_slide.path, 0.6)
    user.open(studio.server.url)
    held = Held(user, "**/api/pipeline", "PUT")

    with user.page.expect_request(lambda request: request.method == "PUT"):
        set_threshold(user, "0.2")
    user.tab("Run")
    user.page.get_by_role("button", name="This slide").click()
    held.let_go()
    user.page.locator(".outcome.done").wait_for()

    assert user.page.locator(".outcome").inner_text() == f"Done: {expected:,} of 1,200 tiles"


def test_nothing_runs_or_is_copied_while_the_steps_have_mistakes(
    user: Any, open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path
) -> None:
    studio = open_studio(demo_slide.path, *SIZE, "--qc", "gaussian-v2")
    user.open(studio.server.url)
    user.tab("Steps")
    number = user.page.locator("[data-path='qc.0.sigma'] input.number")
    number.fill("-3")
    number.press("Tab")

    user.tab("Run")
    user.page.get_by_role("button", name="This slide").click()
    note = user.page.locator(".note.error", has_text="has mistakes")
    note.wait_for()
    note.get_by_role("button").click()
    user.page.get_by_role("button", name="Copy pipeline").click()
    note.wait_for()

    assert studio.get("api/run").json()["state"] == "none"
    assert not (tmp_path / "out").exists()


def test_the_answer_of_a_text_that_is_no_longer_wanted_is_dropped(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    user.tab("Run")
    user.page.locator("pre", has_text='use = "otsu"').wait_for()
    held = Held(user, "**/pipeline/text?as=toml*", answered=True)

    user.page.get_by_role("button", name="TOML").click()
    set_threshold(user, "0.2")
    user.tab("Run")
    user.page.locator("pre", has_text="filter_threshold = 0.2").wait_for()
    held.let_go()
    user.page.evaluate("fetch('api/session').then((answer) => answer.text())")  # whose answer comes after the other

    assert "filter_threshold = 0.2" in user.page.locator("pre").inner_text()


def test_a_run_is_followed_although_an_earlier_question_is_answered_late(user: Any, studio: Any) -> None:
    held = Held(user, "**/api/run", answered=True)
    user.open(studio.server.url)

    user.tab("Run")
    user.page.get_by_role("button", name="This slide").click()
    user.page.locator(".outcome.done").wait_for()
    with user.page.expect_event("requestfinished"):
        held.let_go()  # it says that there is no run

    user.page.locator(".outcome.done").wait_for()


def test_remarks_are_written_in_the_order_they_were_made(user: Any, three: Any, tmp_path: Path) -> None:
    user.open(three.server.url)
    held = Held(user, "**/review", "PUT")

    with user.page.expect_request("**/review"):
        user.page.get_by_label("Status", exact=True).select_option("excluded")
    user.page.get_by_label("Note").fill("torn")
    user.page.get_by_label("Note").press("Tab")
    held.let_go()
    user.page.locator("#slides .badge.excluded[title=torn]").wait_for()

    with (tmp_path / "out" / "review.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["review"], row["note"]) == ("excluded", "torn")


def test_what_another_window_changed_is_followed_when_it_matters(
    user: Any, new_user: Callable[..., Any], studio: Any, demo_slide: DemoFiles
) -> None:
    user.open(studio.server.url)
    user.page.keyboard.press("t")
    decided(user, kept_by(demo_slide.path, 0.6))
    other = new_user()
    other.open(studio.server.url)
    set_threshold(other, "0.2")
    other.page.keyboard.press("Escape")
    other.tab("Tiles")
    other.page.get_by_label("Show on the slide").check()
    decided(other, kept_by(demo_slide.path, 0.2))

    user.click((25, 25))

    decided(user, kept_by(demo_slide.path, 0.2))
    user.page.locator(".tile-detail").get_by_text("Tile 0, 0").wait_for()
    user.tab("Run")
    user.page.get_by_role("button", name="This slide").click()
    user.page.locator(".note.error", has_text="changed in another window").wait_for()


def test_a_tile_is_closed_when_its_place_is_another_one(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    user.tab("Tiles")
    user.page.get_by_label("Show on the slide").check()
    user.page.locator(".legend li[data-reason=kept]").wait_for()
    user.click((1975, 1475))
    user.page.locator(".tile-detail").get_by_text("Tile 39, 29").wait_for()

    width = user.page.locator("[data-path='tiles.tile_um'] input")
    width.fill("100")
    width.press("Tab")
    user.page.locator(".total", has_text=" of 300 tiles").wait_for()

    user.page.locator(".tile-detail:empty").wait_for(state="attached")
    assert user.page.locator(".note.error").count() == 0


def test_normalized_pixels_are_asked_for_again_when_regions_change(
    user: Any, open_studio: Callable[..., Any], demo_slide: DemoFiles
) -> None:
    studio = open_studio(demo_slide.path, *SIZE, "--normalizer", "reinhard:context=slide")
    user.open(studio.server.url)

    def revision(answer: Any) -> str | None:
        found = re.search(r"normalized=1&revision=(\d+)", answer.url)
        return found[1] if found and answer.ok else None

    with user.page.expect_response(lambda answer: revision(answer) is not None) as shown:
        user.page.get_by_role("button", name="Compare normalized").click()
    before = revision(shown.value)

    # A slide's own staining is measured within its regions.
    with user.page.expect_response(lambda answer: revision(answer) not in (None, before)):
        user.draw_polygon([(300, 300), (1100, 300), (1100, 1000), (300, 1000)])


def test_pixels_that_the_server_refuses_are_told_with_its_words(user: Any, studio: Any) -> None:
    user.page.route(
        re.compile(r"/pyramid/\d+/\d+/\d+"),
        lambda route: route.continue_(url=re.sub(r"pyramid/\d+", "pyramid/99", route.request.url)),
    )

    user.page.goto(studio.server.url)

    user.page.locator(".note.error", has_text="A part of demo is not shown: the slide has no tile").wait_for()


def test_a_slide_whose_file_is_gone_is_marked_in_the_list(user: Any, three: Any, tmp_path: Path) -> None:
    (tmp_path / "slides" / "beta.svs").unlink()

    user.open(three.server.url)

    badge = user.page.locator("#slides .badge.error")
    badge.wait_for()
    assert "beta.svs: the file is gone" in (badge.get_attribute("title") or "")
    user.page.keyboard.press(".")
    user.page.locator(".note.error", has_text="beta.svs: the file is gone").wait_for()
    assert current(user).inner_text() == "alpha"


def test_several_who_wait_for_a_save_save_once(user: Any, three: Any, tmp_path: Path) -> None:
    user.open(three.server.url)
    held = Held(user, "**/regions", "PUT")
    with user.page.expect_request(lambda request: request.method == "PUT"):
        user.draw_polygon([(300, 300), (1100, 300), (1100, 1000), (300, 1000)])
    user.draw_polygon([(1300, 200), (1800, 200), (1500, 900)])
    user.regions(2)

    user.page.get_by_role("button", name="Save as QuPath CSV").click()
    user.page.get_by_role("button", name="Save as QuPath CSV").click()
    user.page.keyboard.press(".")
    held.let_go()
    user.page.locator("#bar h1", has_text="beta").wait_for()

    assert user.page.get_by_role("dialog").count() == 0
    features = json.loads((tmp_path / "rois" / "alpha.geojson").read_text(encoding="utf-8"))["features"]
    assert len(features) == 2
