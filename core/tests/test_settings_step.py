"""Settings name their implementation, which is imported where the step is built."""

from __future__ import annotations

from typing import Any, ClassVar

import attrs
import pytest
from slideloom import PluginError, Settings, option
from slideloom_testing import SettingsContract


class Doubled:
    def __init__(self, settings: Named) -> None:
        self.value = 2 * settings.value


@attrs.frozen
class Named(Settings[Any]):
    """Names a class of this module."""

    name: ClassVar[str] = "named"
    step: ClassVar[str] = f"{__name__}:Doubled"
    value: int = option(3, help="a number")


@attrs.frozen
class WithOwnBuild(Settings[Any]):
    """Makes its step by itself, as plugins did before `step`."""

    name: ClassVar[str] = "with-own-build"
    value: int = option(3, help="a number")

    def build(self) -> int:
        return 3 * self.value


def variant(step: str, install: str = "") -> Settings[Any]:
    return attrs.make_class("Variant", {}, bases=(Named,), frozen=True, class_body={"step": step, "install": install})()


def test_build_calls_the_named_implementation_with_the_settings() -> None:
    assert Named(value=4).build().value == 8


def test_a_missing_library_is_named_with_the_command_that_installs_it() -> None:
    settings = variant("no_such_library.sink:Sink", install="slideloom-green[torch]")

    with pytest.raises(PluginError, match=r"'named' needs no_such_library.*: pip install 'slideloom-green\[torch\]'"):
        settings.build()


def test_without_a_remedy_of_the_plugin_the_library_itself_is_named() -> None:
    with pytest.raises(PluginError, match=r"pip install no_such_library$"):
        variant("no_such_library.sink:Sink").build()


@pytest.mark.parametrize("step", ["", "json", "json:", ":loads"])
def test_a_step_of_another_form_is_refused(step: str) -> None:
    with pytest.raises(PluginError, match=r'names no implementation; set step = "package\.module:Class"'):
        variant(step).build()


def test_a_module_without_the_class_is_refused() -> None:
    with pytest.raises(PluginError, match=r"json has no 'NoSuchClass'"):
        variant("json:NoSuchClass").build()


def test_a_class_with_a_build_of_its_own_keeps_working() -> None:
    class Contract(SettingsContract):
        settings = WithOwnBuild(value=5)
        kind = int

    assert WithOwnBuild(value=5).build() == 15
    Contract().test_the_settings_name_their_implementation()
    Contract().test_build_makes_a_step_of_its_kind()


def test_a_missing_library_is_found_without_importing_anything() -> None:
    there = attrs.make_class("There", {}, bases=(Named,), frozen=True, class_body={"needs": ("json",)})()
    missing = attrs.make_class(
        "Missing", {}, bases=(Named,), frozen=True, class_body={"needs": ("no_such_library",), "step": "no.such:Step"}
    )()

    there.check()
    with pytest.raises(PluginError, match="'named' needs no_such_library, which is not installed: pip install no_such"):
        missing.check()


def test_a_step_without_heavy_libraries_is_checked_by_importing_it() -> None:
    Named().check()
    with pytest.raises(PluginError, match="needs no_such_library"):
        variant("no_such_library.sink:Sink").check()
