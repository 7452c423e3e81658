"""The list of slides, what is known of them, reviews, keys, themes, and a server that goes away."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from slideloom_testing.fixtures import DemoFiles

BOX = [(300, 300), (1100, 300), (1100, 1000), (300, 1000)]


@pytest.fixture
def three(open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path) -> Any:
    """A studio of three copies of the demo slide."""
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in ("alpha", "beta", "gamma"):
        shutil.copyfile(demo_slide.path, folder / f"{name}.svs")
    return open_studio(folder, "--roi", tmp_path / "rois", "--out", tmp_path / "out")


def shown(user: Any) -> list[str]:
    return [name.inner_text() for name in user.page.locator("#slides .name").all()]


def title(user: Any, name: str) -> None:
    """Wait until the slide `name` is open."""
    user.page.locator("#bar h1", has_text=name).wait_for()


def test_slides_are_found_by_name_and_reached_by_key(user: Any, three: Any) -> None:
    user.open(three.server.url)
    assert shown(user) == ["alpha", "beta", "gamma"]

    user.page.keyboard.press(".")
    title(user, "beta")
    user.page.keyboard.press(".")
    title(user, "gamma")
    user.page.keyboard.press(",")
    title(user, "beta")
    user.page.get_by_role("searchbox").fill("gam")
    user.page.locator("#slides .count", has_text="1 of 3 slides").wait_for()
    assert shown(user) == ["gamma"]
    user.page.reload()
    title(user, "beta")


def test_facts_say_where_the_resolution_comes_from(user: Any, three: Any) -> None:
    user.open(three.server.url)

    facts = user.page.locator(".facts").inner_text()

    assert "2,000 \N{MULTIPLICATION SIGN} 1,500 px" in facts
    assert "1 µm/px" in facts
    assert "aperio.MPP" in facts
    assert "2 mm \N{MULTIPLICATION SIGN} 1.5 mm" in facts


def test_a_review_goes_to_a_file_and_to_the_list(user: Any, three: Any, tmp_path: Path) -> None:
    user.open(three.server.url)

    user.page.get_by_label("Status", exact=True).select_option("excluded")
    user.page.get_by_label("Note").fill("torn")
    user.page.get_by_label("Note").press("Tab")
    user.page.locator("#slides .badge.excluded[title=torn]").wait_for()
    with user.page.expect_response(lambda answer: answer.url.endswith("/slides") and answer.ok):
        user.page.reload()
    user.page.locator("#slides .badge.excluded").wait_for()
    user.see_slide()

    assert user.page.get_by_label("Note").input_value() == "torn"
    with (tmp_path / "out" / "review.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["slide"], row["review"], row["note"]) == ("alpha", "excluded", "torn")


def test_a_drawing_is_saved_before_the_next_slide_opens(user: Any, three: Any, tmp_path: Path) -> None:
    user.open(three.server.url)
    user.draw_polygon(BOX)
    user.regions(1)

    user.page.keyboard.press(".")
    title(user, "beta")
    user.regions(0)

    features = json.loads((tmp_path / "rois" / "alpha.geojson").read_text(encoding="utf-8"))["features"]
    assert len(features) == 1
    user.page.locator("#slides .badge.regions", has_text="1").wait_for()


def test_regions_of_a_csv_are_saved_as_geojson_when_one_agrees(user: Any, three: Any, tmp_path: Path) -> None:
    folder = tmp_path / "rois"
    folder.mkdir()
    rows = "".join(f"ROI_1,{x},{y}\n" for x, y in BOX)
    (folder / "alpha.csv").write_text("ROI_Name,X_base,Y_base\n" + rows, encoding="utf-8")
    user.open(three.server.url)
    user.tab("Regions")
    user.regions(1)

    user.draw_polygon([(1300, 200), (1800, 200), (1500, 900)])
    user.page.get_by_role("dialog", name="Save as GeoJSON?").get_by_role("button", name="Save").click()
    user.saved()

    assert sorted(path.name for path in folder.iterdir()) == ["alpha.geojson", "originals"]
    assert len(json.loads((folder / "alpha.geojson").read_text(encoding="utf-8"))["features"]) == 2


def test_a_drawing_stays_while_the_studio_is_gone(user: Any, three: Any) -> None:
    user.open(three.server.url)
    user.draw_polygon(BOX)
    user.regions(1)
    user.saved()
    three.server.stop()

    user.page.keyboard.press("r")
    user.drag([(1300, 200), (1800, 900)])

    user.page.locator(".panel .saving", has_text="is it still running in the terminal?").wait_for()
    user.regions(2)
    stored = user.page.evaluate("Object.values(localStorage).map((text) => JSON.parse(text).geojson?.features.length)")
    assert 2 in stored
    user.errors.clear()  # the browser reports the requests that nobody answered


def test_the_theme_follows_the_system_until_it_is_switched(new_user: Any, three: Any) -> None:
    user = new_user(color_scheme="dark")
    user.open(three.server.url)
    root = user.page.locator("html")
    assert root.get_attribute("data-theme") == "dark"

    user.page.get_by_role("button", name="Dark theme").click()
    assert root.get_attribute("data-theme") == "light"
    user.page.reload()
    user.see_slide()

    assert root.get_attribute("data-theme") == "light"


def test_the_card_of_keys_opens_and_closes_by_key(user: Any, three: Any) -> None:
    user.open(three.server.url)

    user.page.keyboard.press("?")
    card = user.page.get_by_role("dialog", name="Keyboard and mouse")
    card.get_by_text("Freehand").wait_for()
    user.page.keyboard.press("Escape")

    card.wait_for(state="detached")


def test_every_control_has_a_name_and_the_tab_key_reaches_the_slide_first(user: Any, three: Any) -> None:
    user.open(three.server.url)
    for name in ("Regions", "Tiles", "Steps", "Run", "Slide"):
        user.tab(name)

    nameless = user.page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, [role=slider]")]
            .filter((one) => !(one.getAttribute("aria-label") || one.textContent.trim() || one.labels?.length))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []
    user.page.reload()
    user.see_slide()
    user.page.keyboard.press("Tab")
    assert user.page.evaluate("document.activeElement.textContent") == "Skip to the slide"
    user.page.keyboard.press("Enter")
    assert user.page.evaluate("document.activeElement.id") == "map"


def test_a_studio_that_only_looks_draws_nothing(
    user: Any, open_studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    studio = open_studio(demo_slide.path, "--read-only")
    user.open(studio.server.url)

    user.page.locator("#saving", has_text="View only").wait_for()
    user.draw_polygon(BOX)
    user.page.locator(".note", has_text="opened to look only").wait_for()

    assert user.page.locator("ul.regions button").count() == 0
    assert not (tmp_path / "rois").exists()


def test_a_real_slide_is_shown_and_drawn_on(user: Any, open_studio: Any, real_data: Path, tmp_path: Path) -> None:
    studio = open_studio(real_data / "cmu-1-small-region.svs", "--tile-px", 299, "--tile-um", 302)
    user.open(studio.server.url)

    user.draw_polygon([(500, 500), (1700, 500), (1700, 2500), (500, 2500)])
    user.regions(1)
    user.saved()
    user.page.keyboard.press("t")
    user.tab("Tiles")

    # Tiles of 605 pixels, three columns and four rows, of which two times four have their centre in the box.
    user.page.locator(".legend li[data-reason=roi]").wait_for()
    kept = sum(500 < 302.5 + 605 * x < 1700 and 500 < 302.5 + 605 * y < 2500 for x in range(3) for y in range(4))
    user.page.locator(".legend li[data-reason=kept] .count", has_text=str(kept)).wait_for()
    assert user.page.locator(".scale-bar").inner_text().strip().endswith("µm")


def test_a_region_file_that_cannot_be_read_keeps_nobody_from_the_slide(user: Any, three: Any, tmp_path: Path) -> None:
    folder = tmp_path / "rois"
    folder.mkdir()
    (folder / "alpha.geojson").write_text("{torn", encoding="utf-8")

    user.open(three.server.url)
    user.page.locator(".note.error", has_text="alpha.geojson").wait_for()
    user.draw_polygon(BOX)
    user.page.locator(".note:not(.error)", has_text="alpha.geojson").wait_for()  # told again, since it was tried

    assert user.page.locator("ul.regions button").count() == 0
    assert (folder / "alpha.geojson").read_text(encoding="utf-8") == "{torn"
