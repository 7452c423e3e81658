"""What files hold is read, or refused with a `ValueError`, however it is nested."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from slideloom.base.errors import ConfigError
from slideloom.base.parsing import DEEPEST, parse_json, parse_toml
from slideloom.extraction.finished import Earlier
from slideloom.extraction.output_folder import OutputFolder
from slideloom.pipeline.file import load_pipeline
from slideloom.plugins.shorthand import step_table

# As deep as the parsers recurse and deeper, and as deep as they read: what comes after them recurses as well.
DEPTHS = (DEEPEST + 2, 600, 100_000)


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_json_that_is_nested_too_deeply_is_a_value_error(depth: int, opening: str, closing: str) -> None:
    with pytest.raises(ValueError, match=f"nested too deeply: more than {DEEPEST} levels"):
        parse_json(opening * depth + "1" + closing * depth)


@pytest.mark.parametrize("depth", DEPTHS)
def test_toml_that_is_nested_too_deeply_is_a_value_error(depth: int) -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_toml(f"a = {'[' * depth}{']' * depth}")


def test_dotted_keys_of_toml_are_tables_in_each_other() -> None:
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_toml(f"[{'a.' * 3000}a]\n")


def test_as_many_levels_as_are_allowed_are_read() -> None:
    text = "[" * (DEEPEST + 1) + "]" * (DEEPEST + 1)

    assert parse_json(text) == json.loads(text)
    assert parse_toml(f"a = {text[1:-1]}") == {"a": json.loads(text[1:-1])}


def test_a_reader_that_does_not_recurse_takes_any_depth_that_the_parser_reads() -> None:
    assert parse_json("[" * 600 + "]" * 600, deepest=None) == json.loads("[" * 600 + "]" * 600)
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_json("[" * 1_000_000, deepest=None)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deeply_nested_pipeline_file_is_refused_by_name(tmp_path: Path, depth: int) -> None:
    path = tmp_path / "deep.toml"
    path.write_text(f"slideloom = 1\n[tiles]\nsize_px = {'[' * depth}{']' * depth}\n")

    with pytest.raises(ConfigError, match=r"deep\.toml: is not TOML: nested too deeply"):
        load_pipeline(path)


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deeply_nested_option_in_words_is_taken_as_text(depth: int) -> None:
    value = "[" * depth + "]" * depth

    assert step_table(f"otsu:level={value}") == {"use": "otsu", "level": value}


@pytest.mark.parametrize("depth", DEPTHS)
def test_a_deeply_nested_report_of_a_slide_is_told_and_does_not_count(tmp_path: Path, depth: int) -> None:
    folder = OutputFolder(tmp_path, "299px_302um")
    folder.report("a").parent.mkdir(parents=True)
    folder.report("a").write_text("[" * depth + "]" * depth)

    earlier = Earlier.of(folder, "a")

    assert earlier.report is None
    assert "nested too deeply" in earlier.unreadable
