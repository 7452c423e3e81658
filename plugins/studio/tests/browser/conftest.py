"""A real browser with the page of a studio, and the gestures of a person at it."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pytest
from attrs import field, frozen

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page as BrowserPage

CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
PATIENCE_MS = 60_000  # a condition that fails to come is told after this; nothing waits that long otherwise
Point = tuple[float, float]


@frozen
class User:
    """Somebody who looks at the page and uses mouse and keyboard. Points are level-0 pixels of the slide.

    What `wait_for_function` waits for must be a function: a bare expression is evaluated anew each time, which the
    page's policy allows only the first time.

    Attributes:
        page: the browser's.
        errors: what the browser complained of, filled as it happens.
    """

    page: BrowserPage
    errors: list[str] = field(factory=list)

    @property
    def map(self) -> Locator:
        return self.page.locator("#map")

    def open(self, url: str) -> None:
        """Go to a studio, and wait for the slide's pixels."""
        self.page.goto(url)
        self.see_slide()

    def see_slide(self) -> None:
        """Wait until all pixels in view are there."""
        self.page.locator("#map[data-view][aria-busy=false]").wait_for()

    def view(self) -> dict[str, float]:
        """The centre `x`, `y` and `resolution`, slide pixels per screen pixel, of what is on screen."""
        seen: dict[str, float] = json.loads(self.map.get_attribute("data-view") or "")
        return seen

    def on_screen(self, point: Point) -> Point:
        """Where a point of the slide is on the screen."""
        box, view = self.map.bounding_box(), self.view()
        assert box is not None
        x = box["x"] + box["width"] / 2 + (point[0] - view["x"]) / view["resolution"]
        y = box["y"] + box["height"] / 2 + (point[1] - view["y"]) / view["resolution"]
        return x, y

    def click(self, point: Point, **more: Any) -> None:
        self.page.mouse.click(*self.on_screen(point), **more)

    def drag(self, points: Sequence[Point]) -> None:
        """Press at the first point, go through the others with the button held, and let go at the last."""
        first, *others = [self.on_screen(point) for point in points]
        self.page.mouse.move(*first)
        self.page.mouse.down()
        for place in others:
            self.page.mouse.move(*place)
        self.page.mouse.up()

    def draw_polygon(self, corners: Sequence[Point], *, key: str = "p") -> None:
        """Click a polygon with the tool of `key`, and close it."""
        self.page.keyboard.press(key)
        for corner in corners:
            self.click(corner)
        self.page.keyboard.press("Enter")

    def tab(self, name: str) -> None:
        self.page.get_by_role("tab", name=name).click()

    def saved(self) -> None:
        """Wait until the page says that the regions are saved."""
        self.page.locator("#saving[data-state=saved]").wait_for()

    def regions(self, count: int) -> None:
        """Wait until the list shows so many regions."""
        self.page.wait_for_function(
            "count => document.querySelectorAll('ul.regions button').length === count", arg=count
        )

    def until(self, condition: str) -> dict[str, float]:
        """Wait until a condition in JavaScript holds of `view`; then what is in view."""
        words = f"() => {{ const view = JSON.parse(document.getElementById('map').dataset.view); return {condition}; }}"
        self.page.wait_for_function(words)
        return self.view()


def circle(centre: Point, radius: float, *, points: int = 36) -> list[Point]:
    """Points around a circle, the first again at the end."""
    angles = [2 * math.pi * number / points for number in range(points + 1)]
    return [(centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle)) for angle in angles]


@pytest.fixture
def around() -> Callable[..., list[Point]]:
    """Makes the points of a circle."""
    return circle


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium: apt-get install chromium-headless-shell")
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    with sync_api.sync_playwright() as player:
        browser = player.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def new_user(browser: Browser) -> Iterator[Callable[..., User]]:
    """Makes a user with a window of their own; at the end no page may have complained, but of refused requests."""
    users: list[User] = []

    def made(**context: Any) -> User:
        usual = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}  # no view glides on
        page = browser.new_context(**{**usual, **context}).new_page()
        page.set_default_timeout(PATIENCE_MS)
        user = User(page)
        page.on("console", lambda message: message.type == "error" and user.errors.append(message.text))
        page.on("pageerror", lambda error: user.errors.append(str(error)))
        users.append(user)
        return user

    yield made
    for user in users:
        user.page.context.close()
        assert [text for text in user.errors if "Failed to load resource" not in text] == []


@pytest.fixture
def user(new_user: Callable[..., User]) -> User:
    """Somebody at a window of 1280 x 800 pixels."""
    return new_user()
