"""Fixtures for every test of the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest_plugins = ["slideloom.testing.fixtures"]

ROOT = Path(__file__).parent


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real slides; the test is skipped where there is none."""
    named = os.environ.get("SLIDELOOM_TEST_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real slides: {folder} does not exist; set SLIDELOOM_TEST_DATA")
    return folder
