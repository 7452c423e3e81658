"""The table as Markdown, for the page about migrating: `python -m slideloom_slideflow.page PAGE` writes it there."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from slideloom_slideflow.table import Row, rows

BEGIN = "<!-- table: begin, written by python -m slideloom_slideflow.page -->"
END = "<!-- table: end -->"
_HEAD = ("| Slideflow | slideloom itself | drop-in | difference, or what to use | since |", "|---|---|---|---|---|")
_SAID = {"same": "works", "differs": "differs", "warned": "no effect, and a warning", "refused": "refused"}


def table_text() -> str:
    """All sections, one below the other."""
    lines: list[str] = []
    section = ""
    for row in rows().values():
        if row.section != section:
            section = row.section
            lines += ["", f"### {section}", "", *_HEAD]
        lines += _lines(row)
    return "\n".join(lines).strip() + "\n"


def _lines(row: Row) -> Iterator[str]:
    yield _line(f"`{row.theirs}`", _code(row.ours), row.status, row.note, row.since)
    same = row.named("same")
    plain = [name for name in same if name not in row.called]
    if plain:
        yield _line("&nbsp; " + ", ".join(f"`{name}`" for name in plain), "", _SAID["same"], "", row.since)
    for name, (fate, words) in row.arguments.items():
        if name not in plain:
            yield _line(f"&nbsp; `{name}`", _code(row.called.get(name, "")), _SAID[fate], words, row.since)


def _code(text: str) -> str:
    """A name as code, words as they are."""
    return text if not text or "`" in text or (" " in text and "=" not in text and "," not in text) else f"`{text}`"


def _line(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def with_table(page: str) -> str:
    """The page with the table between its two marks.

    Raises:
        ValueError: the marks are not there.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page needs the lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n\n{table_text()}\n{END}{after}"


def main(path: Path) -> None:
    """Write the table into a page."""
    path.write_text(with_table(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
