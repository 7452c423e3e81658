"""The page about migrating is the table."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from slideloom_slideflow.page import BEGIN, END, with_table
from slideloom_slideflow.table import rows

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "migrate-from-slideflow.md"


def page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_the_page_holds_the_table_as_it_is() -> None:
    assert with_table(page()) == page(), "run python -m slideloom_slideflow.page docs/how-to/migrate-from-slideflow.md"


def test_every_name_and_every_argument_is_on_the_page() -> None:
    table = page().partition(BEGIN)[2].partition(END)[0]
    blocks = re.split(r"^\| (?=`)", table, flags=re.MULTILINE)[1:]
    found = {block.split("`")[1]: set(re.findall(r"^\| &nbsp; .*?(?= \| )", block, re.MULTILINE)) for block in blocks}

    assert list(found) == list(rows())
    for name, lines in found.items():
        said = {word for line in lines for word in re.findall(r"`(\w+)`", line)}
        assert said == set(rows()[name].arguments), name


def test_a_page_without_the_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="the page needs the lines"):
        with_table("# Nothing")
