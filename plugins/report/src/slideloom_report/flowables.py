"""What Platypus lacks: pages that are made only when needed, and page numbers that are known only later."""

from __future__ import annotations

from collections.abc import Callable

from reportlab.platypus import Flowable, PageBreak

from slideloom_report.style import PLAIN, SOFT, clean

LAST = "last-page"


class Later(Flowable):  # type: ignore[misc]  # reportlab has no types
    """Flowables on a new page, made when they are laid out, so that only one slide is in memory at a time."""

    def __init__(self, make: Callable[[], list[Flowable]]) -> None:
        super().__init__()
        self.make = make

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """Slightly more than is available, so that Platypus asks for a split."""
        return width, height + 1

    def split(self, width: float, height: float) -> list[Flowable]:
        """The flowables."""
        return [PageBreak(), *self.make()]


class Landmark(Flowable):  # type: ignore[misc]
    """A link target without size; its page gets a bookmark if there is a `title`."""

    def __init__(self, name: str, title: str = "") -> None:
        super().__init__()
        self.name, self.title = name, title

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """Nothing."""
        return 0, 0

    def draw(self) -> None:
        """Write this page's number wherever other pages have a `PageOf` for it."""
        canvas, page = self.canv, self.canv.getPageNumber()
        canvas.bookmarkPage(self.name)
        if self.title:
            canvas.addOutlineEntry(clean(self.title), self.name)
        canvas.beginForm(self.name)
        canvas.setFont(PLAIN, 7)
        canvas.setFillColor(SOFT)
        canvas.drawString(0, 1.7, str(page))
        canvas.endForm()


class PageOf(Flowable):  # type: ignore[misc]
    """The number of the page with a landmark, which may come later in the document but must exist."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def wrap(self, width: float, height: float) -> tuple[float, float]:
        """Space for four digits."""
        return 18, 7

    def draw(self) -> None:
        """As Platypus asks."""
        self.canv.doForm(self.name)
