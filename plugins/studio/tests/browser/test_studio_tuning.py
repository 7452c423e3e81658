"""Tuning steps and running them by mouse: the page counts what the library counts."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import slideloom as sl
from slideloom_testing.fixtures import DemoFiles

SIZE = ("--tile-px", 50, "--tile-um", 50, "--filter", "none")


@pytest.fixture
def studio(open_studio: Callable[..., Any], demo_slide: DemoFiles) -> Any:
    """A studio of the demo slide with tiles of 50 microns and no steps."""
    return open_studio(demo_slide.path, *SIZE)


def kept_by(path: Path, *, threshold: float | None = None, **steps: Any) -> int:
    """Number of tiles that the library keeps."""
    with sl.WSI(path, tile_px=50, tile_um=50) as wsi:
        if "qc" in steps:
            wsi.qc(steps["qc"], **({} if threshold is None else {"filter_threshold": threshold}))
        return len(wsi.tile_dataframe())


def add(user: Any, what: str, step: str) -> None:
    user.tab("Steps")
    user.page.get_by_label(what).select_option(step)


def counts(user: Any) -> dict[str, int]:
    """The legend: tiles by reason."""
    rows = user.page.locator(".legend li")
    return {
        row.get_attribute("data-reason"): int(row.locator(".count").inner_text().replace(",", "")) for row in rows.all()
    }


def decided(user: Any, kept: int) -> None:
    """Wait until so many tiles are kept, and nothing is being decided."""
    user.tab("Tiles")
    user.page.locator(".total", has_text=re.compile(rf"^{kept:,} of ")).wait_for()
    user.page.locator(".working-card").wait_for(state="hidden")


def test_without_steps_every_tile_is_kept(user: Any, studio: Any) -> None:
    user.open(studio.server.url)

    user.tab("Tiles")
    user.page.get_by_label("Show on the slide").check()

    decided(user, 40 * 30)  # tiles of 50 microns on 2000 x 1500 pixels of one micron
    assert counts(user) == {"kept": 1200}


def test_a_qc_step_and_its_threshold_count_as_the_library_does(user: Any, studio: Any, demo_slide: DemoFiles) -> None:
    expected = {share: kept_by(demo_slide.path, qc="otsu", threshold=share) for share in (0.6, 0.2, 0.9)}
    assert len(set(expected.values())) == 3
    user.open(studio.server.url)

    add(user, "Add a QC step", "otsu")
    decided(user, expected[0.6])
    assert counts(user) == {"kept": expected[0.6], "qc:otsu": 1200 - expected[0.6]}
    user.tab("Steps")
    field = user.page.locator("[data-path='qc.0.filter_threshold']")
    slider = field.locator("input[type=range]")
    slider.fill("0.2")
    decided(user, expected[0.2])
    user.tab("Steps")
    field.locator("input.number").fill("0.9")
    field.locator("input.number").press("Enter")
    decided(user, expected[0.9])

    assert slider.input_value() == "0.9"


def test_a_wrong_option_is_told_beside_its_field_and_the_tiles_stay(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    add(user, "Add a QC step", "gaussian-v2")
    user.page.locator("#map[data-redraw-ms]").wait_for()

    field = user.page.locator("[data-path='qc.0.sigma']")
    field.locator("input.number").fill("-3")
    field.locator("input.number").press("Tab")

    field.locator(".problem", has_text="sigma must be from 0.1 to 50, not -3").wait_for()
    assert field.locator("input.number").get_attribute("aria-invalid") == "true"
    field.locator("input.number").fill("3")
    field.locator("input.number").press("Tab")
    field.locator(".problem:empty").wait_for(state="attached")


def test_regions_that_are_drawn_leave_out_the_tiles_around_them(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    user.page.keyboard.press("t")
    decided(user, 1200)

    user.draw_polygon([(300, 300), (1100, 300), (1100, 1000), (300, 1000)])

    decided(user, 16 * 14)  # those whose centre lies within 800 x 700 pixels
    assert counts(user) == {"kept": 224, "roi": 976}


def test_a_tile_that_is_clicked_shows_its_pixels_and_why(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    add(user, "Add a QC step", "otsu")
    user.tab("Tiles")
    user.page.locator(".legend li[data-reason='qc:otsu']").wait_for()

    user.click((25, 25))

    detail = user.page.locator(".tile-detail")
    detail.get_by_text("Tile 0, 0").wait_for()
    assert detail.locator(".verdict").inner_text() == user.page.locator(".tip").inner_text() != "Kept"
    assert "25, 25" in detail.inner_text()
    user.page.wait_for_function(
        "() => [...document.querySelectorAll('.tile-pictures img')].map((i) => i.naturalWidth).join() === '50,50'"
    )


def test_masks_are_shown_and_proposed_as_regions(user: Any, studio: Any, tmp_path: Path) -> None:
    user.open(studio.server.url)
    add(user, "Add a QC step", "otsu")
    masks = user.page.locator(".masks li")
    masks.first.wait_for()

    masks.get_by_role("checkbox").check()
    user.see_slide()
    masks.get_by_role("button", name="Propose as regions").click()
    proposals = user.page.locator(".proposals")
    proposals.get_by_role("button", name="Accept otsu 1", exact=True).click()
    user.regions(1)
    proposals.get_by_role("button", name="Refuse all").click()
    proposals.wait_for(state="hidden")
    user.saved()

    (feature,) = json.loads((tmp_path / "rois" / "demo.geojson").read_text(encoding="utf-8"))["features"]
    assert feature["properties"]["classification"]["name"] == "otsu"


def test_a_mask_that_was_decided_again_meanwhile_is_asked_for_again(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    add(user, "Add a QC step", "otsu")
    box = user.page.locator(".masks li").first.get_by_role("checkbox")
    box.wait_for()
    user.page.route(
        "**/masks/0?revision=*",
        lambda route: route.continue_(url=re.sub(r"revision=\d+", "revision=999999", route.request.url)),
    )
    with user.page.expect_response("**/masks/0?revision=*") as refused:
        box.check()
    assert refused.value.status == 409
    user.page.unroute("**/masks/0?revision=*")
    box.uncheck()
    box.check()

    user.page.locator(".mask-layer canvas").wait_for()
    assert user.page.locator("#notes .error").count() == 0


def test_a_mask_that_cannot_be_had_is_told(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    add(user, "Add a QC step", "otsu")
    box = user.page.locator(".masks li").first.get_by_role("checkbox")
    box.wait_for()
    user.page.route(
        "**/masks/0?revision=*", lambda route: route.continue_(url=route.request.url.replace("masks/0", "masks/7"))
    )

    box.check()

    user.page.locator("#notes .error", has_text="mask").wait_for()


def test_the_normalizer_is_swiped_over_the_slide(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    add(user, "Choose a normalizer", "reinhard")

    with user.page.expect_response(lambda answer: "normalized=" in answer.url and answer.ok):
        user.page.get_by_role("button", name="Compare normalized").click()
    handle = user.page.get_by_role("slider", name="Original to the left")
    box = handle.bounding_box()
    assert box is not None
    user.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 300)
    user.page.mouse.down()
    user.page.mouse.move(box["x"] - 150, box["y"] + 300)
    user.page.mouse.up()

    stage = user.page.locator("#stage").bounding_box()
    share = (box["x"] - 150 - stage["x"]) / stage["width"]
    assert int(handle.get_attribute("aria-valuenow")) == pytest.approx(100 * share, abs=1)
    clip = user.page.locator(".normalized-layer").evaluate("element => getComputedStyle(element).clipPath")
    assert float(re.search(r"([\d.]+)%\)", clip)[1]) == pytest.approx(100 * share, abs=1)
    user.page.keyboard.press("n")
    handle.wait_for(state="hidden")


def test_what_is_in_view_becomes_the_target(user: Any, studio: Any) -> None:
    user.open(studio.server.url)
    add(user, "Choose a normalizer", "macenko")
    user.page.get_by_role("button", name="Magnification 10", exact=True).click()
    view = user.until("Math.abs(view.resolution - 1) < 1e-6")
    box = user.map.bounding_box()
    assert box is not None
    (width, height), (x, y) = (box["width"], box["height"]), (view["x"], view["y"])
    seen = [max(0, x - width / 2), max(0, y - height / 2), min(2000, x + width / 2), min(1500, y + height / 2)]

    with user.page.expect_response("**/target") as answer:
        user.page.get_by_role("button", name="From the present view").click()

    measured = answer.value.json()
    assert (measured["width"], measured["height"]) == (
        pytest.approx(seen[2] - seen[0], abs=1.01),
        pytest.approx(seen[3] - seen[1], abs=1.01),
    )
    user.page.locator(".note", has_text="The target is now demo").wait_for()
    field = user.page.locator("[data-path='normalizer.target'] input")
    assert json.loads(field.input_value()) == measured["target"]
    user.tab("Run")
    first = repr(measured["target"]["target_concentrations"][0])
    user.page.locator("pre", has_text=f"target_concentrations = [{first}").wait_for()
    user.tab("Steps")
    field.fill("v1")
    field.press("Tab")
    user.tab("Run")
    user.page.locator("pre", has_text='target = "v1"').wait_for()


def test_every_option_of_tiles_and_regions_has_a_field(
    user: Any, open_studio: Callable[..., Any], demo_slide: DemoFiles, tmp_path: Path
) -> None:
    (tmp_path / "rois").mkdir()  # a folder that is not there yet is not named in a pipeline file
    user.open(open_studio(demo_slide.path, "--tile-px", 90, "--tile-um", 90, "--filter", "none").server.url)
    user.page.keyboard.press("t")
    decided(user, 22 * 16)  # whole tiles on 2000 x 1500 pixels of one micron
    tiles, regions = (user.page.locator(f"details[data-table={name}]") for name in ("tiles", "roi"))

    tiles.locator("summary").click()
    tiles.get_by_label("use edge tiles").check()
    decided(user, 23 * 17)
    most = tiles.get_by_label("max tiles")
    most.fill("0")
    most.press("Tab")
    tiles.locator(".problem", has_text="max_tiles must be at least 1, not 0").wait_for()
    most.fill("")
    most.press("Tab")
    context = tiles.get_by_label("context um")
    context.fill("180, 270:64")
    context.press("Tab")
    regions.locator("summary").click()
    regions.get_by_label("artifacts").fill("pen, 7")
    regions.get_by_label("artifacts").press("Tab")
    user.tab("Run")
    user.page.locator("pre", has_text="artifacts").wait_for()

    text = tomllib.loads(user.page.locator("pre").inner_text())
    assert text["tiles"]["edge_tiles"] is True
    assert text["roi"][0]["artifacts"] == ["pen", "7"]
    assert text["tiles"]["context"] == [{"size_um": 180.0}, {"size_um": 270.0, "size_px": 64}]


def test_the_extraction_runs_and_its_report_opens(
    user: Any, studio: Any, demo_slide: DemoFiles, tmp_path: Path
) -> None:
    expected = kept_by(demo_slide.path, qc="otsu")
    user.open(studio.server.url)
    add(user, "Add a QC step", "otsu")
    decided(user, expected)

    user.tab("Run")
    user.page.get_by_role("button", name="This slide").click()
    user.page.locator(".outcome.done").wait_for()

    assert user.page.locator(".outcome").inner_text() == f"Done: {expected:,} of 1,200 tiles"
    (ledger,) = (tmp_path / "out").rglob("*.tfrecords")
    assert ledger.stat().st_size > 0
    with user.page.expect_popup() as opened:
        user.page.get_by_role("link", name="Open the report").click()
    opened.value.locator("#slides tbody tr").wait_for()
    assert "demo" in opened.value.locator("#slides").inner_text()


def test_the_pipeline_is_copied_as_file_command_and_python(new_user: Any, studio: Any) -> None:
    user = new_user(permissions=["clipboard-read", "clipboard-write"])
    user.open(studio.server.url)
    add(user, "Add a QC step", "otsu")
    user.tab("Run")
    text = user.page.locator("pre")

    text.get_by_text('use = "otsu"').wait_for()
    for form, words in (("Command", "--qc otsu"), ("Python", "import slideloom as sl"), ("TOML", "[[qc]]")):
        user.page.get_by_role("button", name=form).click()
        text.get_by_text(words).wait_for()
        user.page.get_by_role("button", name="Copy pipeline").click()
        same = "text => navigator.clipboard.readText().then((now) => now === text)"
        user.page.wait_for_function(same, arg=text.inner_text())
