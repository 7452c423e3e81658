"""Discovery: one broken plugin is listed and blocks only who asks for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from slideloom.base.errors import PluginError
from slideloom.plugins.discovery import registry

Install = Callable[..., None]

GOOD = """
from typing import ClassVar
import attrs
from slideloom import Settings, TileFilter, hookimpl, option

@attrs.frozen
class Mine(Settings[TileFilter]):
    "A filter."
    name: ClassVar[str] = "mine"
    level: int = option(3, help="level")

@hookimpl
def slideloom_tile_filters():
    return [Mine]
"""


def test_a_plugin_is_found_by_name_with_dashes_or_underscores(install_plugin: Install) -> None:
    install_plugin("good_plugin", GOOD.replace('"mine"', '"my-filter"'))

    assert registry().find("filter", "my_filter") is registry().find("filter", "my-filter")
    assert registry().owner(registry().find("filter", "my-filter")).dist == "good_plugin"


def test_a_step_is_found_by_its_own_name_with_an_underscore(install_plugin: Install) -> None:
    install_plugin("good_plugin", GOOD.replace('"mine"', '"my_filter"'))

    found = registry().find("filter", "my_filter")

    assert found.name == "my_filter"
    assert registry().find("filter", "my-filter") is found
    assert registry().find("filter", "good_plugin/my_filter") is found


def test_of_two_names_that_differ_in_a_dash_the_one_that_is_written_is_meant(install_plugin: Install) -> None:
    install_plugin("one_plugin", GOOD.replace('"mine"', '"my_filter"'))
    install_plugin("two_plugin", GOOD.replace('"mine"', '"my-filter"'))

    assert registry().find("filter", "my_filter").__module__ == "one_plugin"
    assert registry().find("filter", "my-filter").__module__ == "two_plugin"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import there_is_no_such_module", "ModuleNotFoundError"),
        ("raise SystemExit(3)", "SystemExit"),
        ("def (", "SyntaxError"),
        (GOOD.replace("return [Mine]", "return [int]"), "not a frozen attrs class"),
        (GOOD.replace("return [Mine]", "return 'Mine'"), "must return a list"),
        (GOOD.replace("return [Mine]", "raise KeyError('x')"), "KeyError"),
        (GOOD.replace("return [Mine]", "raise SystemExit(3)"), "SystemExit"),
        (GOOD.replace("return [Mine]", "raise GeneratorExit"), "GeneratorExit"),
        (GOOD.replace('name: ClassVar[str] = "mine"', ""), "no `name`"),
        (GOOD.replace("tile_filters()", "tile_filters(what)"), "what"),
    ],
)
def test_a_broken_plugin_is_listed_with_its_error_and_blocks_nobody_else(
    install_plugin: Install, source: str, said: str
) -> None:
    install_plugin("good_plugin", GOOD)
    install_plugin("broken_plugin", source.replace("mine", "other"))

    (broken,) = [plugin for plugin in registry().plugins if plugin.dist == "broken_plugin"]

    assert said in broken.error
    assert registry().find("filter", "mine").name == "mine"
    with pytest.raises(PluginError, match=r"no filter is named 'other'.*not loaded: broken_plugin"):
        registry().find("filter", "other")


@pytest.mark.parametrize("content", [None, b"", b"Name: good_plugin\n", b"\xff\xfe\x00", b"Version\n\nName: x"])
def test_a_plugin_whose_metadata_are_damaged_is_found(
    install_plugin: Install, tmp_path: Path, content: bytes | None
) -> None:
    install_plugin("good_plugin", GOOD)
    metadata = tmp_path / "site" / "good_plugin-1.0.dist-info" / "METADATA"
    metadata.unlink()
    if content is not None:
        metadata.write_bytes(content)

    owner = registry().owner(registry().find("filter", "mine"))

    assert (owner.dist, owner.version) == ("good_plugin" if content == b"Name: good_plugin\n" else "unknown", "")


def test_a_newer_plugin_interface_is_refused_with_the_reason(install_plugin: Install) -> None:
    install_plugin("future_plugin", GOOD, group="slideloom.v2")

    (plugin,) = [plugin for plugin in registry().plugins if plugin.dist == "future_plugin"]

    assert "slideloom.v2; this slideloom offers slideloom.v1" in plugin.error
    assert "mine" not in registry().names("filter")


def test_two_plugins_with_one_name_are_told_apart_by_their_distribution(install_plugin: Install) -> None:
    install_plugin("one_plugin", GOOD)
    install_plugin("two_plugin", GOOD)

    assert {"one_plugin/mine", "two_plugin/mine"} <= set(registry().names("filter"))
    with pytest.raises(PluginError, match="'one_plugin/mine' or 'two_plugin/mine'"):
        registry().find("filter", "mine")
    assert registry().find("filter", "two_plugin/mine").__module__ == "two_plugin"


def test_a_wrong_name_gets_a_suggestion(install_plugin: Install) -> None:
    install_plugin("good_plugin", GOOD.replace('"mine"', '"grayspace2"'))

    with pytest.raises(PluginError, match="did you mean 'grayspace2'"):
        registry().find("filter", "grayspcae2")


def test_a_plugin_that_looks_on_and_exits_is_named_and_ends_nothing(install_plugin: Install) -> None:
    watching = "from slideloom import hookimpl\n@hookimpl\ndef slideloom_slide_done(report):\n    {}\n"
    install_plugin("one_plugin", watching.format("raise SystemExit(2)"))
    install_plugin("two_plugin", watching.format("report.append('seen')"))
    seen: list[str] = []

    problems = registry().notify("slideloom_slide_done", report=seen)

    assert problems == ["plugin 'one_plugin/one_plugin' failed in slideloom_slide_done: SystemExit: 2"]
    assert seen == ["seen"]


SYNONYMS = """
@hookimpl
def slideloom_synonyms():
    return {"filter": {names}}
"""


def test_a_step_is_found_by_another_name_unless_a_step_has_it(install_plugin: Install) -> None:
    install_plugin("one_plugin", GOOD + SYNONYMS.replace("{names}", '{"old_mine": "mine", "two": ("mine", "mine")}'))

    assert registry().find("filter", "old-mine").name == "mine"
    assert registry().meant("filter", "two") == ("mine", "mine")
    with pytest.raises(PluginError, match="'two' stands for mine and mine"):
        registry().find("filter", "two")

    install_plugin("two_plugin", GOOD.replace('"mine"', '"old-mine"'))
    assert registry().find("filter", "old_mine").__module__ == "two_plugin"


def test_another_name_that_two_plugins_give_is_refused(install_plugin: Install) -> None:
    for name in ("one", "two"):
        step = GOOD.replace('"mine"', f'"{name}"')
        install_plugin(f"{name}_plugin", step + SYNONYMS.replace("{names}", f'{{"shared": "{name}"}}'))

    with pytest.raises(PluginError, match="'shared' may stand for one of one_plugin or two of two_plugin"):
        registry().find("filter", "shared")


def test_a_plugin_whose_other_names_lead_nowhere_is_refused(install_plugin: Install) -> None:
    install_plugin("good_plugin", GOOD + SYNONYMS.replace("{names}", '{"other": "their"}'))

    (plugin,) = [plugin for plugin in registry().plugins if plugin.dist == "good_plugin"]

    assert "this plugin has no filter named their" in plugin.error


ENDINGS = ["raise", "raise SystemExit(0)", "raise GeneratorExit", "raise KeyboardInterrupt", "raise BaseException('b')"]


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_plugin_that_would_end_the_process_as_it_is_imported_is_listed_with_its_error(
    install_plugin: Install, ending: str
) -> None:
    install_plugin("good_plugin", GOOD)
    install_plugin("one_plugin", ending)
    install_plugin("two_plugin", f"from slideloom import hookimpl\n@hookimpl\ndef slideloom_sinks():\n    {ending}\n")

    broken = {plugin.dist: plugin.error for plugin in registry().plugins if plugin.error}

    assert set(broken) == {"one_plugin", "two_plugin"}
    assert broken["one_plugin"].startswith("does not import: ")
    assert "mine" in registry().names("filter")


def test_the_users_interrupt_while_a_plugin_is_imported_is_no_error_of_the_plugin(install_plugin: Install) -> None:
    once = """
    from pathlib import Path
    if not Path(__file__).with_name("seen").exists():
        Path(__file__).with_name("seen").touch()
        raise KeyboardInterrupt
    """
    install_plugin("one_plugin", once)

    with pytest.raises(KeyboardInterrupt):
        registry()
    assert not [plugin.error for plugin in registry().plugins if plugin.dist == "one_plugin" and plugin.error]


def test_what_any_plugin_says_of_a_library_is_known_whichever_is_found_first(install_plugin: Install) -> None:
    """Else an upgrade of what reads slides would not be seen, because another plugin uses the same for something."""
    source = "from slideloom import Library, hookimpl\n@hookimpl\ndef slideloom_libraries():\n    return [{}]\n"
    both = {
        "a_plugin": "Library('shared_one', 'a', 'masks', reported=('one',), faults={'one <2': 'wrong'})",
        "b_plugin": "Library('shared_one', 'b', 'slides', reported=('one', 'two'), faults={'two <3': 'bad'})",
    }
    for name, library in both.items():
        install_plugin(name, source.format(library))

    (known,) = [library for library in registry().libraries() if library.module == "shared_one"]

    assert (known.install, known.gives) == ("a", "masks")
    assert known.reported == ("one", "two")
    assert known.faults == {"one <2": "wrong", "two <3": "bad"}
