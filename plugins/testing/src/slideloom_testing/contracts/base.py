# ruff: noqa: S101 - asserts are what a contract is made of
"""What holds for the settings of every step."""

from __future__ import annotations

import inspect
import json
import os
import pickle
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.metadata import entry_points
from typing import Any, ClassVar

import attrs
import numpy as np
import pytest
from slideloom.plugins.hookspecs import ENTRY_POINT_GROUP
from slideloom.settings.options import Settings, implementation_of, options_of
from slideloom.settings.tables import from_table, to_table

HEAVY = (
    "torch", "tensorflow", "keras", "cv2", "pandas", "matplotlib", "reportlab", "skimage", "pyvips", "openslide",
    "h5py", "tifffile", "imagecodecs",
)  # fmt: skip
_KEBAB = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")

# Imports the modules, asks every hook without arguments for its settings classes, and lists heavy imports.
_PROBE = """
import importlib, inspect, sys
for name in sys.argv[2:]:
    module = importlib.import_module(name)
    for hook, function in list(vars(module).items()):
        if hook.startswith("slideloom_") and inspect.isfunction(function):
            if not inspect.signature(function).parameters:
                function()
print("heavy:", *[name for name in sys.argv[1].split(",") if name in sys.modules])
"""


class SettingsContract:
    """What holds for the settings of every step; the contract of each kind includes it.

    Attributes:
        settings: the settings under test, with the values to test.
        kind: the class that `build` must make an instance of; the kind's contract sets it.
        entry_module: the plugin's entry module; by default found through the installed package's entry point.
    """

    settings: Settings[Any]
    kind: ClassVar[type] = object
    entry_module: ClassVar[str | None] = None

    def built(self) -> Any:  # Any: of `kind`, which each contract narrows
        """A newly built step."""
        return self.settings.build()

    def test_settings_are_a_frozen_attrs_class(self) -> None:
        """Settings are passed between threads and processes, so they must be immutable."""
        cls = type(self.settings)
        assert "__attrs_attrs__" in vars(cls), f"decorate {cls.__name__} with @attrs.frozen"
        for name in [*options_of(cls), "not_an_option"]:
            with pytest.raises((attrs.exceptions.FrozenInstanceError, AttributeError)):
                setattr(self.settings, name, None)

    def test_settings_are_hashable_and_comparable(self) -> None:
        """Equal options make equal settings with equal hashes; lists and dicts as options break this."""
        again = attrs.evolve(self.settings)
        assert again == self.settings
        assert hash(again) == hash(self.settings)

    def test_settings_survive_pickling(self) -> None:
        """A job in another process receives pickled settings."""
        assert pickle.loads(pickle.dumps(self.settings)) == self.settings  # noqa: S301 - our own bytes

    def test_settings_survive_the_pipeline_file(self) -> None:
        """Settings written to TOML and read back are equal."""
        table = to_table(self.settings)
        json.dumps(table)  # raises for a value that neither TOML nor JSON can hold
        again, mistakes = from_table(type(self.settings), table, where="contract")
        assert mistakes == []
        assert again == self.settings

    def test_every_option_has_help_and_is_keyword_only(self) -> None:
        """`slideloom plugins --verbose` and the reference show the help."""
        cls = type(self.settings)
        for name, info in options_of(cls).items():
            assert info.help.strip(), f"{cls.__name__}.{name}: make it with option(..., help=...)"
        for attribute in attrs.fields(cls):
            assert attribute.kw_only, f"{cls.__name__}.{attribute.name} must be keyword-only: make it with option()"

    def test_an_unknown_option_is_refused(self) -> None:
        """A misspelt key in a pipeline file must not pass silently."""
        _, mistakes = from_table(type(self.settings), {**to_table(self.settings), "no_such_option": 1}, where="here")
        assert any("no_such_option" in mistake for mistake in mistakes)

    def test_the_class_says_what_it_does(self) -> None:
        """The docstring's first line is the help text."""
        assert (type(self.settings).__doc__ or "").strip(), f"{type(self.settings).__name__} has no docstring"

    def test_the_name_is_lower_case_with_hyphens(self) -> None:
        """Such as `otsu` or `macenko-fast`."""
        name = self.settings.name
        assert _KEBAB.fullmatch(name), f"{name!r}: use lower-case words joined by hyphens"

    def test_the_settings_name_their_implementation(self) -> None:
        """`step` is "package.module:Class"; a class without it has its own `build`."""
        cls = type(self.settings)
        if not cls.step:
            assert cls.build is not Settings.build, f"{cls.__name__}: set `step` to 'package.module:Class'"
            return
        assert callable(implementation_of(cls))

    def test_build_makes_a_step_of_its_kind(self) -> None:
        """`build` returns an object of the kind that the hook promises."""
        assert isinstance(self.built(), self.kind)

    def test_the_entry_module_imports_nothing_heavy(self) -> None:
        """Listing plugins must take milliseconds; heavy imports belong in `build`."""
        module = type(self.settings).__module__
        entry = self.entry_module or entry_module_of(module.split(".")[0])
        modules = (entry,) if entry else (module,)
        assert heavy_imports(modules) == [], f"{' and '.join(modules)} must import these in build() only"


def entry_module_of(package: str) -> str | None:
    """The module that an installed package registers with slideloom, if any."""
    registered = entry_points(group=ENTRY_POINT_GROUP)
    return next((entry.module for entry in registered if entry.module.split(".")[0] == package), None)


@cache
def heavy_imports(modules: tuple[str, ...]) -> list[str]:
    """Heavy packages that are imported when a fresh interpreter imports these modules and calls their hooks."""
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(  # noqa: S603 - this interpreter, with a fixed program
        [sys.executable, "-c", _PROBE, ",".join(HEAVY), *modules],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, f"importing {modules} failed; is the package installed?\n{done.stderr}"
    return done.stdout.rpartition("heavy:")[2].split()


@contextmanager
def global_random_state_untouched() -> Iterator[None]:
    """Fails if numpy's or Python's global random state differs afterwards."""
    before = (random.getstate(), pickle.dumps(np.random.get_state()))
    yield
    after = (random.getstate(), pickle.dumps(np.random.get_state()))
    assert before == after, "the step uses global randomness; take a seed and make your own generator"


def public_tests(contract: type) -> list[str]:
    """The names of a contract's tests."""
    return [name for name, _ in inspect.getmembers(contract, inspect.isfunction) if name.startswith("test_")]
