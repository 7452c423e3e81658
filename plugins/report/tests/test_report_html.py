"""The HTML page: the same numbers as the PDF, safe to open, and in a browser sorted and searched."""

from __future__ import annotations

import base64
import hashlib
import re
import shutil
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from slideloom import NamedSlide, OutputError, SlideReport
from slideloom_report import Cohort, cohorts_in, write_report
from slideloom_report.files import is_sealed
from slideloom_report.page_look import STYLE
from slideloom_report.stored import stored_reports

BROWSER = shutil.which("chromium-headless-shell") or shutil.which("chromium")


def report(name: str, **values: Any) -> SlideReport:
    return SlideReport(slide=name, path=f"{name}.svs", **{"status": "done", "label": "64px_64um", **values})


def cohort(*slides: SlideReport) -> Cohort:
    return Cohort(out=Path("out"), label="64px_64um", kind="run", slides=slides)


def page_of(source: Cohort, folder: Path) -> str:
    write_report(source, folder / "r.pdf", html=folder / "r.html", samples=8)
    return (folder / "r.html").read_text(encoding="utf-8")


def rows_of(page: str) -> list[list[str]]:
    body = page.split('<table id="slides">')[1].split("<tbody>")[1].split("</tbody>", maxsplit=1)[0]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in re.findall(r"<tr[^>]*>(.*?)</tr>", body)]
    return [[unescape(re.sub(r"<[^>]+>", "", cell)) for cell in row] for row in cells]


def test_a_folder_gets_the_page_beside_the_pdf(made: Any, tmp_path: Path) -> None:
    out = tmp_path / "out"
    shutil.copytree(made.out, out)

    (pdf,) = stored_reports(out, slides=[made.slide])

    assert pdf.with_suffix(".html").is_file()
    assert is_sealed(pdf)
    assert is_sealed(pdf.with_suffix(".html"))


def test_the_page_counts_as_the_run_did_and_draws_every_tile(made: Any, tmp_path: Path) -> None:
    (subject,) = cohorts_in(made.out)
    slide = subject.slides[0]
    page = page_of(subject.at([NamedSlide.of(made.slide)]), tmp_path)

    (row,) = rows_of(page)
    assert row[0] == slide.slide
    assert [int(text.replace(",", "")) for text in row[2:5]] == [slide.rois, slide.planned, slide.written]
    drawing = page.split("<svg")[1].split("</svg>")[0]
    tiles = [path.count("h-") for path in re.findall(r'<path d="([^"]*)"', drawing)]
    assert max(tiles) >= slide.written
    assert sum(tiles) == slide.planned
    assert page.count("<figcaption>") == 2  # samples on the slide, and as stored


def test_a_failed_slide_has_its_reason_and_no_section(tmp_path: Path) -> None:
    page = page_of(
        cohort(report("a", planned=4, written=4), report("b", status="failed", error="b.svs: torn")), tmp_path
    )

    assert [row[-1] for row in rows_of(page)] == ["", "failed: torn"]
    assert page.count('<section class="slide"') == 1


def test_names_and_messages_cannot_become_markup_or_scripts(tmp_path: Path) -> None:
    name = '<img src=x onerror="alert(1)">'
    page = page_of(cohort(report(name, warnings=("<script>alert(2)</script>",), planned=1, written=1)), tmp_path)

    assert "<img src=x" not in page
    assert "alert(2)</script>" not in page
    assert rows_of(page)[0][0] == name
    assert page.count("<script>") == 1


def test_the_page_runs_its_own_script_only_and_loads_nothing(made: Any, tmp_path: Path) -> None:
    (subject,) = cohorts_in(made.out)
    page = page_of(subject.at([NamedSlide.of(made.slide)]), tmp_path)

    script = page.split("<script>")[1].split("</script>")[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    assert policy[1] == f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{allowed}'"
    assert not re.search(r'(src|href)="(?!data:|#)', page)


def test_a_page_with_remarks_is_kept_and_an_untouched_one_replaced(tmp_path: Path) -> None:
    source, path = cohort(report("a", planned=1, written=1)), tmp_path / "r.html"
    page_of(source, tmp_path)
    page_of(source, tmp_path)

    path.write_text(path.read_text(encoding="utf-8").replace("<h2>a</h2>", "<h2>a</h2>seen"), encoding="utf-8")
    with pytest.raises(OutputError, match=r"r\.html: already exists and is not a report as slideloom wrote it"):
        page_of(source, tmp_path)
    assert "seen" in path.read_text(encoding="utf-8")


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium-headless-shell")
def test_in_a_browser_slides_are_sorted_by_number_and_found_by_any_word(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    slides = [
        report("b", planned=100, written=9, rejected={"qc:otsu": 91}),
        report("a", planned=100, written=100),
        report("c", planned=100, written=20, rejected={"roi": 80}),
        report("d", status="failed", error="d.svs: torn"),
    ]
    page_of(cohort(*slides), tmp_path)

    with sync_api.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page, errors = browser.new_page(), []
        page.on("console", lambda message: errors.append(message.text))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((tmp_path / "r.html").as_uri())

        def shown() -> list[str]:
            cells = page.locator("#slides tbody tr:not([hidden]) td:first-child")
            return [cell.inner_text().strip() for cell in cells.all()]

        page.get_by_role("button", name="kept").click()
        assert shown() == ["d", "b", "c", "a"]
        page.get_by_role("button", name="kept").click()
        assert shown() == ["a", "c", "b", "d"]
        page.get_by_role("searchbox").fill("qc otsu")
        assert shown() == ["b"]
        assert page.locator("#shown").inner_text() == "1 of 4"
        page.get_by_role("link", name="b", exact=True).click()
        assert page.url.endswith("#slide-0")
        browser.close()
    assert errors == []


def test_an_estimate_stands_under_the_figures_and_not_in_what_is_folded(tmp_path: Path) -> None:
    told = "A run is estimated to make 2400 tiles, 51 MB, in 3 min (from 60 tiles of 3 of 40 slides, with 95% spans)."
    page = page_of(evolve(cohort(report("a")), notes=(told,)), tmp_path)

    assert page.index('<section class="figures">') < page.index(told) < page.index("<details>")


def luminance(rgb: str) -> float:
    """Relative luminance of a colour such as "#c2410c" (WCAG 2.2)."""
    parts = [int(rgb[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(("scheme", "grounds"), [("light", ("#ffffff", "#f7f7f7")), ("dark", ("#121212", "#1a1a1a"))])
def test_every_colour_of_text_stands_out_in_light_and_in_dark(scheme: str, grounds: tuple[str, ...]) -> None:
    found = re.findall(r"--(soft|bad|name): (#[0-9a-f]{6});", STYLE)
    colours = dict(found[:3] if scheme == "light" else found[3:])
    assert set(colours) == {"soft", "bad", "name"}
    assert not re.findall(r"[^-]color: #", STYLE)

    for name, colour in colours.items():
        for ground in grounds:
            dark, light = sorted((luminance(colour), luminance(ground)))
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (name, ground)
