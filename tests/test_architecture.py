"""The page about the architecture says what is in the tree, and in which order it imports."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CORE = ROOT / "core" / "src" / "slideloom"
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text(encoding="utf-8")
PACKAGES = sorted(path.parent.name for path in CORE.glob("*/__init__.py"))


def tree_on_the_page() -> dict[str, set[str]]:
    """Modules by package, in the order of the page."""
    block = re.search(r"```text\ncore/src/slideloom/\n(.*?)```", PAGE, re.DOTALL)
    assert block, "the page has no tree"
    found: dict[str, set[str]] = {}
    package = ""
    for line in block[1].splitlines():
        head = re.match(r"  (\w+)/", line)
        package = head[1] if head else package
        # Modules stand between the package and what it is for, which two or more blanks set apart.
        words = re.split(r"\s{2,}", line.strip())[1 if head else 0]
        found.setdefault(package, set()).update(words.split())
    return found


def test_the_tree_on_the_page_is_the_tree_on_disk() -> None:
    on_disk = {package: {path.stem for path in (CORE / package).glob("*.py")} - {"__init__"} for package in PACKAGES}

    assert tree_on_the_page() == on_disk


def test_the_page_lists_packages_in_the_order_that_is_enforced() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (layers,) = [item["layers"] for item in contracts if item.get("containers") == ["slideloom"]]

    assert list(tree_on_the_page()) == [name for layer in layers for name in layer.split(" | ")]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_says_what_it_is_and_holds_nothing_else(package: str) -> None:
    tree = ast.parse((CORE / package / "__init__.py").read_text(encoding="utf-8"))

    assert len(tree.body) == 1
    assert len(ast.get_docstring(tree) or "") > 40


def test_only_the_packages_and_two_modules_lie_at_the_top() -> None:
    assert {path.name for path in CORE.glob("*.py")} == {"__init__.py", "__main__.py"}


def test_a_name_whose_distribution_is_missing_is_an_error_with_the_command_that_installs_it() -> None:
    program = """
import sys
sys.modules["slideloom_cohort"] = None
import slideloom
try:
    slideloom.Project
except slideloom.PluginError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert done.stdout == (
        "slideloom.Project comes with slideloom-cohort, which is not installed: pip install slideloom-cohort\n"
    )
