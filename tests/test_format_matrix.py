"""Made files of every kind, by other encoders: the right pixels or a refusal, by every reader, as the docs say."""

from __future__ import annotations

from pathlib import Path

import pytest
from slideloom import Rgb

pytest.importorskip("tifffile")
pytest.importorskip("pyvips")

from tests.format_matrix import BEGIN, END, FORMS, PAGE, Form, Outcome, outcome, picture, table

_FOUND: dict[str, Outcome] = {}


@pytest.fixture(scope="module")
def rgb() -> Rgb:
    return picture()


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.name)
def test_a_file_is_read_right_or_refused_by_every_reader(form: Form, rgb: Rgb, tmp_path: Path) -> None:
    found = outcome(form, form.make(tmp_path, rgb), rgb)
    _FOUND[form.name] = found

    assert found.wrong == ()
    assert bool(found.reader) != bool(found.refusal)


def test_the_docs_say_what_became_of_each(rgb: Rgb, tmp_path: Path) -> None:
    found = []
    for number, form in enumerate(FORMS):
        (home := tmp_path / str(number)).mkdir()
        found.append(_FOUND.get(form.name) or outcome(form, form.make(home, rgb), rgb))
    page = PAGE.read_text(encoding="utf-8")

    assert page[page.index(BEGIN) + len(BEGIN) : page.index(END)] == table(found)
