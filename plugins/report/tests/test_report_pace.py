"""What people see who wait for a report."""

from __future__ import annotations

import io
from itertools import count
from typing import Any

from slideloom_report import write_report
from slideloom_report.pace import shown_pace


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_one_line_that_is_gone_at_the_end() -> None:
    out, seconds = Terminal(), count()

    with shown_pace(out, clock=lambda: float(next(seconds))) as show:
        show(0, 3)
        show(2, 3)

    assert out.getvalue().split("\r")[1:] == [
        "report: 0 of 3 slides, about 0 s left\x1b[K",
        "report: 2 of 3 slides, about 1 s left\x1b[K",
        "\x1b[K",
    ]


def test_a_file_has_a_line_now_and_then_and_none_for_a_quick_report() -> None:
    quick, slow = io.StringIO(), io.StringIO()
    for out, step in ((quick, 1), (slow, 15)):
        seconds = count(0, step)
        with shown_pace(out, clock=lambda ticks=seconds: float(next(ticks))) as show:  # type: ignore[misc]
            for done in range(5):
                show(done, 5)

    assert quick.getvalue() == ""
    assert slow.getvalue().splitlines() == [
        "report: 1 of 5 slides, about 120 s left",
        "report: 3 of 5 slides, about 40 s left",
    ]


def test_every_slide_is_told_before_its_page_is_made(made: Any, tmp_path: Any) -> None:
    told: list[tuple[int, int]] = []

    write_report(made.run, tmp_path / "r.pdf", samples=0, progress=lambda done, total: told.append((done, total)))

    assert told == [(0, 1)]
